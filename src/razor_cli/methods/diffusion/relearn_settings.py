"""Hyper-parameters of methods that teach a net to take forget pictures for something else (SalUn, EraseDiff,
Scissorhands). Imports no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from razor_cli.contract.family import DENOISER
from razor_cli.engine.choices import Schedule
from razor_cli.engine.train_settings import Optimised
from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.choices import StandIn
from razor_cli.methods.diffusion.wording import NAME

if TYPE_CHECKING:
    from razor_cli.contract.family import Family
    from razor_cli.families.diffusion.family import Diffusion


@dataclass(frozen=True, kw_only=True)
class Relearned(Optimised):
    """What these methods share; each knob is explained in conf/method/salun/diffusion.yaml. They look at no
    validation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({DENOISER})

    group: str = "xattn"  # parameters that train
    alpha: float = 0.1
    stands_in: StandIn = StandIn.ANCHOR
    anchor: str | None = None  # word in the target's place; None: the anchors of the sets
    erase_from: str | None = None  # prompt that forget pictures are unlearnt under; None: their captions
    pictures: int | None = None  # forget pictures in an epoch; None: all of them
    first_batch: bool = False
    epochs: int = 2
    batch: int = 4
    weight_decay: float = 0.0  # Adam has none
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps_opt: float = 1e-8
    schedule: Schedule = Schedule.CONST

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"alpha": (0, 1000)})
        if self.pictures is not None and self.pictures < 1:
            raise ConfigError(
                f"method.pictures: {self.pictures} is out of range", allowed="1 or more, or null"
            )
        if not math.isfinite(self.lr * self.epochs):
            raise ConfigError("method.lr: the training would not end in numbers", found=self.lr)
        for name in ("anchor", "erase_from"):
            if NAME in (getattr(self, name) or ""):
                raise ConfigError(
                    f"method.{name}: {NAME} has no meaning here",
                    allowed="words without it, or null",
                    found=getattr(self, name),
                )
        if self.anchor is not None and self.stands_in is StandIn.RETAIN:
            raise ConfigError(
                "method.anchor: with method.stands_in=retain, captions of retain pictures take that place",
                found=self.anchor,
                fix="method.stands_in=anchor",
            )

    def trained(self, family: Family) -> list[str]:
        """Return the parameters of the group."""
        return cast("Diffusion", family).groups(self.group)
