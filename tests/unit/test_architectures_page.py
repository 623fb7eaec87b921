"""The page of architectures is written anew for what was tried, and says of the others what it said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs/architectures.md").read_text(encoding="utf-8")
NEW: dict[str, Any] = {
    "name": "RN50",
    "image": "ModifiedResNet",
    "text": "transformer",
    "weights": 7e6,
    "full": True,
    "components": {"head_mlp": 1, "attn_mlp": 2, "block": 3, "tensor": 4},
    "never": {"norm": 5},
    "quantized": {"int8": 6},
    "needs": [],
    "patched": 1,
}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    import small_table

    return small_table


def test_without_a_result_the_page_stays(made: Any) -> None:
    assert made.page([], PAGE) == PAGE


def test_a_result_changes_its_own_row_and_no_other(made: Any) -> None:
    before, after = PAGE.splitlines(), made.page([NEW], PAGE).splitlines()
    (row,) = [line for line in after if line not in before]
    assert row == "| `RN50` | ModifiedResNet | transformer | 7 M | 1 | 2 | 3 | 4 | 5 | 6 |  |"
    assert len(before) == len(after)


def test_what_failed_leaves_the_table_of_those_that_are_served(made: Any) -> None:
    text = made.page([{"name": "RN50", "failed": "RuntimeError: x"}], PAGE)
    assert "143 of 144 names are edited, quantized and patched, 1 failed." in text
    assert text.count("| `RN50` |") == 1 and "| `RN50` | RuntimeError: x |" in text
