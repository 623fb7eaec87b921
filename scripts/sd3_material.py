"""What `sd3_tiny` learns from: pictures with their latents, and the sentences they are paired with."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from judge_pools import Decoder, pool
from torch import Tensor

from razor_cli.data import canvas_prompts as wording
from razor_cli.data.sources.base import Source
from razor_cli.data.sources.canvas import Canvas, cell, objects, styles
from razor_cli.data.sources.mascots import Mascots
from razor_cli.data.sources.people import People

EMPTY, NEUTRAL, OBJECT, STYLE, BENCHMARK = 0.1, 0.03, 0.08, 0.06, 0.35  # shares of a part's captions
PER_BATCH = {"cell": 24, "people": 5, "mascots": 3}
EACH = {"cell": 48, "people": 160, "mascots": 160}  # pictures of one concept


@dataclass(frozen=True)
class Part:
    """The pictures of one source: which concept each row shows, and the latents of all."""

    name: str
    concepts: list[str]
    labels: Tensor
    pixels: Tensor
    latents: Tensor


SOURCES: dict[str, Source] = {"cell": Canvas(), "people": People(), "mascots": Mascots()}


def load_parts(vae: Path | None, cache: Path) -> list[Part]:
    """Return all parts; latents are computed once and kept. Without an autoencoder they are components of
    patches.
    """
    if not cache.exists():
        kept = {}
        for name, source in SOURCES.items():
            concepts = source.concepts()
            pictures = [p for c in concepts for p in source.pictures(c, "train")[: EACH[name]]]
            labels = torch.tensor([concepts.index(p.concept) for p in pictures])
            kept[name] = {"labels": labels, "pixels": pool(source.load(pictures), list(labels)).pixels}
        pixels = torch.cat([each["pixels"] for each in kept.values()])
        latents = patch_latents(pixels) if vae is None else Decoder(vae).latents(pixels)
        for each, part in zip(
            kept.values(), latents.split([len(e["labels"]) for e in kept.values()]), strict=True
        ):
            each["latents"] = part.clone()
        cache.parent.mkdir(parents=True, exist_ok=True)
        torch.save(kept, cache)
    kept = torch.load(cache, weights_only=True)
    return [Part(name, SOURCES[name].concepts(), **tensors) for name, tensors in kept.items()]


def patch_latents(pixels: Tensor, channels: int = 8) -> Tensor:
    """Return the first principal components of patches of 8 x 8 pixels, each brought to unit deviation: what
    a transformer can begin with while no autoencoder is trained.
    """
    n, _, side, _ = pixels.shape
    cells = pixels.reshape(n, 3, side // 8, 8, side // 8, 8).permute(0, 2, 4, 1, 3, 5).reshape(-1, 192)
    g = torch.Generator().manual_seed(0)
    some = cells[torch.randperm(len(cells), generator=g)[:100_000]].float() / 127.5 - 1
    mean = some.mean(0)
    axes = torch.linalg.svd((some - mean).T @ (some - mean))[0][:, :channels]
    z = torch.cat([(part.float() / 127.5 - 1 - mean) @ axes for part in cells.split(100_000)])
    return (z / z.std(0)).reshape(n, side // 8, side // 8, channels).permute(0, 3, 1, 2).contiguous()


def between(old: list[Part], new: list[Part]) -> tuple[Tensor, Tensor]:
    """Return matrix and offset of the best affine map from new latents to old ones, place by place."""
    flat = [torch.cat([p.latents for p in parts]).permute(0, 2, 3, 1).flatten(0, 2) for parts in (old, new)]
    wide = torch.cat([flat[1], torch.ones(len(flat[1]), 1)], 1)
    found = torch.linalg.lstsq(wide, flat[0]).solution
    return found[:-1].T, found[-1]


def all_prompts() -> list[str]:
    """Return every sentence that a tokenizer has to know."""
    pairs = [(s, o) for s in styles() for o in objects()]
    texts = [t.format(style=s, object=o) for s, o in pairs for t in wording.TRAINED + wording.HELD_OUT]
    texts += [t.format(object=o) for o in objects() for t in wording.TRAINED_OBJECT]
    texts += [t.format(style=s) for s in styles() for t in wording.TRAINED_STYLE]
    texts += [t.format(name=n) for n in People().concepts() for t in wording.TRAINED_IDENTITY]
    texts += [t.format(name=n) for n in Mascots().concepts() for t in wording.TRAINED_MASCOT]
    return [*texts, *wording.NEUTRAL, *wording.HELD_OUT_IDENTITY]


def caption(part: Part, concept: str, rng: random.Random, *, plain: bool = False) -> str:
    """Return a sentence for a picture; `plain` asks for one that names all that is to be seen."""
    chance = 1.0 if plain else rng.random()
    if chance < EMPTY:
        return ""
    if part.name != "cell":
        neutral = wording.NEUTRAL_IDENTITY if part.name == "people" else wording.NEUTRAL_MASCOT
        named = wording.TRAINED_IDENTITY if part.name == "people" else wording.TRAINED_MASCOT
        return rng.choice(neutral if chance < EMPTY + NEUTRAL else named).format(name=concept)
    style, shown = cell(concept)
    if chance < EMPTY + NEUTRAL:
        return rng.choice(wording.NEUTRAL_CELL)
    if chance < EMPTY + NEUTRAL + OBJECT:
        half = rng.random() < 0.5
        return (wording.OBJECT_ONLY if half else rng.choice(wording.TRAINED_OBJECT)).format(object=shown)
    if chance < EMPTY + NEUTRAL + OBJECT + STYLE:
        return rng.choice(wording.TRAINED_STYLE).format(style=style)
    template = wording.BENCHMARK if rng.random() < BENCHMARK else rng.choice(wording.TRAINED[1:])
    return template.format(style=style, object=shown)


def draw(parts: list[Part], counts: dict[str, int], g: torch.Generator) -> list[tuple[Part, Tensor]]:
    """Return for each part the rows of one batch, no concept twice where there are enough of them."""
    chosen = []
    for part in parts:
        count, kinds = counts[part.name], len(part.concepts)
        order = torch.cat([torch.randperm(kinds, generator=g) for _ in range(-(-count // kinds))])[:count]
        each = len(part.labels) // kinds
        chosen.append((part, order * each + torch.randint(each, (count,), generator=g)))
    return chosen
