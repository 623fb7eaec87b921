"""The benchmark of a GPU, tried out where there is none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Edit
from razor_cli.engine.changes import Weights


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    import bench_gpu

    return bench_gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([]) == 2
    assert "no CUDA device is there: nothing was measured" in capsys.readouterr().err


def test_it_measures_edits_and_holds_them_against_those_of_the_cpu(bench: Any, tmp_path: Path) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    found = bench.checks_of(console, "clip_tiny", "cpu", 8, 8, tmp_path)
    printed = console.export_text()
    for what in ("plain pass, fp32", "RAZOR, fp32", "SLUG, bf16"):
        assert what in printed
    measured = {what.removeprefix("clip_tiny: "): value for what, value, _ in found}
    assert all(value > 0 for what, value in measured.items() if "a plain pass" in what)
    same = [value for what, value in measured.items() if "largest difference" in what]
    assert same == [0.0, 0.0]  # of one device, twice


def test_edits_of_other_components_or_values_differ(bench: Any) -> None:
    base = {"w": torch.zeros(4)}

    def edit(components: list[str], *values: float) -> Edit:
        return Edit(change=Weights(values={"w": torch.tensor(values)}), components=components, cost=Cost())

    one = edit(["a"], 1, 0, 0, 2)
    assert bench.difference(one, edit(["b"], 1, 0, 0, 2), base) == 1.0
    assert bench.difference(one, edit(["a"], 1, 0, 0.5, 2), base) == 0.25
