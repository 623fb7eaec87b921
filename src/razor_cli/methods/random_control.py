"""Random directions as a method of its own; the control that every edit is held against is its
change's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit, Event
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class RandomControl:
    """Move randomly chosen components along random directions by a share of their norm."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stochastic: ClassVar[bool] = True

    name: str = "random"  # label in tables and folder of the runs
    components: int = 8
    relative_step: float = 0.1
    granularity: Granularity = Granularity.HEAD_MLP
    towers: Towers = Towers.BOTH
    include_projections: bool = False

    def __post_init__(self) -> None:
        if self.components < 1:
            raise ConfigError(f"method.components: {self.components} is out of range", allowed="1 or more")
        if not 0 <= self.relative_step <= 100:
            raise ConfigError(
                f"method.relative_step: {self.relative_step} is out of range", allowed="0 to 100"
            )

    def edit(self, lab: Lab) -> Edit:
        """Draw components and directions from the run's seed."""
        import torch

        from razor_cli.engine.changes import Weights
        from razor_cli.engine.search import norm, stepped

        family = lab.family
        with lab.timed():
            generator = lab.generator()
            every = family.components(self.granularity, self.towers, self.include_projections)
            drawn = torch.randperm(len(every), generator=generator)[: self.components].tolist()
            chosen = [every[i] for i in drawn]
            live = parameters(family)
            directions = [
                [torch.randn(v.shape, generator=generator).to(v) for v in c.views(live)] for c in chosen
            ]
            weights = [norm(c.views(live)) for c in chosen]
            sizes = [self.relative_step * w / norm(d) for w, d in zip(weights, directions, strict=True)]
            values = stepped(family, chosen, directions, sizes)
        log = [
            Event(
                step=i,
                action="apply",
                component=c.name,
                kind=c.kind,
                tower=str(c.tower),
                step_size=s,
                relative_step=self.relative_step,
            )
            for i, (c, s) in enumerate(zip(chosen, sizes, strict=True))
        ]
        stored = {n: v.to(family.storage_dtype(n)) for n, v in values.items()}
        return Edit(
            change=Weights(values=stored), components=[c.name for c in chosen], log=log, cost=lab.cost
        )
