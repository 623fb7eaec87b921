"""The real CIFAR-10, from the command line to the recorded scores; needs RAZOR_CIFAR10=DIR."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from razor_cli.main import run_command
from razor_cli.runs.folder import complete_runs
from razor_cli.runs.records import Decision

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        "RAZOR_CIFAR10" not in os.environ, reason="RAZOR_CIFAR10 does not name a folder with CIFAR-10"
    ),
]


def test_a_class_of_real_photographs_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    settings = [
        "data.n_evaluation_forget=100",
        "data.n_evaluation_retain=200",
        f"data.cifar_root={os.environ['RAZOR_CIFAR10']}",
    ]
    words = ["experiment=tiny", "scenario=class", "data=cifar10", "target=truck", "method=razor", *settings]
    assert run_command([*words, f"output_dir={tmp_path / 'outputs'}"]) == 0
    (run,) = complete_runs(tmp_path / "outputs")
    record = run.record
    assert (record.target, record.scenario, record.data, record.stand_in) == (
        "truck",
        "class",
        "cifar10",
        True,
    )
    assert record.verdict is not None and record.verdict.decision in set(Decision)
    split = json.loads(run.path("split.json").read_text())
    assert all(k.startswith("cifar10/test/") for k in split["evaluation_forget"])
    assert all(k.startswith("cifar10/train/") for k in [*split["forget"], *split["validation_forget"]])
    scores = {
        (r.state, r.score.metric, r.score.variant): r.score.value
        for r in run.scores
        if r.quantization == "none"
    }
    before, after = (scores[(state, "m2", "prompt")] for state in ("base", "edit"))
    assert before is not None and after is not None and after < before
    known = scores[("base", "others_acc", "macro")]
    assert known is not None and known > 40  # ten classes: the stand-in was trained on photographs of them
