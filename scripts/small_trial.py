"""One architecture of open_clip on trial, with random weights: what it takes to be edited and stored."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from small_models import register, small, write_hub, write_weights

from razor_cli.config.conf_files import settings_of
from razor_cli.config.schema import build as built
from razor_cli.config.schema import locate
from razor_cli.config.settings import PLACES
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.edit import Edit
from razor_cli.data.prompts import DOMAINS
from razor_cli.data.sets import ConceptSets, Judged, Pairs, class_prompts
from razor_cli.data.sources.base import Picture
from razor_cli.dual.complete import never_edited
from razor_cli.dual.replay import run_prefix, run_suffix
from razor_cli.dual.view import Tower
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.architectures import configuration_of
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.open_clip_build import build
from razor_cli.families.clip.open_clip_models import load_open_clip
from razor_cli.families.clip.served import refusal
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import apply, verify, write_patch
from razor_cli.weights.quantization import DEFAULT, quantized

TARGET, OTHERS, COUNT = "cat", ("dog", "owl", "car"), 6
EDIT = {"step": "fixed", "step_size": 0.3, "grow_rounds": 0, "retries": []}
SCHEMES = ("int8", "int4")


@dataclass
class Noise:
    """A source of pictures: a colour for each concept, with noise of its own on each picture."""

    name: str = "noise"
    domain: str = "object"

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Return 32 x 32 pictures."""
        return [self.render(picture) for picture in pictures]

    def render(self, picture: Picture) -> Image.Image:
        """Return one of them."""
        colour = np.random.default_rng(zlib.crc32(picture.concept.encode())).uniform(40, 215, 3)
        noise = np.random.default_rng(zlib.crc32(picture.key.encode())).normal(0, 30, (32, 32, 3))
        return Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8), "RGB")


def sets_of() -> ConceptSets:
    """Return small disjoint sets of one concept against others."""
    source: Any = Noise()

    def drawn(concepts: Sequence[str], split: str) -> Pairs:
        chosen = (
            Picture(key=f"{c}/{split}/{i}", concept=c, domain=source.domain) for i, c in enumerate(concepts)
        )
        return Pairs(tuple(chosen), {source.domain: source})

    def judged(split: str) -> Judged:
        others = [OTHERS[i % len(OTHERS)] for i in range(COUNT)]
        return Judged(forget=drawn([TARGET] * COUNT, split), retain=drawn(others, split))

    names = (TARGET, *OTHERS)
    return ConceptSets(
        target=TARGET,
        aliases=(),
        domain=source.domain,
        forget=judged("train").forget,
        retain=judged("train").retain,
        validation=judged("validation"),
        evaluation=judged("evaluation"),
        class_names=names,
        prompts=class_prompts(names, source.domain),
        generic_prompt=DOMAINS[source.domain].generic,
    )


def by_size(file: Path) -> list[str]:
    """Return all names of open_clip, those with the fewest weights first; sizes are kept in `file`."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    sizes = {name: known[name] if name in known else weights_of(name) for name in open_clip.list_models()}
    file.write_text(json.dumps(sizes), encoding="utf-8")
    return sorted(sizes, key=lambda name: (sizes[name], name))


def weights_of(name: str) -> int:
    """Return how many weights an architecture has, in millions, rounded down; text towers of transformers,
    which cannot be built without the hub, count as 500.
    """
    config = configuration_of(name)
    if config["text_cfg"].get("hf_model_name"):
        return 500
    with torch.device("meta"):
        module = build(config)
    return sum(p.numel() for p in module.parameters()) // 10**6


def examine(name: str, full: int, work: Path) -> dict[str, Any]:
    """Return what an architecture does from its weights' file to a patch, or why it is refused. Raises
    whatever does not hold. `full`: at full size up to so many million weights, 0: small.
    """
    config = configuration_of(name)
    found: dict[str, Any] = {"name": name, **described(config)}
    if (why := refusal(config)) is not None and not config["text_cfg"].get("hf_model_name"):
        return {**found, "refused": why[0]}
    found["needs"] = needed(config)
    whole = weights_of(name) if full else 0
    at_full = bool(full) and whole <= full and not found["needs"]
    own = config if at_full else small(name)
    write_hub(work / "hub", own)
    if (why := refusal(own)) is not None:
        return {**found, "refused": why[0]}
    label = name if at_full else f"small-{name}"
    if not at_full:
        register(work / "configs", label, own)
    weights = work / "weights.safetensors"
    found |= {"weights": write_weights(own, weights), "full": at_full}
    model = load_open_clip(name, label, str(weights))
    found["components"], found["never"] = listed(model)
    found["replays"] = check_replay(model)
    edited(model, Towers.TEXT, work)
    edit = edited(model, Towers.VISION, work)
    found["edited"] = list(edit.components)[:6]
    found["quantized"] = check_quantized(model, edit)
    found["patched"] = check_patch(model, edit, label, weights, work)
    return found


def described(config: dict[str, Any]) -> dict[str, str]:
    """Return what the towers are."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    own = "ModifiedResNet" if isinstance(vision.get("layers"), list) else "ViT"
    towers = "CoCa " if "multimodal_cfg" in config else ""
    return {
        "image": str(vision.get("timm_model_name") or f"{towers}{own}"),
        "text": str(text.get("hf_model_name") or f"{towers}transformer"),
    }


def needed(config: dict[str, Any]) -> list[str]:
    """Return what an architecture takes from the hub beside its weights."""
    text = config["text_cfg"]
    names = [f"tokenizer {name}"] if (name := text.get("hf_tokenizer_name")) else []
    return [*names, f"config.json {text['hf_model_name']}"] if text.get("hf_model_name") else names


def listed(model: Clip) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many components there are by granularity, and parameters never edited, by reason."""
    counts = {}
    for granularity in Granularity:
        for projections in (False, True):
            never_edited(model, model.layouts, granularity, projections)
        counts[granularity.value] = len(model.components(granularity, Towers.BOTH))
    reasons: dict[str, int] = {}
    for why in never_edited(model, model.layouts, Granularity.HEAD_MLP).values():
        reasons[why] = reasons.get(why, 0) + 1
    return counts, reasons


@torch.no_grad()
def check_replay(model: Clip) -> int:
    """Return at how many blocks a forward pass can be entered, after each gave the bits of the whole pass."""
    pixels = model.preprocess(sets_of().forget.load(0, 2))
    tokens = model.tokenize(["a photo of a cat", "a drawing of two dogs"])
    count = 0
    for tower, inputs in ((Tower.VISION, pixels), (Tower.TEXT, tokens)):
        whole = model.encode_image(inputs) if tower is Tower.VISION else model.encode_text(inputs)
        layers = {c.layer for c in model.components(Granularity.BLOCK, Towers(tower.value)) if c.layer > 0}
        for layer in sorted(layers)[:: max(1, len(layers) // 3)]:
            again = run_suffix(model, tower, inputs, layer, run_prefix(model, tower, inputs, layer))
            if not torch.equal(again, whole):
                raise RuntimeError(f"the {tower} tower entered at block {layer} gives other embeddings")
        count += len(layers)
    return count


def edited(model: Clip, towers: Towers, work: Path) -> Edit:
    """Return RAZOR's edit of some towers after one gradient pass, with a fixed step."""
    node = settings_of("method", "razor/bounded", "clip") | EDIT | {"towers": towers.value}
    problems: list[Any] = []
    method: Any = built(locate(node["_target_"], PLACES["method"], "method"), node, "method", problems)
    if problems:
        raise RuntimeError(str(problems[0]))
    edit: Edit = method.edit(Lab(family=model, sets=sets_of(), cache=TensorCache(work / "gradients")))
    live = parameters(model)
    if not any(not torch.equal(value, live[n]) for n, value in edit.values.items()):
        raise RuntimeError(f"the edit of towers={towers} changes nothing")
    return edit


def check_quantized(model: Clip, edit: Edit) -> dict[str, int]:
    """Return how many tensors each scheme covers; every bit is back afterwards."""
    before = {n: v.clone() for n, v in parameters(model).items()}
    counts = {}
    for scheme in SCHEMES:
        with (
            torch.no_grad(),
            swapped(model, edit.values),
            quantized(model, scheme, DEFAULT, list(edit.values)) as q,
        ):
            if not bool(model.encode_text(model.tokenize(["a photo of a cat"])).isfinite().all()):
                raise RuntimeError(f"{scheme} gives embeddings that are no numbers")
            counts[scheme] = q.n_tensors
    if not all(torch.equal(v, before[n]) for n, v in parameters(model).items()):
        raise RuntimeError("quantization left other weights behind")
    return counts


@torch.no_grad()
def check_patch(model: Clip, edit: Edit, label: str, weights: Path, work: Path) -> int:
    """Return how many tensors the patch holds: applied to the file, it gives the edited model to the bit."""
    patch, out = work / "patch.safetensors", work / "patched.safetensors"
    write_patch(patch, edit.values, model.stored, method="razor", target=TARGET)
    if misfits := verify(patch, weights):
        raise RuntimeError(misfits[0])
    apply(patch, weights, out)
    state, pixels = read_state(out), model.preprocess(sets_of().forget.load(0, 2))
    changed = [n for n, v in state.items() if not torch.equal(v, model.stored[n])]
    if set(changed) != {n for n, v in edit.values.items() if not torch.equal(v, model.stored[n])}:
        raise RuntimeError("the patched file differs in other tensors than the edit")
    with swapped(model, edit.values):
        held = model.encode_image(pixels)
    if not torch.equal(load_open_clip("patched", label, str(out)).encode_image(pixels), held):
        raise RuntimeError("the patched file gives other embeddings than the edit")
    return len(changed)
