"""Pictures for the judges of the stand-ins, in memory, with their label for every kind of judge.

The judge of searches sees the icons that train the generators; the one of exams also the spare icons. What
neither sees measures them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from razor_cli.data.sources import canvas
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.canvas import Canvas, cell, has_spare
from razor_cli.data.sources.emoji import packed
from razor_cli.data.sources.mascots import MASCOTS, Mascots
from razor_cli.data.sources.people import PEOPLE, People
from razor_cli.data.sources.portraits import NAMES, Portraits, portrait_svg
from razor_cli.data.sources.render import SIDE, place, rasterize
from razor_cli.families.diffusion.judge_pictures import IGNORED, noise

LABELS: dict[str, list[str]] = {
    "style": canvas.styles(),
    "object": canvas.objects(),
    "identity": list(PEOPLE),
    "character": list(MASCOTS),
}
NONE = torch.tensor([len(labels) for labels in LABELS.values()])
SETS = {  # icon sets of the styles
    "Contrast": "fluent-emoji-high-contrast",
    "Emojione": "emojione",
    "Fluent": "fluent-emoji-flat",
    "Monotone": "emojione-monotone",
    "Noto": "noto",
    "Twemoji": "twemoji",
}
# Other emoji that show, or look like, one of the canvas's objects: they are no example of none of these.
ALIKE = set(
    "bear koala panda tiger lion fox owl penguin dolphin whale fire volcano rose tulip sunflower hamburger "
    "castle cloud unicorn bat".split()
) | {"palm tree", "maple leaf", "four leaf clover"}
OF_CELL = {"search": ("train",), "exam": ("train", "spare")}
UNSEEN = {"search": "spare", "exam": "exam"}


@dataclass(frozen=True)
class Pool:
    """Pictures as uint8 [N, 3, SIDE, SIDE] and their labels [N, K], one column per kind."""

    pixels: Tensor
    labels: Tensor

    def floats(self, rows: Tensor) -> Tensor:
        """Return some of the pictures as floats in [0, 1]."""
        return self.pixels[rows].float() / 255


def joined(pools: Sequence[Pool]) -> Pool:
    """Return pools behind one another."""
    return Pool(torch.cat([p.pixels for p in pools]), torch.cat([p.labels for p in pools]))


def labelled(**known: str) -> Tensor:
    """Return a row of labels: those known by name, none of these for the other kinds."""
    row = NONE.clone()
    for place_of, (kind, labels) in enumerate(LABELS.items()):
        if kind in known:
            row[place_of] = labels.index(known[kind])
    return row


def pool(images: Sequence[object], rows: Sequence[Tensor]) -> Pool:
    """Return a pool of images and a row of labels for each."""
    pixels = torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2).contiguous()
    return Pool(pixels, torch.stack(list(rows)))


def cells(split: str, each: int, *, spare: bool | None = None) -> Pool:
    """Return views of the cells of one split; `spare` chooses cells with or without a spare icon."""
    source, names = Canvas(), Canvas().concepts()
    chosen = [n for n in names if spare is None or has_spare(n) == spare]
    pictures = [p for n in chosen for p in source.pictures(n, split)[:each]]
    rows = [labelled(style=cell(p.concept)[0], object=cell(p.concept)[1]) for p in pictures]
    return pool(source.load(pictures), rows)


def characters(source: People | Mascots, split: str, each: int, half: int | None = None) -> Pool:
    """Return portraits or mascots of one split; `half` 0 or 1 takes every second one."""
    kind = "identity" if isinstance(source, People) else "character"
    pictures: list[Picture] = []
    for name in source.concepts():
        found = source.pictures(name, split)
        pictures += (found if half is None else found[half::2])[:each]
    return pool(source.load(pictures), [labelled(**{kind: p.concept}) for p in pictures])


def strangers(each: int, first: int) -> Pool:
    """Return portraits on white of the names that no identity judge knows."""
    images = []
    for name in (n for n in NAMES if n not in PEOPLE):
        found = Portraits().pictures(name, "train")[first : first + each]
        vectors = [p.key.split("/", 2)[2] for p in found]
        images += [rasterize(portrait_svg(name, v, 0, ground=canvas.WHITE), SIDE) for v in vectors]
    return pool(images, [labelled()] * len(images))


def other_icons(half: int, views: int) -> Pool:
    """Return icons of other things in the styles of the canvas: their style is known, their object is not."""
    icons, images, rows = packed()["icons"], [], []
    things = [t for t in sorted(packed()["groups"]) if t not in ALIKE][half::2]
    for style, icon_set in SETS.items():
        for thing in things:
            drawn = icons[icon_set][thing]
            for view in range(views):
                rng = random.Random(f"judge {style} {thing} {view}")
                svg = place(
                    drawn["body"], (drawn["width"], drawn["height"]), canvas.WHITE, rng, canvas.SPREAD
                )
                images.append(rasterize(svg))
                rows.append(labelled(style=style))
    return pool(images, rows)


def training_pools(role: str) -> dict[str, Pool]:
    """Return what the judge of one role is trained on, by the part of a batch it fills."""
    half = 0 if role == "search" else 1
    return {
        "cell": joined([cells(split, 40 if split == "train" else 12) for split in OF_CELL[role]]),
        "other": other_icons(half, 4),
        "person": characters(People(), "train", 120, half),
        "stranger": strangers(20, 20 * half),
        "mascot": characters(Mascots(), "train", 120, half),
    }


def measuring_pools(role: str) -> dict[str, Pool]:
    """Return what measures a judge: new views, of cells without a spare icon apart, and icons never seen."""
    return {
        "views": joined(
            [
                cells("evaluation", 12, spare=True),
                characters(People(), "evaluation", 60),
                characters(Mascots(), "evaluation", 60),
            ]
        ),
        "views_without_spare": cells("evaluation", 12, spare=False),
        "unseen": cells(UNSEEN[role], 12),
        "strangers": joined([strangers(10, 60), other_icons(1 if role == "search" else 0, 1)]),
    }


class Decoder:
    """The stand-ins' own autoencoder: what a picture looks like after it, and what unfinished latents do."""

    def __init__(self, folder: Path) -> None:
        from diffusers import AutoencoderKL

        self.vae = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()
        self.scale = float(self.vae.config.scaling_factor)

    @torch.no_grad()
    def latents(self, pixels: Tensor) -> Tensor:
        """Return the scaled means of pictures as uint8."""
        parts = [self.vae.encode(part.float() / 127.5 - 1).latent_dist.mean for part in pixels.split(64)]
        return torch.cat(parts) * self.scale

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """Return the pictures of scaled latents, as uint8."""
        parts = [self.vae.decode(part / self.scale).sample for part in latents.split(64)]
        return ((torch.cat(parts).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)

    def rebuilt(self, source: Pool) -> Pool:
        """Return the pictures of a pool after the autoencoder, with their labels."""
        return Pool(self.pictures(self.latents(source.pixels)), source.labels)

    def unfinished(self, source: Pool, g: torch.Generator) -> Pool:
        """Return pictures decoded from latents that are mostly noise: none of anything."""
        z = self.latents(source.pixels)
        share = 0.65 + 0.35 * torch.rand(len(z), 1, 1, 1, generator=g)
        pixels = self.pictures((1 - share) * z + share * noise(z, g))
        return Pool(pixels, NONE.expand_as(source.labels).clone())


__all__ = ["IGNORED", "LABELS", "NONE", "Decoder", "Pool", "joined", "measuring_pools", "training_pools"]
