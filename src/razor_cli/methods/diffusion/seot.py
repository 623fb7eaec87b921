"""SEOT (Get What You Want, Not What You Don't; Li et al. 2024): the target's words are taken out of prompts'
contexts while pictures are drawn. Nothing is trained, and nothing is stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from razor_cli.contract.edit import Edit
from razor_cli.contract.family import DENOISER
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.choices import Gate, Optimising, PooledVector, Reweighting
from razor_cli.families.diffusion.naming import names_of

if TYPE_CHECKING:
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.families.diffusion.ito import Ito

SHARES = ("start", "ito_until")


@dataclass(frozen=True, kw_only=True)
class Seot:
    """Hyper-parameters of SEOT; each knob is explained in conf/method/seot.yaml."""

    needs: ClassVar[frozenset[str]] = frozenset({DENOISER})
    stochastic: ClassVar[bool] = False

    name: str = "seot"  # label in tables and folder of the runs
    gate: Gate = Gate.ORACLE
    reweighting: Reweighting = Reweighting.SOFT
    alpha: float = 1.0
    start: float = 0.2  # share of the sampler's steps
    pooled: PooledVector = PooledVector.LEAVE
    ito: Optimising = Optimising.AUTO
    ito_iterations: int = 10
    ito_until: float = 0.4  # share of the sampler's steps
    ito_scale: float = 20.0
    ito_retain: float = 1.0
    ito_erase: float = -0.5
    ito_side: int = 16

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"method.{name}: {getattr(self, name)} is out of range", allowed="0 to 1")
        cutting = self.reweighting in (Reweighting.TOP, Reweighting.REST)
        if not (0 <= self.alpha <= 1 if cutting else math.isfinite(self.alpha)):
            raise ConfigError(
                f"method.alpha: {self.alpha} is out of range",
                allowed="0 to 1, a share of the singular values" if cutting else "a number",
            )
        if self.ito_iterations < 1 or self.ito_side < 1:
            raise ConfigError(
                "method.ito_iterations and method.ito_side are counts",
                allowed="1 or more; method.ito=off does without",
            )
        for name in ("ito_scale", "ito_retain", "ito_erase"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"method.{name}: {getattr(self, name)} is no number")

    def edit(self, lab: Lab) -> Edit:
        """Return what is done while the model draws."""
        from razor_cli.families.diffusion.run_time import AtRunTime
        from razor_cli.families.diffusion.suppression import Suppression

        with lab.timed():
            family = cast("Diffusion", lab.family)
            names, optimising = names_of(lab.sets), self._optimising(family)
            actor = Suppression(
                names=tuple(names),
                prompts=tuple(lab.sets.target_prompts),
                alpha=self.alpha,
                form=self.reweighting,
                start=self.start,
                gate=self.gate,
                pooled=self.pooled,
                ito=optimising,
            )
            unfound = actor.unfound(family.denoiser, tuple(dict.fromkeys(lab.sets.target_prompts)))
        moved = "contexts are moved by gradients too" if optimising else "by singular values alone"
        notes = [
            f"nothing is stored: {names[0]} is suppressed while pictures are drawn ({moved}); the gate "
            f"is {self.gate}, and what it lets through the unedited model draws"
        ]
        if unfound:
            notes.append(
                f"no word of the target is found in {len(unfound)} of its prompts, such as {unfound[0]!r}: "
                "there only the end marks are suppressed"
            )
        return Edit(change=AtRunTime(actor), cost=lab.cost, notes=notes)

    def _optimising(self, family: Diffusion) -> Ito | None:
        """Return how contexts are moved, None where they are not. Raises ConfigError for a net without maps
        of a picture's places.
        """
        from razor_cli.families.diffusion.ito import Ito
        from razor_cli.families.diffusion.kinds import Kind

        if self.ito is Optimising.OFF:
            return None
        if family.denoiser.kind is not Kind.SD15:
            if self.ito is Optimising.ON:
                raise ConfigError(
                    "method.ito=on needs a UNet, whose attention is to the prompt or to the picture itself",
                    allowed="off, auto",
                    found=f"{family.label}, a pipeline of the kind {family.denoiser.kind}",
                    fix="method.ito=auto",
                )
            return None
        return Ito(
            iterations=self.ito_iterations,
            until=self.ito_until,
            scale=self.ito_scale,
            retain=self.ito_retain,
            erase=self.ito_erase,
            side=self.ito_side,
        )
