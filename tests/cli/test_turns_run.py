"""Whole runs of two targets on a tiny pipeline: what is recorded, printed, stored and tabulated."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from tiny_sd import paired_clip, tiny_sd15

from razor_cli.config import command_line, compose
from razor_cli.engine.turns import Turns
from razor_cli.run import execute
from razor_cli.runs.known import find_run
from razor_cli.screen import Screen
from razor_cli.tables.turns import build
from razor_cli.weights.patch import verify

pytestmark = pytest.mark.timeout(300)
SIZES = (
    "forget=2 retain=4 validation_forget=1 validation_retain=2 evaluation_forget=2 evaluation_retain=6 "
    "unseen=2"
)
CHOSEN = (
    "method=random scenario=style data=generated model=sd15 data.steps=1 metrics.steps=1 quantization=none"
)
TWO = "[Cubism, Impressionism]"


def words(root: Path, *more: str) -> list[str]:
    sizes = [f"data.n_{size}" for size in SIZES.split()]
    return [
        *CHOSEN.split(),
        *sizes,
        "metrics.judged_by=zero_shot",
        f"model.weights={root / 'sd'}",
        f"output_dir={root / 'out'}",
        f"target={TWO}",
        *more,
    ]


def test_two_styles_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    paired_clip(tiny_sd15(tmp_path / "sd"), tmp_path / "sd_clip")
    experiment = compose.checked(command_line.read(words(tmp_path, "sequence=true")))
    kept = tmp_path / "out/cache/steps"
    whole = Turns._one
    with monkeypatch.context() as stopped:

        def second_fails(self: Turns, number: int, *rest: object) -> object:
            if number == 2:
                raise KeyboardInterrupt
            return whole(self, number, *rest)  # type: ignore[arg-type]

        stopped.setattr(Turns, "_one", second_fails)
        with pytest.raises(KeyboardInterrupt):
            execute(experiment, Screen(file=io.StringIO()))
    assert [p.name for p in kept.glob("*/*.safetensors")] == ["1.safetensors"]
    out = io.StringIO()
    execute(experiment, Screen(file=out, width=200))
    run = find_run(tmp_path / "out", "latest")
    assert run.record.target == "Cubism + Impressionism" and not list(kept.glob("*"))
    rows = list(csv.DictReader(io.StringIO(run.read("scores.csv"))))
    steps = {(r["state"], r["step"]) for r in rows}
    assert steps == {("base", ""), ("control", ""), ("step_1", "1"), ("edit", "2")}
    told = {r["variant"].rpartition("/")[2] for r in rows if r["metric"] == "ua_name"}
    assert told == {"Cubism", "Impressionism"}
    for name in ("patch", "patch_step_1"):
        assert verify(run.path(f"{name}.safetensors"), tmp_path / "sd") == []
    printed = out.getvalue()
    assert "Target by target" in printed and "1: Cubism" in printed and "later steps" in printed
    assert "\\n" not in printed
    (panel,) = build([run]).panels
    assert [row[4] for row in panel.rows] == ["base", "control", "1: Cubism", "edit"]
    assert {row[1] for row in panel.rows} == {"in turn"} and "Cubism: UA ↑ %" in panel.columns
