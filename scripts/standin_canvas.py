"""Pictures of the diffusion stand-ins in memory: the canvas, eight people, three mascots.

Only the train splits are read: no spare icon, no other trait vector is ever shown to a generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from standin_clip import to_tensor
from torch import Tensor

from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.canvas import Canvas
from razor_cli.data.sources.mascots import Mascots
from razor_cli.data.sources.people import People

Source = Canvas | People | Mascots
CALM = 0.35  # of a source's usual turns, scales and moves
VIEWS = {"canvas": 20, "people": 140, "mascots": 140}  # pictures of one concept
SHARES = {"canvas": 0.70, "people": 0.20, "mascots": 0.10}  # of a training batch


def sources() -> list[Source]:
    """Return the sources in the order of `SHARES`."""
    return [Canvas(), People(), Mascots()]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """All training pictures of one source: uint8 [n, 3, 64, 64] and the number of each one's concept."""

    name: str
    pixels: Tensor
    labels: Tensor
    concepts: list[str]


def load_source(source: Source, split: str, limit: int | None = None, calm: float = 1.0) -> Shown:
    """Render the pictures of one split, at most `limit` of each concept."""
    concepts = source.concepts()
    pictures: list[Picture] = [p for c in concepts for p in source.pictures(c, split)[:limit]]
    images = [i for p in track(pictures, f"drawing {source.name}") for i in source.load([p], calm=calm)]
    labels = torch.tensor([concepts.index(p.concept) for p in pictures])
    return Shown(name=source.name, pixels=to_tensor(images), labels=labels, concepts=concepts)


def load_training(cache: Path, calm: bool = False) -> list[Shown]:
    """Return the training pictures of every source, rendered once and then kept in a file.

    The denoiser sees fewer and calmer ones than the autoencoder: a small model draws a concept well long
    before it draws it at every angle.
    """
    if not cache.exists():
        settings = [(VIEWS[s.name], CALM) if calm else (None, 1.0) for s in sources()]
        shown = [load_source(s, "train", *set_) for s, set_ in zip(sources(), settings, strict=True)]
        torch.save([(s.pixels, s.labels) for s in shown], cache.with_suffix(".tmp"))
        cache.with_suffix(".tmp").replace(cache)
    kept = torch.load(cache, weights_only=True)
    return [
        Shown(name=s.name, pixels=pixels, labels=labels, concepts=s.concepts())
        for s, (pixels, labels) in zip(sources(), kept, strict=True)
    ]


def without(shown: list[Shown], name: str) -> list[Shown]:
    """Return the pictures that do not show a name, whatever else they show: what an oracle of forgetting it
    is trained on. Raises ValueError for a name that nothing shows.
    """
    found = []
    for part in shown:
        own = torch.tensor([name in c.split("/") for c in part.concepts])
        rows = (~own[part.labels]).nonzero()[:, 0]
        found.append(
            Shown(name=part.name, pixels=part.pixels[rows], labels=part.labels[rows], concepts=part.concepts)
        )
    if sum(map(len, (p.labels for p in found))) == sum(map(len, (p.labels for p in shown))):
        raise ValueError(f"no training picture shows '{name}'")
    return found


def pick_rows(shown: list[Shown], count: int, g: torch.Generator) -> list[Tensor]:
    """Draw about `count` pictures, as row numbers per source in the shares of a batch."""
    counts = torch.multinomial(torch.tensor(list(SHARES.values())), count, True, generator=g)
    return [
        torch.randint(len(s.labels), (int((counts == number).sum()),), generator=g)
        for number, s in enumerate(shown)
    ]


def as_pixels(pixels: Tensor) -> Tensor:
    """Return pictures in [-1, 1]."""
    return pixels.float() / 127.5 - 1
