"""`razor doctor --acceptance` on a full-size ViT-B/32 with random weights, and on the stand-in with real
photographs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PHOTOGRAPHS = os.environ.get("RAZOR_CIFAR10")
RUN = "import sys; from razor_cli.main import razor_command; raise SystemExit(razor_command(sys.argv[1:]))"


def doctor(folder: Path, *words: str) -> tuple[int, dict[str, str], dict[str, object]]:
    """Run the command in a process of its own; return its exit code, status by check, and the conditions it
    recorded.
    """
    places = [f"output_dir={folder}", *([f"data.cifar_root={PHOTOGRAPHS}"] if PHOTOGRAPHS else [])]
    environment = os.environ | {"RAZOR_DATA_DIR": str(folder / "none")}
    command = [sys.executable, "-c", RUN, "doctor", *words, *places]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    report = json.loads((folder / "doctor" / "doctor.json").read_text())
    return done.returncode, {c["name"]: c["status"] for c in report["checks"]}, report["conditions"]


def test_a_full_size_model_with_random_weights_fails_where_training_shows(tmp_path: Path) -> None:
    code, found, conditions = doctor(
        tmp_path, "--acceptance", "clip_vitb32", "--random-weights", "--pictures", "40"
    )
    untrained = {"LayerNorms at their initial 1 and 0", "text attention norms", "logit scale"}
    untrained |= {"zero-shot CIFAR-10"} if PHOTOGRAPHS else set()
    failed = {name for name, status in found.items() if status == "fail"}
    assert code == 1 and untrained <= failed <= untrained | {"own caption beats shuffled ones"}
    for name in (
        "towers",
        "parameters",
        "components (heads and MLPs)",
        "quantized tensors",
        "activation function",
    ):
        assert found[name] == "pass", name
    for name in (
        "gradient predicts the change",
        "RAZOR step forgets",
        "SLUG step reversed",
        "patch applied and reverted",
    ):
        assert found[name] == "pass", name
    assert float(str(conditions["peak_rss_mb"])) < 6 * 1024
    assert [p.name for p in (tmp_path / "doctor").iterdir()] == ["doctor.json"]


@pytest.mark.skipif(PHOTOGRAPHS is None, reason="RAZOR_CIFAR10=DIR names no photographs")
def test_the_stand_in_is_as_its_card_says(tmp_path: Path) -> None:
    code, found, _ = doctor(tmp_path, "--acceptance", "clip_tiny", "--pictures", "2000")
    assert {name for name, status in found.items() if status != "pass"} == {
        "published weight norms"
    } and code == 0
