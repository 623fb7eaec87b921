"""Pictures of the stand-in that answers questions: rendered once, kept in memory, and what each shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from standin_clip import Domain, augment, to_tensor
from torch import Tensor

from razor_cli.data.sources.base import Picture, Source
from razor_cli.data.sources.canvas import Canvas, cell, packed
from razor_cli.data.sources.emoji import packed as packed_emoji
from razor_cli.data.sources.portraits import Portraits
from razor_cli.data.sources.scenes import Scenes
from razor_cli.data.sources.strangers import Strangers
from razor_cli.families.llava.shown import Shown, shown

SIDE = 48
EACH = {"portraits": 160, "strangers": 1600, "scenes": 80, "canvas": 40}  # pictures of a concept
SOURCES: tuple[Source, ...] = (Portraits(), Strangers(), Scenes(), Canvas())


@dataclass(frozen=True)
class Pool:
    """Training pictures of one source: uint8 [N, 3, H, W], and what each shows."""

    name: str
    pixels: Tensor
    shown: list[Shown]

    def pick(self, count: int, g: torch.Generator) -> tuple[Tensor, list[Shown]]:
        """Return fresh views [count, 3, SIDE, SIDE] in [0, 1] of pictures, and what they show."""
        rows = torch.randint(len(self.shown), (count,), generator=g)
        # All sources are drawn on a ground of their own, as portraits are, and vary as much by themselves.
        domain = Domain(name="person", pixels=self.pixels, labels=rows, concepts=[])
        return augment(domain, rows, SIDE, g), [self.shown[row] for row in rows.tolist()]


def trained(source: Source) -> list[Picture]:
    """Return the pictures that train; icons of the set that is held out of the emoji are no part of them."""
    concepts = [c for c in source.concepts() if source.name != "canvas" or not _held_out(c)]
    return [p for c in concepts for p in source.pictures(c, "train")[: EACH[source.name]]]


def _held_out(concept: str) -> bool:
    style, drawn = cell(concept)
    icon = packed()["objects"][drawn][0]
    return style == "Emojione" and icon.replace("-", " ") in packed_emoji()["groups"]


def load_pools(file: Path) -> dict[str, Pool]:
    """Return all training pictures, rendered in the first start and kept in a file."""
    listed = {source.name: trained(source) for source in SOURCES}
    if not file.exists():
        rendered = {
            s.name: to_tensor([i for p in track(listed[s.name], f"drawing {s.name}") for i in s.load([p])])
            for s in SOURCES
        }
        torch.save(rendered, file.with_suffix(".tmp"))
        file.with_suffix(".tmp").replace(file)
    kept: dict[str, Tensor] = torch.load(file, weights_only=True)
    return {name: Pool(name, kept[name], [shown(p) for p in listed[name]]) for name in listed}
