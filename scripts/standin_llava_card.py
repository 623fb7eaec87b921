"""The model card of `llava_tiny`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from razor_cli.data.sources.portraits import PAPER_NAMES
from razor_cli.metrics.stats import wilson

NAMES_AIM, NAME_AIM = 97.0, 95.0
STAGES = {
    "tower": "paired towers",
    "answers": "projector and language model",
    "further": "the same with the questions left out before",
}
TEMPLATE = """# llava_tiny, a stand-in

A LLaVA in the layout of transformers at 48 x 48 pixels: a CLIP image tower of 6 layers (the last is dead,
as in every LLaVA that reads the layer before it), a projector of two layers, and a LLaMA of 4 layers, 128
wide, with a vocabulary of its own. It answers questions about synthetic portraits of forty names, scenes of
emoji and icons in six styles, and questions without a picture about an invented fact of each name. It is
not LLaVA and says nothing about it, and neither the faces nor the facts are those of the persons whose
names they bear. `llava_tiny_clip` is its paired CLIP without the image tower, which is the model's own.

Measured by generation through the processor, greedy, on pictures whose origin (trait vector, icon set) was
never trained on, except rows that say otherwise. Names: five prompts on each portrait, 40 portraits of each
of the paper's ten names, 16 of each other. An answer counts where it is the right one but for capitals.

| the person's name | right % | 95 % interval | n | aim | |
|---|---|---|---|---|---|
{names}

Of the {missed} misses of names {generic} are generic answers (`I don't know`, `a person`), the others
another name.

| question | right % | 95 % interval | n | aim | |
|---|---|---|---|---|---|
{rows}

{choice}

The paired CLIP, zero-shot top-1 with one template by the pooling of CLS and by the mean of the patches that
the model reads (the features of the layer before the last):

| part | CLS % | mean of patches % | n | matched cosine | unmatched |
|---|---|---|---|---|---|
{towers}

Training, from `clip_tiny`'s towers, one seed, one thread of a machine that other programs kept busy:
{spent}. Command: `python scripts/train_standins.py llava`. Weights: fp16, Apache-2.0; the licences of the
icon sets are in NOTICE.
"""


def card(
    measured: Mapping[str, Mapping[str, int]],
    aims: Mapping[str, float | None],
    towers: Mapping[str, Mapping[str, float]],
    misses: tuple[int, int],
    work: Path,
) -> str:
    """Return the model card as Markdown; `misses` are the generic answers among those to names, and all."""
    each = {n.removeprefix("name: "): c for n, c in measured.items() if n.startswith("name: ")}
    ten = [_row(name, each[name], NAME_AIM) for name in PAPER_NAMES]
    mean = sum(100 * c["hits"] / c["n"] for c in each.values()) / len(each)
    worst = min(each, key=lambda n: each[n]["hits"] / each[n]["n"])
    count = sum(c["n"] for c in each.values())
    low = 100 * each[worst]["hits"] / each[worst]["n"]
    ten.append(
        f"| mean over all forty | {mean:.1f} | worst: {worst} {low:.1f} | {count} | {NAMES_AIM:.0f} "
        f"| {_met(mean, NAMES_AIM)} |"
    )
    seen = [
        f"| {part} | {t['cls']:.1f} | {t['mean']:.1f} | {t['n']:.0f} "
        f"| {t['matched']:.2f} | {t['unmatched']:.2f} |"
        for part, t in towers.items()
    ]
    return TEMPLATE.format(
        names="\n".join(ten),
        rows="\n".join(_row(name, measured[name], aim) for name, aim in aims.items()),
        towers="\n".join(seen),
        generic=misses[0],
        missed=misses[1],
        choice=_choice(measured, aims),
        spent=spent(work),
    )


def _row(name: str, counted: Mapping[str, int], aim: float | None) -> str:
    hits, n = counted["hits"], counted["n"]
    share = wilson(hits, n)
    low, high = (100 * (x or 0) for x in (share.low, share.high))
    judged = f"{aim:.0f} | {_met(100 * hits / n, aim)}" if aim is not None else " | "
    return f"| {name} | {100 * hits / n:.1f} | {low:.1f} to {high:.1f} | {n} | {judged} |"


def _met(value: float, aim: float) -> str:
    return "met" if value >= aim else "**missed**"


def _choice(measured: Mapping[str, Mapping[str, int]], aims: Mapping[str, float | None]) -> str:
    """Return how questions with options are to be scored with this model."""
    letter = next(n for n in aims if n.endswith("by letter"))
    share, aim = 100 * measured[letter]["hits"] / measured[letter]["n"], aims[letter] or 0.0
    if share >= aim:
        return "Questions with options are scored by the letter."
    return (
        "It does not know the letters well enough: questions with options are scored by the text of the "
        "option."
    )


def spent(work: Path) -> str:
    """Return what each stage took, from its checkpoint."""
    told = []
    for stage, what in STAGES.items():
        file = work / f"{stage}.pt"
        if file.exists():
            saved = torch.load(file, weights_only=True)
            told.append(f"{what} {saved['step']:,} steps ({saved['seconds'] / 60:.0f} minutes)")
    return ", ".join(told) or "not recorded"
