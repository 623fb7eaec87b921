"""A run on a cache in which bytes flipped gives the scores of the first run, and says what happened once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from razor_cli.main import run_command
from razor_cli.runs.folder import SCORES, complete_runs

SIZES = ("forget", "retain", "validation_forget", "validation_retain", "evaluation_forget")
WORDS = (
    *"experiment=tiny quantization=none control=false method=none data.n_suite=8".split(),
    *(f"data.n_{name}=24" for name in (*SIZES, "evaluation_retain")),
)


@pytest.mark.timeout(300)
def test_flipped_bytes_change_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "data"))
    words = [*WORDS, f"output_dir={tmp_path}/out"]
    assert run_command(words) == 0
    (first,) = complete_runs(tmp_path / "out")
    scores = first.path(SCORES).read_bytes()
    assert not [n for n in first.record.notes if "damaged" in n]
    kept = [*(tmp_path / "out/cache").glob("*.safetensors"), *(tmp_path / "cache").rglob("*.safetensors")]
    assert len(kept) > 2
    for file in kept:
        data = bytearray(file.read_bytes())
        data[-2] ^= 64  # of the last number: its exponent, or of a picture a colour
        file.write_bytes(data)
        os.utime(file, (1e9, 1e9))
    assert run_command([*words, "force=true"]) == 0
    (again,) = complete_runs(tmp_path / "out")
    assert again.run_id == first.run_id and again.path(SCORES).read_bytes() == scores
    told = [n for n in again.record.notes if "damaged" in n]
    assert len([n for n in told if n.startswith("cache: 2 entries")]) == 1
    assert len([n for n in told if n.startswith("drawn pictures")]) == 1 and len(told) == 2
