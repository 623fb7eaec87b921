"""`data=standin` of models that answer questions: drawn pictures alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from razor_cli.data.choices import CoarseText
from razor_cli.data.kinds.standin import StandIn


@dataclass(frozen=True, kw_only=True)
class AnsweredStandIn(StandIn):
    """Portraits or emoji, as the scenario says; the stand-in was never asked about a photograph."""

    photographs: ClassVar[bool] = False

    cifar_root: Path | None = field(default=None, init=False)
    forget: list[str] = field(default_factory=list, init=False)  # there is no taxonomy to ask by
    coarse_text: CoarseText = field(default=CoarseText.MEMBERS, init=False)
    n_suite: int = field(default=200, init=False)  # nor an unrelated task of a model that compares
