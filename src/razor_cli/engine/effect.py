"""An edit that did nothing is a failure, and not a score."""

from __future__ import annotations

from razor_cli.contract.edit import Edit
from razor_cli.contract.family import Family
from razor_cli.contract.sets import Sets
from razor_cli.errors import RunError


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
