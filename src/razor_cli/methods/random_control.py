"""Random directions: the control that every edit is held against, and a method of its own."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from razor_cli.contract.components import Granularity, Towers, parameters
from razor_cli.contract.edit import Event
from razor_cli.contract.method import Edit
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.lab import Lab
from razor_cli.engine.search import norm, stepped
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip


@dataclass(frozen=True, kw_only=True)
class RandomControl:
    """Move randomly chosen components along random directions by a share of their norm."""

    families: ClassVar[tuple[str, ...]] = ("clip",)
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

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Draw components and directions from the run's seed."""
        with lab.timed():
            generator = lab.generator()
            every = model.components(self.granularity, self.towers, self.include_projections)
            chosen = [
                every[i] for i in torch.randperm(len(every), generator=generator)[: self.components].tolist()
            ]
            live = parameters(model)
            directions = [
                [torch.randn(v.shape, generator=generator).to(v) for v in c.views(live)] for c in chosen
            ]
            weights = [norm(c.views(live)) for c in chosen]
            sizes = [self.relative_step * w / norm(d) for w, d in zip(weights, directions, strict=True)]
            values = stepped(model, chosen, directions, sizes)
        log = [
            Event(
                step=i,
                action="apply",
                component=c.name,
                kind=c.kind,
                tower=c.tower.value,
                step_size=s,
                relative_step=self.relative_step,
            )
            for i, (c, s) in enumerate(zip(chosen, sizes, strict=True))
        ]
        stored = {n: v.to(model.storage_dtype(n)) for n, v in values.items()}
        return Edit(values=stored, components=[c.name for c in chosen], log=log, cost=lab.cost)


def control_of(model: Clip, values: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return a random change of the same entries and, per tensor, the same norm as an edit's: what size alone
    does.

    The draw depends on the seed and each tensor's name only, so it is the same whatever else was edited.
    """
    live = parameters(model)
    control = {}
    for name, new in values.items():
        delta = new.to(live[name].dtype) - live[name]
        generator = torch.Generator().manual_seed(
            zlib.crc32(f"{seed}/{name}".encode())
        )  # torch looks at the low 32 bits only
        noise = torch.randn(delta.shape, generator=generator).to(delta) * (delta != 0)
        size = noise.norm()
        moved = live[name] + (noise * (delta.norm() / size) if size > 0 else noise)
        control[name] = moved.to(new.dtype)
    return control
