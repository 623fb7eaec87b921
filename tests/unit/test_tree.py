"""What lies in the project: no link that leads out of it, nothing that a merge left behind."""

from __future__ import annotations

import house

PARTS = ("conf", "docs", "scripts", "src", "tests")


def test_nothing_leads_out_of_the_project_and_no_merge_left_anything() -> None:
    every = [p for part in PARTS for p in (house.ROOT / part).rglob("*")]
    assert len(every) > 500
    assert [p for p in every if p.is_symlink() and not p.resolve().is_relative_to(house.ROOT)] == []
    assert [p for p in every if p.name.endswith((".orig", ".rej")) or "~" in p.name] == []
