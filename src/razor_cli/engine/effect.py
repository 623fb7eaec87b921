"""An edit that did nothing is a failure, and not a score; one that no score shows has a note."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from razor_cli.contract.edit import Edit
from razor_cli.contract.family import Family
from razor_cli.contract.sets import Sets
from razor_cli.errors import RunError
from razor_cli.metrics.score import Score
from razor_cli.runs.rows import Place

UNSEEN = (
    "the edit has new values, and every score is that of the unedited model: what was changed cancels out, "
    "as where all of an attention head is multiplied by -1"
)
NEAR = 1e-6  # in the scores' printed units: the last bits of sums in another order


def refuse_idle(edit: Edit, family: Family, sets: Sets) -> None:
    """Raise RunError for an edit that changes nothing and is not the null edit; the family says whether it
    does. What the method noted says why.
    """
    if edit.null or not (why := family.without_effect(edit.change, sets)):
        return
    raise RunError(
        f"the edit of {sets.target} has no effect: {why}",
        found="; ".join(edit.notes) or None,
        fix="another preset, or stronger settings; `razor list methods` shows them",
    )


def unseen_notes(edit: Edit, scores: Mapping[Place, Sequence[Score]]) -> list[str]:
    """Return a note where an edit that is meant to change something leaves every score of the unedited model
    as it was; scores that the unedited model has none of, distances to it, must then be 0.
    """
    before = {(s.metric, s.variant): s.value for s in _plain(scores, "base")}
    after = {(s.metric, s.variant): s.value for s in _plain(scores, "edit") if s.value is not None}
    moved = any(not math.isclose(v, before.get(k) or 0.0, abs_tol=NEAR) for k, v in after.items())
    return [] if edit.null or not edit.values or not after or moved else [UNSEEN]


def _plain(scores: Mapping[Place, Sequence[Score]], state: str) -> list[Score]:
    return [s for p, found in scores.items() if not p.attack and p[:2] == (state, "none") for s in found]
