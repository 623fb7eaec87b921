"""A target that the unedited model does not know: there is nothing to forget, and nothing to show."""

from __future__ import annotations

from razor_cli.errors import UnknownTargetError
from razor_cli.families.llava.settings import AskedMetrics


def refuse_unknown(fa: float, count: int, settings: AskedMetrics, target: str, which: str) -> None:
    """Raise UnknownTargetError where the model tells the target's name in too few of `count` questions."""
    if fa >= settings.fa_min_base:
        return
    raise UnknownTargetError(
        f"target='{target}': the model does not know this name, and what is not known cannot be forgotten",
        allowed=f"told in {settings.fa_min_base:g} % of the questions or more (metrics.fa_min_base)",
        found=f"{fa:.1f} % of {count} questions about {which} pictures",
        fix="another target, its other names (data.aliases with metrics.fa_match=any_alias), or pictures "
        "that show it; metrics.fa_min_base=0 goes on all the same",
    )
