"""A CLIP of open_clip's own class, small enough for the search of a whole edit in a second, and pictures it
can tell apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from presets import preset
from safetensors.torch import load_file
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.contract.edit import Edit
from razor_cli.contract.method import Method
from razor_cli.data.prompts import DOMAINS
from razor_cli.data.sets import ConceptSets, Judged, Pairs, class_prompts
from razor_cli.data.sources.base import Picture
from razor_cli.dual.gradients import batches
from razor_cli.dual.losses import info_nce
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.fit import fill
from razor_cli.families.clip.open_clip_models import open_clip_view

SIDE, CONTEXT, VOCAB = 16, 16, 64
VISION = {"layers": 3, "width": 32, "head_width": 8, "patch_size": 8, "image_size": SIDE}
TEXT = {"context_length": CONTEXT, "vocab_size": VOCAB, "width": 32, "heads": 4, "layers": 2}
TARGET = "Ada"
OTHERS = ("Ben", "Cleo", "Dan", "Eve", "Fay")
SIZES = {"forget": 12, "retain": 32}
RETAIN_ORDER = tuple(OTHERS[i % len(OTHERS)] for i in range(SIZES["retain"]))
WEIGHTS = Path(__file__).parent / "golden/tiny_world.safetensors"  # what `teach` returned once


def tokenize(texts: Sequence[str], length: int = CONTEXT) -> Tensor:
    """One id a word, by its checksum; start and end marks around, zeros behind. The end mark is the largest
    id.
    """
    rows = torch.zeros(len(texts), length, dtype=torch.long)
    for row, text in zip(rows, texts, strict=True):
        words = text.lower().replace(".", " .").split()[: length - 2]
        ids = [VOCAB - 2, *(1 + zlib.crc32(w.encode()) % (VOCAB - 3) for w in words), VOCAB - 1]
        row[: len(ids)] = torch.tensor(ids)
    return rows


def to_pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)


@dataclass
class Noise:
    """A source of pictures: each concept has a pattern of four coloured quarters, each key adds its own
    noise.
    """

    name: str = "noise"
    domain: str = "person"
    loaded: list[str] = field(default_factory=list)  # every key that was rendered, in order
    forbidden: set[str] = field(default_factory=set)  # keys that nothing may look at

    def concepts(self) -> list[str]:
        return [TARGET, *OTHERS]

    def pictures(self, concept: str, split: str) -> list[Picture]:
        return [
            Picture(key=f"{concept}/{split}/{i}", concept=concept, domain=self.domain)
            for i in range(SIZES["retain"])
        ]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        for picture in pictures:
            if picture.key in self.forbidden:
                raise AssertionError(f"{picture.key} must not be looked at")
            self.loaded.append(picture.key)
        return [self.render(p) for p in pictures]

    def render(self, picture: Picture) -> Image.Image:
        pattern = np.random.default_rng(zlib.crc32(picture.concept.encode())).uniform(40, 215, (2, 2, 3))
        noise = np.random.default_rng(zlib.crc32(f"{picture.key}#{picture.view}".encode())).normal(
            0, 25, (SIDE, SIDE, 3)
        )
        large = pattern.repeat(SIDE // 2, axis=0).repeat(SIDE // 2, axis=1)
        return Image.fromarray((large + noise).clip(0, 255).astype(np.uint8), "RGB")


def pairs(source: Noise, concepts: Sequence[str], split: str) -> Pairs:
    """Return one new picture for each concept named, in order."""
    counts: dict[str, int] = {}
    chosen = []
    for concept in concepts:
        number = counts[concept] = counts.get(concept, -1) + 1
        chosen.append(source.pictures(concept, split)[number])
    return Pairs(tuple(chosen), {source.domain: source})


def make_sets(source: Noise | None = None, others: Sequence[str] = OTHERS) -> ConceptSets:
    """Return disjoint sets of the target Ada against the `others`."""
    source = source or Noise()
    order = [others[i % len(others)] for i in range(SIZES["retain"])]

    def judged(split: str) -> Judged:
        forget = pairs(source, [TARGET] * SIZES["forget"], split)
        return Judged(forget=forget, retain=pairs(source, order, split))

    names = (TARGET, *others)
    return ConceptSets(
        target=TARGET,
        aliases=(),
        domain="person",
        forget=judged("train").forget,
        retain=judged("train").retain,
        validation=judged("validation"),
        evaluation=judged("evaluation"),
        class_names=names,
        prompts=class_prompts(names, "person"),
        generic_prompt=DOMAINS["person"].generic,
    )


def view(module: Any, stored: dict[str, Tensor]) -> Clip:
    """Wrap a module exactly as models/clip.py does."""
    return open_clip_view(
        "tiny", module, tokenize, to_pixels, stored, "tiny.safetensors", "tiny", stand_in=False
    )


def random_module(**changes: Any) -> Any:
    """Return a CLIP with seeded random weights, none of them zero or constant; the global generator stays as
    it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = open_clip.model.CLIP(16, VISION | changes, dict(TEXT)).eval()
        for parameter in module.parameters():
            if parameter.ndim:
                parameter.data.add_(0.02 * torch.randn(parameter.shape))
    module.logit_scale.data.fill_(np.log(20.0))
    return module


@cache
def taught_state() -> dict[str, Tensor]:
    """Return the committed weights of the taught tiny model, so that every machine starts from
    the same bits.
    """
    found = load_file(WEIGHTS)
    return {
        n: found[n] for n in random_module().state_dict()
    }  # the file holds them by name, a module by layer


def teach() -> dict[str, Tensor]:
    """Return the weights of the tiny model after a short training on all six concepts, by which it names most
    pictures right.
    """
    module = random_module()
    model, source = view(module, dict(module.state_dict())), Noise()
    lessons = [next(iter(batches(model, pairs(source, [c] * 8, "lesson"), 8))) for c in (TARGET, *OTHERS)]
    optimizer = torch.optim.Adam([p for n, p in module.named_parameters() if n != "logit_scale"], lr=3e-3)
    for step in range(48):
        images = model.encode_image(torch.stack([b.pixels[step % 8] for b in lessons]))
        loss = info_nce(images, model.encode_text(torch.cat([b.tokens for b in lessons])), 20.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {n: v.detach().clone() for n, v in module.state_dict().items()}


def stored(dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """Return what a file of the taught tiny model in `dtype` holds."""
    return {n: v.detach().to(dtype) for n, v in taught_state().items()}


def make_clip(dtype: torch.dtype = torch.float16, *, taught: bool = True) -> Clip:
    """Return a fresh tiny model whose file stores `dtype`; it computes in fp32 with the values the file
    holds.
    """
    module = random_module()
    state = stored(dtype) if taught else {n: v.detach().to(dtype) for n, v in module.state_dict().items()}
    fill(module, state, "tiny")
    return view(module, state)


def bits(model: Clip) -> dict[str, bytes]:
    """Return the raw bytes of every parameter."""
    return {n: v.numpy().tobytes() for n, v in parameters(model).items()}


def run(method: Method, model: Clip, sets: ConceptSets, **lab: Any) -> Edit:
    """Run one edit on a bench of its own."""
    return method.edit(Lab(family=model, sets=sets, **lab))


@dataclass(frozen=True)
class Facts:
    """What an edit did, in plain values."""

    components: list[str]
    steps: list[tuple[str, str, float | None]]  # action, component, step size
    cost: dict[str, int]  # forwards, backwards, evaluations
    values: dict[str, Tensor]  # new values of the edited tensors
    base: dict[str, Tensor]  # every tensor of the file


def facts(name: str, dtype: torch.dtype = torch.float32) -> Facts:
    """Run a preset on the taught tiny model with seed 0."""
    model = make_clip(dtype)
    edit = run(preset(name), model, make_sets())
    return Facts(
        components=list(edit.components),
        steps=[(e.action, e.component, e.step_size) for e in edit.log],
        cost={n: getattr(edit.cost, n) for n in ("forwards", "backwards", "evaluations")},
        values=dict(sorted(edit.values.items())),
        base=dict(model.stored),
    )


def all_components(model: Clip) -> dict[str, Component]:
    """Return the components of every granularity by name, and every single tensor."""
    every = [c for g in Granularity for c in model.components(g, Towers.BOTH, include_projections=True)]
    return {c.name: c for c in (*model.tensors(), *every)}


def changed(edit: Edit, model: Clip) -> set[str]:
    """Return the tensors in which an edit differs from the file."""
    return {n for n, v in edit.values.items() if not torch.equal(v, model.stored[n])}


def leaked(edit: Edit, model: Clip) -> list[str]:
    """Return the tensors that differ from the file in entries that no component of the edit owns."""
    known, live = all_components(model), parameters(model)
    owned = {n: torch.zeros_like(live[n], dtype=torch.bool) for n in edit.values}
    for component in (known[c] for c in edit.components):
        for part in component.views(owned):
            part.fill_(True)
    return [n for n, v in edit.values.items() if not torch.equal(v[~owned[n]], model.stored[n][~owned[n]])]


def without(sets: ConceptSets, forbid: Callable[[Noise], None]) -> ConceptSets:
    """Return the same sets over a source of their own, changed by `forbid`."""
    source = Noise()
    forbid(source)

    def moved(p: Pairs) -> Pairs:
        return replace(p, sources={source.domain: source})

    def both(j: Judged) -> Judged:
        return Judged(forget=moved(j.forget), retain=moved(j.retain))

    judged = {"validation": both(sets.validation), "evaluation": both(sets.evaluation)}
    return replace(sets, forget=moved(sets.forget), retain=moved(sets.retain), **judged)
