"""What `sd3_tiny` learns from: pictures with their latents, and the sentences they are paired with."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from judge_pools import Decoder, pool
from torch import Tensor

from razor_cli.data import canvas_prompts as wording
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


def load_parts(vae: Path, cache: Path) -> list[Part]:
    """Return all parts; latents are computed once and kept."""
    if not cache.exists():
        decoder, kept = Decoder(vae), {}
        for source in (Canvas(), People(), Mascots()):
            name, concepts = {"canvas": "cell"}.get(source.name, source.name), source.concepts()
            pictures = [p for c in concepts for p in source.pictures(c, "train")[: EACH[name]]]
            labels = torch.tensor([concepts.index(p.concept) for p in pictures])
            pixels = pool(source.load(pictures), list(labels)).pixels
            kept[name] = {"labels": labels, "pixels": pixels, "latents": decoder.latents(pixels)}
        cache.parent.mkdir(parents=True, exist_ok=True)
        torch.save(kept, cache)
    kept = torch.load(cache, weights_only=True)
    sources = {"cell": Canvas(), "people": People(), "mascots": Mascots()}
    return [Part(name, sources[name].concepts(), **tensors) for name, tensors in kept.items()]


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


def draw(
    parts: list[Part], counts: dict[str, int], g: torch.Generator
) -> list[tuple[Part, Tensor]]:
    """Return for each part the rows of one batch, no concept twice where there are enough of them."""
    chosen = []
    for part in parts:
        count, kinds = counts[part.name], len(part.concepts)
        order = torch.cat([torch.randperm(kinds, generator=g) for _ in range(-(-count // kinds))])[:count]
        each = len(part.labels) // kinds
        chosen.append((part, order * each + torch.randint(each, (count,), generator=g)))
    return chosen
