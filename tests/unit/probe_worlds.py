"""Pictures of a target, and judges that look at them, for probes of tiny pipelines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tiny_drawn import OBJECTS, STYLES, make_sets
from torch import Tensor

from razor_cli.contract.family import Say
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.judges import Answers
from razor_cli.families.diffusion.panel import Panel
from razor_cli.families.diffusion.probing import Prober
from razor_cli.families.diffusion.settings import DrawnMetrics

NOTO, MONO = 0, 1
Finds = Callable[[Tensor], Tensor]  # pictures [n, 3, H, W] in [0, 1] -> places [n]
SHORT = {"steps": 3, "batch": 2, "probe_steps": 2, "probe_batch": 2, "probe_tokens": 2}


@dataclass(frozen=True)
class Toy:
    """A judge that says what a function finds."""

    labels: tuple[str, ...]
    finds: Finds
    name: str = "toy"
    sha256: str = "0" * 64

    def index(self, label: str) -> int:
        """Return the place of a label."""
        return self.labels.index(label)

    def predict(self, pictures: Tensor) -> Answers:
        """Return what is found."""
        return Answers(labels=self.finds(pictures), confidence=torch.ones(len(pictures)))


@dataclass
class Painted:
    """In place of a store: smooth pictures by seed; keeps what it was asked for."""

    side: int
    asked: list[tuple[str, int]] = field(default_factory=list)

    def pictures(self, prompts: Sequence[str], seeds: Sequence[int], *_: Any) -> Tensor:
        """Return pictures [n, 3, side, side] as bytes."""
        self.asked += zip(prompts, seeds, strict=True)
        rows = [torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(s)) for s in seeds]
        fine = torch.nn.functional.interpolate(torch.stack(rows), size=self.side, mode="bilinear")
        return (255 * fine).round().to(torch.uint8)


def always(place: int) -> Finds:
    """Return a function that finds one label in everything."""
    return lambda pictures: torch.full((len(pictures),), place)


ALL = always(NOTO)


def prober(
    family: Diffusion,
    *probes: str,
    finds: Finds = ALL,
    sets: Any = None,
    say: Say = lambda _: None,
    **more: Any,
) -> Prober:
    """Return a prober of few steps, of painted pictures and a toy judge."""
    sets = sets or make_sets()
    judges: Any = {"style": Toy(STYLES, finds), "object": Toy(OBJECTS, always(0))}
    store: Any = Painted(family.denoiser.side)
    return Prober(
        family=family,
        sets=sets,
        settings=DrawnMetrics(probes=list(probes), **SHORT | more),
        judges=Panel(shots=sets.evaluation, judges=judges),
        store=store,
        say=say,
    )
