"""The benchmark of a GPU, tried out where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    import bench_gpu

    return bench_gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([]) == 2
    assert "no CUDA device is there: nothing was measured" in capsys.readouterr().err


def test_it_measures_edits_and_holds_them_against_those_of_the_cpu(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code = bench.main(["--device", "cpu", "--models", "clip_tiny", "--pictures", "16", "--few", "8"])
    printed = capsys.readouterr().out
    assert code in (0, 1)  # how fast it was is no matter here
    for what in ("plain pass, fp32", "RAZOR, fp32", "SLUG, bf16", "RAZOR's edit", "SLUG's edit"):
        assert what in printed
    assert "largest difference" in printed and "0 │ ≤ 0.001" in printed.replace("  ", " ")
