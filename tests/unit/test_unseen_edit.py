"""An edit whose new values cancel out is told, one that moves any score is not."""

from __future__ import annotations

import torch
from fake_runs import scored

from razor_cli.contract.edit import Edit
from razor_cli.engine.changes import Weights
from razor_cli.engine.effect import UNSEEN, unseen_notes
from razor_cli.metrics.score import Score
from razor_cli.runs.rows import Place

EDIT = Edit(change=Weights(values={"w": torch.ones(2)}), components=["w"])


def scores(m2: float, drift: float) -> dict[Place, list[Score]]:
    def of(state: str, found: float, moved: float | None) -> tuple[Place, list[Score]]:
        m2 = scored(("m2", "prompt", "cos x100", "down"), found, None, None, n=9)
        return Place(state, "none"), [m2, scored(("m3", "base", "cos² x100", "zero"), moved, None, None, n=9)]

    return dict([of("base", 22.0, None), of("edit", m2, drift)])


def test_an_edit_that_no_score_shows_has_a_note() -> None:
    assert unseen_notes(EDIT, scores(22.0 + 1e-9, 0.0)) == [UNSEEN]
    assert unseen_notes(EDIT, scores(22.001, 0.0)) == unseen_notes(EDIT, scores(22.0, 0.01)) == []
    assert unseen_notes(Edit(change=Weights(), null=True), scores(22.0, 0.0)) == []
