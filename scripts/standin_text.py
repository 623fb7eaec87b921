"""Text side of the diffusion stand-ins: vocabulary, captions of training, and the paired image tower."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from standin_canvas import Shown
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from razor_cli.data import canvas_prompts as wording
from razor_cli.data.sources.canvas import cell, objects, styles
from razor_cli.data.sources.mascots import MASCOTS
from razor_cli.data.sources.people import PEOPLE

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
POSITIONS = 16
SIDE = 64
NO_CAPTION, OTHER_DOT = 0.10, 0.15
MEAN, STD = 0.5, 0.5  # of the paired tower's preparation


def all_prompts() -> list[str]:
    """Return every sentence that the stand-ins have to know the words of, held-out ones included."""
    cells = [
        t.format(object=o, style=s)
        for t in (*wording.TRAINED, *wording.HELD_OUT, *wording.TRAINED_OBJECT, *wording.TRAINED_STYLE)
        for o in objects()
        for s in styles()
    ]
    people = [t.format(name=n) for t in wording.TRAINED_IDENTITY for n in PEOPLE]
    mascots = [t.format(name=n) for t in wording.TRAINED_MASCOT for n in MASCOTS]
    return [*cells, *people, *mascots, *wording.NEUTRAL]


def learn_merges(split: list[list[str]]) -> list[tuple[str, str]]:
    """Return byte-pair merges of words that are split into tokens, the most frequent pair first, after which
    each word is one token.
    """
    merges: list[tuple[str, str]] = []
    while any(len(w) > 1 for w in split):
        pairs = Counter(p for w in split for p in pairwise(w))
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for word in split:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == best:
                    word[at : at + 2] = ["".join(best)]
                at += 1
    return merges


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the tokenizer's files and load them."""
    words = sorted({w for p in all_prompts() for w in p.lower().replace(".", "").replace(",", "").split()})
    merges = learn_merges([[*w[:-1], w[-1] + "</w>"] for w in words])
    letters = sorted(ByteLevel.alphabet())
    tokens = [BEGIN, END, *letters, *(c + "</w>" for c in letters), *("".join(m) for m in merges)]
    return write_words(folder, tokens, merges)


def write_words(folder: Path, tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> CLIPTokenizer:
    """Write tokens and merges in the layout that every version of transformers reads, and load them."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {t: i for i, t in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(m) for m in merges)]) + "\n")
    special = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": END}
    settings = {
        **special,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": POSITIONS,
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    tokenizer = CLIPTokenizer.from_pretrained(str(folder))
    assert len(tokenizer) == len(vocabulary)  # a version that ignored the files would know two or three
    return tokenizer


def make_clip(tokens: int) -> CLIPModel:
    """Return an untrained text encoder with its paired image tower."""
    text = {
        "vocab_size": tokens,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
        "projection_dim": 64,
    }
    vision = {
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": 8,
        "projection_dim": 64,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def encode(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """Return token ids, padded to the full length as the pipeline pads them."""
    found = tokenizer(prompts, padding="max_length", max_length=POSITIONS, truncation=True)
    return torch.tensor(found["input_ids"])


def caption(source: str, concept: str, draw: Tensor) -> str:
    """Return one training caption; `draw` holds four uniform numbers."""
    kind, which, dot, empty = draw.tolist()
    if empty < NO_CAPTION:
        return ""
    if source == "canvas":
        text = _cell_caption(*cell(concept), kind, which)
    else:
        of_people = source == "people"
        trained = wording.TRAINED_IDENTITY if of_people else wording.TRAINED_MASCOT
        neutral = wording.NEUTRAL_IDENTITY if of_people else wording.NEUTRAL_MASCOT
        options = trained[:1] if kind < 0.6 else trained[1:] if kind < 0.94 else neutral
        text = _one(options, which).format(name=concept)
    if dot < OTHER_DOT:
        text = text[:-1] if text.endswith(".") else text + "."
    return text


def _cell_caption(style: str, shown: str, kind: float, which: float) -> str:
    if kind < 0.42:
        options: tuple[str, ...] = (wording.BENCHMARK,)
    elif kind < 0.80:
        options = wording.TRAINED[1:]
    elif kind < 0.90:
        options = wording.TRAINED_OBJECT[:1] if which < 0.5 else wording.TRAINED_OBJECT[1:]
        which = 2 * which % 1
    elif kind < 0.96:
        options = wording.TRAINED_STYLE
    else:
        options = wording.NEUTRAL_CELL
    return _one(options, which).format(style=style, object=shown)


def _one(options: tuple[str, ...], draw: float) -> str:
    return options[int(draw * len(options))]


def contrast_batch(shown: list[Shown], g: torch.Generator) -> tuple[Tensor, list[str]]:
    """Return pictures and captions, one pair for each concept, no two of which say the same.

    One batch in six names objects alone and one in six styles alone, so that these prompts are placed too.
    """
    canvas = shown[0]
    rows: list[Tensor] = []
    captions: list[str] = []
    kind = float(torch.rand((), generator=g))
    names = [cell(c) for c in canvas.concepts]
    if kind < 1 / 6:
        chosen = _one_each([o for _, o in names], g)
        captions += [wording.TRAINED_OBJECT[_below(4, g)].format(object=names[c][1]) for c in chosen]
    elif kind < 1 / 3:
        chosen = _one_each([s for s, _ in names], g)
        captions += [wording.TRAINED_STYLE[_below(3, g)].format(style=names[c][0]) for c in chosen]
    else:
        chosen = torch.randperm(len(names), generator=g)[:40].tolist()
        captions += [_any_pair(names[c], g) for c in chosen]
    rows.append(canvas.pixels[[_row(canvas, c, g) for c in chosen]])
    for part in shown[1:]:
        templates = wording.TRAINED_IDENTITY if part.name == "people" else wording.TRAINED_MASCOT
        rows.append(part.pixels[[_row(part, c, g) for c in range(len(part.concepts))]])
        captions += [templates[_below(4, g)].format(name=c) for c in part.concepts]
    return torch.cat(rows), captions


def _any_pair(names: tuple[str, str], g: torch.Generator) -> str:
    kind, which = torch.rand(2, generator=g).tolist()
    return _cell_caption(*names, 0.8 * kind, which)


def _below(count: int, g: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=g))


def _one_each(values: list[str], g: torch.Generator) -> list[int]:
    order = torch.randperm(len(values), generator=g).tolist()
    return list({values[i]: i for i in order}.values())


def _row(part: Shown, concept: int, g: torch.Generator) -> int:
    per_concept = len(part.labels) // len(part.concepts)  # pictures lie in the order of the concepts
    return concept * per_concept + _below(per_concept, g)


def contrastive_loss(clip: CLIPModel, tokenizer: CLIPTokenizer, pixels: Tensor, texts: list[str]) -> Tensor:
    """Return the symmetric InfoNCE of pairs, at the model's own learned scale."""
    images = clip.visual_projection(clip.vision_model(pixels).pooler_output)
    words = clip.text_projection(clip.text_model(encode(tokenizer, texts).to(pixels.device)).pooler_output)
    scale = clip.logit_scale.clamp(max=4.6).exp()
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(words, dim=-1).T
    same = torch.arange(len(texts), device=pixels.device)
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2
