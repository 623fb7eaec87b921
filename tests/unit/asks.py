"""Ask a kind of data for the sets of a run, with the sizes and the settings that a test is about."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from razor_cli.data.ask import Ask
from razor_cli.data.kinds.sized import Photographs
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets


def sets_from(kind: type[Any], target: str, sizes: Sizes | None = None, **settings: Any) -> ConceptSets:
    """Return the sets of a target; settings are those of the data or of what it is asked."""
    asked = {f.name for f in fields(Ask)}
    taken = {f.name for f in fields(kind) if f.init}
    own = {f"n_{n}": count for n, count in vars(sizes or Sizes()).items() if f"n_{n}" in taken}
    own |= {"max_corrupt": 0.01} if issubclass(kind, Photographs) else {}
    own |= {k: v for k, v in settings.items() if k not in asked}
    ask = Ask(target=target, **{k: v for k, v in settings.items() if k in asked})
    found: ConceptSets = kind(**own).sets(ask)
    return found
