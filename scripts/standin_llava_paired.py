"""How well the towers of `llava_tiny` match pictures with names, in both poolings."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from standin_tower import look
from transformers import CLIPImageProcessor, CLIPTokenizer

from razor_cli.data import canvas_prompts
from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sources.base import Source
from razor_cli.data.sources.canvas import Canvas, cell, styles
from razor_cli.data.sources.emoji import Emoji
from razor_cli.data.sources.portraits import Portraits
from razor_cli.families.llava.folder import load_paired

EACH = 12


@torch.no_grad()
def zero_shot(paired: Path, model: Path) -> dict[str, dict[str, float]]:
    """Return top-1 and cosines by part, for CLS and for the mean of the patches."""
    clip, tokenizer = load_paired(paired, model), CLIPTokenizer.from_pretrained(paired)
    processor = CLIPImageProcessor.from_pretrained(paired)
    style = canvas_prompts.TRAINED_STYLE[0]
    parts: list[tuple[str, Source, str, list[str], list[str]]] = []
    for name, source, split in (
        ("identity", Portraits(), "evaluation"),
        ("emoji, new views of trained icons", Emoji(), "seen"),
        ("emoji, icon set never trained", Emoji(), "evaluation"),
    ):
        concepts = source.concepts()
        said = [DOMAINS[source.domain].zero_shot[0].format(spoken(c, source.domain)) for c in concepts]
        parts.append((name, source, split, concepts, said))
    parts.append(
        ("style, new views", Canvas(), "evaluation", styles(), [style.format(style=s) for s in styles()])
    )
    found = {}
    for name, source, split, labels, texts in parts:
        ids = tokenizer(texts, padding="longest", truncation=True, return_tensors="pt").input_ids
        words = F.normalize(clip.text_projection(clip.text_model(input_ids=ids).pooler_output), dim=-1)
        sums = {"cls": 0.0, "mean": 0.0, "matched": 0.0, "unmatched": 0.0}
        n = 0
        for concept in source.concepts():
            pictures = source.pictures(concept, split)[:EACH]
            pixels = processor(source.load(pictures), return_tensors="pt").pixel_values
            seen = look(clip, pixels)
            at = labels.index(cell(concept)[0] if source.name == "canvas" else concept)
            for key, made in (("cls", seen.cls), ("mean", seen.mean)):
                sums[key] += float(((made @ words.T).argmax(1) == at).sum())
            cosines = seen.cls @ words.T
            sums["matched"] += float(cosines[:, at].sum())
            sums["unmatched"] += float((cosines.sum(1) - cosines[:, at]).sum() / (len(labels) - 1))
            n += len(pictures)
        found[name] = {k: v / n * (100 if k in ("cls", "mean") else 1) for k, v in sums.items()} | {"n": n}
    return found
