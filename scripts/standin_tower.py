"""Train the paired towers of `llava_tiny`: the concept of a picture goes into both poolings, and what will
be asked about into its patches.

Both poolings, CLS and the mean of the patches that a LLaVA reads, are matched with the same captions. Heads
that are thrown away read colours, counts, styles, categories and sides off the patches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from muon import Muon
from rich.console import Console
from standin_clip import GENERIC_SHARE, MEAN, SCALE, SMOOTHING, STD, contrastive_loss
from standin_paired import make_paired
from standin_shown import SIDE, Pool
from standin_stage import CountedStage
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from razor_cli.data import canvas_prompts
from razor_cli.data.prompts import DOMAINS, article
from razor_cli.families.llava.shown import Shown
from razor_cli.families.llava.wording import VALUES

PER_BATCH = {"portraits": 36, "strangers": 6, "scenes": 64, "canvas": 22}
STYLES_EVERY = 4  # one batch in so many pairs icons with their styles instead
LR, OTHER_LR = 7e-4, 5e-4
HEAD_WEIGHT = 0.15
WHOLE = ("name", "category", "background", "hair", "clothes", "count", "style", "object")
SIDES = ("left", "right")
PATCHES = SIDE // 8
LAYER = -2  # what a LLaVA reads


@dataclass(frozen=True)
class Seen:
    """Both poolings of pictures, normalised [N, d], and the patches that a LLaVA reads [N, P, w]."""

    cls: Tensor
    mean: Tensor
    patches: Tensor


def look(clip: CLIPModel, pixels: Tensor) -> Seen:
    """Return what the image tower makes of prepared pictures."""
    found = clip.vision_model(pixel_values=pixels, output_hidden_states=True)
    patches = found.hidden_states[LAYER][:, 1:]
    norm = next(m for n, m in clip.vision_model.named_modules() if n.endswith("post_layernorm"))
    mean = clip.visual_projection(norm(patches.mean(dim=1)))
    cls = clip.visual_projection(found.pooler_output)
    return Seen(F.normalize(cls, dim=-1), F.normalize(mean, dim=-1), patches)


class Heads(nn.ModuleDict):
    """What is read off the patches: a linear head for each fact; those of the sides read half a picture."""

    def __init__(self, width: int) -> None:
        facts = {fact: nn.Linear(width, len(VALUES[fact])) for fact in WHOLE}
        super().__init__(facts | {"beard": nn.Linear(width, 2)})

    def loss(self, patches: Tensor, shown: list[Shown]) -> Tensor:
        """Return the mean of the heads' cross-entropies over the facts that the pictures have."""
        whole = patches.mean(dim=1)
        grid = patches.unflatten(1, (PATCHES, PATCHES))
        halves = {
            "left": grid[:, :, : PATCHES // 2].mean((1, 2)),
            "right": grid[:, :, PATCHES // 2 :].mean((1, 2)),
        }
        losses = []
        for fact in (*WHOLE, "beard", *SIDES):
            rows = [i for i, s in enumerate(shown) if fact in s.facts]
            if not rows:
                continue
            values = ("no", "yes") if fact == "beard" else VALUES[fact]
            wanted = torch.tensor([values.index(shown[i].facts[fact]) for i in rows])
            head = self["object" if fact in SIDES else fact]
            logits = head(halves.get(fact, whole)[rows])
            losses.append(F.cross_entropy(logits, wanted.to(logits.device)))
        return torch.stack(losses).mean()


def caption(shown: Shown, rng: Random, *, style: bool) -> str | None:
    """Return a caption of a picture: of its style or of what it shows; None where there is none."""
    if style and "style" in shown.facts:
        return rng.choice(canvas_prompts.TRAINED_STYLE).format(style=shown.facts["style"])
    if shown.source in ("portraits", "strangers"):
        name = shown.facts.get("name")
        plain = name is None or rng.random() < GENERIC_SHARE["person"]
        return DOMAINS["person"].generic if plain else rng.choice(DOMAINS["person"].captions).format(name)
    thing = shown.facts.get("object")
    if style or thing is None:
        return None
    plain = rng.random() < GENERIC_SHARE["emoji"]
    return DOMAINS["emoji"].generic if plain else rng.choice(DOMAINS["emoji"].captions).format(article(thing))


def paired(shown: list[Shown], rng: Random, *, style: bool) -> tuple[list[int], list[str], Tensor]:
    """Return which pictures have a caption, the distinct captions, and the caption's number of each.

    A concept has one wording in a batch, so that no caption is a negative of its own concept.
    """
    worded: dict[tuple[str, ...], str] = {}
    captions: dict[str, int] = {}
    rows, numbers = [], []
    for row, each in enumerate(shown):
        text = caption(each, rng, style=style)
        if text is None:
            continue
        if not text.startswith((DOMAINS["person"].generic, DOMAINS["emoji"].generic)):
            concept = each.facts.get("name") or each.facts.get("style" if style else "object") or text
            text = worded.setdefault((concept,), text)
        rows.append(row)
        numbers.append(captions.setdefault(text, len(captions)))
    return rows, list(captions), torch.tensor(numbers)


def optimizers(clip: CLIPModel, heads: Heads) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for everything else; the scale stays."""
    inside = {n: p for n, p in clip.named_parameters() if p.ndim == 2 and ".layers." in n}
    rest = [p for n, p in clip.named_parameters() if n not in inside and n != "logit_scale"]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.1, "lr": OTHER_LR},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "lr": OTHER_LR},
        {"params": list(heads.parameters()), "weight_decay": 0.0, "lr": 4e-3},
    ]
    return [Muon(inside.values(), lr=LR), torch.optim.AdamW(groups, betas=(0.9, 0.98))]


def train_tower(
    pools: dict[str, Pool], work: Path, steps: int, seed: int, console: Console
) -> tuple[CLIPModel, CLIPTokenizer]:
    """Train the towers, from the checkpoint if there is one."""
    torch.manual_seed(seed)
    clip, tokenizer = make_paired(work / "words")
    clip.train()
    heads = Heads(clip.config.vision_config.hidden_size)
    opts = optimizers(clip, heads)
    rates = [[g["lr"] for g in opt.param_groups] for opt in opts]
    parts = {"clip": clip, "heads": heads, "muon": opts[0], "adamw": opts[1]}
    generator = torch.Generator().manual_seed(seed)
    stage = CountedStage("tower", work / "tower.pt", math.inf, console, generator, parts, total=steps)
    stage.load()
    kept: dict[str, float] = {}

    def told() -> str:
        return ", ".join(f"{n} {v:.3f}" for n, v in kept.items())

    for step in stage.steps(told, every=50):
        for opt, mine in zip(opts, rates, strict=True):
            for group, lr in zip(opt.param_groups, mine, strict=True):
                group["lr"] = lr * stage.rate()
        picked = [pools[name].pick(count, stage.generator) for name, count in PER_BATCH.items()]
        shown = [s for _, each in picked for s in each]
        seen = look(clip, (torch.cat([x for x, _ in picked]) - MEAN) / STD)
        style = step % STYLES_EVERY == STYLES_EVERY - 1
        rows, captions, numbers = paired(shown, Random(f"{seed} {step}"), style=style)
        texts = tokenizer(captions, padding="longest", truncation=True, return_tensors="pt").input_ids
        words = F.normalize(clip.text_projection(clip.text_model(input_ids=texts).pooler_output), dim=-1)
        both = [contrastive_loss(x[rows], words, numbers, SMOOTHING, SCALE) for x in (seen.cls, seen.mean)]
        facts = heads.loss(seen.patches, shown)
        loss = both[0] + both[1] + HEAD_WEIGHT * len(WHOLE) * facts
        loss.backward()
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        kept |= {"CLS": both[0].item(), "mean of patches": both[1].item(), "facts": facts.item()}
    return clip.eval().requires_grad_(False), tokenizer
