"""`data=standin` of models that answer questions: drawn pictures alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import CoarseText
from razor_cli.data.kinds.standin import StandIn
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.sets import ConceptSets, Pairs


@dataclass(frozen=True, kw_only=True)
class AnsweredStandIn(StandIn):
    """Portraits or emoji, as the scenario says; the stand-in was never asked about a photograph."""

    photographs: ClassVar[bool] = False

    retain_own: int = 6
    cifar_root: Path | None = field(default=None, init=False)
    forget: list[str] = field(default_factory=list, init=False)  # there is no taxonomy to ask by
    coarse_text: CoarseText = field(default=CoarseText.MEMBERS, init=False)
    n_suite: int = field(default=200, init=False)  # nor an unrelated task of a model that compares

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.retain_own <= 100:
            raise ConfigError("data.retain_own is out of range", allowed="0 to 100", found=self.retain_own)

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of one target, what must stay in an order that is kind to its own kind."""
        found = super().sets(ask)
        return replace(found, retain=_ordered(found.retain, found.domain, self.retain_own))


def _ordered(part: Pairs, domain: str, each: int) -> Pairs:
    """Return the pictures in another order: before each one of another kind `each` of this kind, as long as
    there are any. A sample, which is the first so many, then holds more of what is easily lost. 0: as they
    were.
    """
    if not each:
        return part
    own = [p for p in part.pictures if p.domain == domain]
    others = [p for p in part.pictures if p.domain != domain]
    mixed = []
    for start, other in zip(range(0, each * len(others), each), others, strict=True):
        mixed += [*own[start : start + each], other]
    return replace(part, pictures=(*mixed, *own[each * len(others) :]))
