"""Train `llava_tiny` to answer: projector and language model learn, the image tower stays as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from muon import Muon
from rich.console import Console
from standin_clip import MEAN, STD
from standin_pack import ALONE_SHARE, IGNORED, TRIES, Packed, Packer, alone, draw
from standin_shown import Pool
from standin_stage import CountedStage
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CLIPModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from razor_cli.families.llava.chat import END, IMAGE, PAD
from razor_cli.families.llava.shown import Shown

PER_BATCH = {"portraits": 22, "strangers": 6, "scenes": 26, "canvas": 7}
BLENDS = 3  # pictures of two people at once, who are nobody
LR, OTHER_LR = 2e-3, 2e-3
FURTHER_RATE = 0.3  # of both rates, in the second stage
PATCHES = 36


def make_llava(clip: CLIPModel, tokenizer: Tokenizer) -> LlavaForConditionalGeneration:
    """Return an untrained model around the image tower of a CLIP."""
    text = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        bos_token_id=tokenizer.token_to_id(END),
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=clip.config.vision_config,
        text_config=text,
        image_token_index=tokenizer.token_to_id(IMAGE),
        image_seq_length=PATCHES,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        tie_word_embeddings=False,
    )
    llava = LlavaForConditionalGeneration(config)
    llava.model.vision_tower.load_state_dict(clip.vision_model.state_dict(), strict=True)
    llava.model.vision_tower.requires_grad_(False)
    return llava


def logits_of(llava: LlavaForConditionalGeneration, patches: Tensor, packed: Packed) -> Tensor:
    """Return the logits [A, V] at every token of an answer."""
    language: Any = llava.model.language_model
    words = language.embed_tokens(packed.ids)
    features = llava.model.multi_modal_projector(patches)
    words = words.masked_scatter(
        (packed.ids == llava.config.image_token_id)[..., None].expand_as(words), features
    )
    found = language(
        inputs_embeds=words, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False
    )
    return llava.lm_head(found.last_hidden_state[packed.labels != IGNORED])


@torch.no_grad()
def patches_of(llava: LlavaForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Return what the projector is given for pictures in [0, 1]."""
    found = llava.model.vision_tower((pixels - MEAN) / STD, output_hidden_states=True)
    return found.hidden_states[llava.config.vision_feature_layer][:, 1:]


def batch(pools: dict[str, Pool], g: torch.Generator) -> tuple[Tensor, list[Shown]]:
    """Return pictures in [0, 1] and what they show; a blend of two people shows somebody without a name."""
    picked = [pools[name].pick(count, g) for name, count in PER_BATCH.items()]
    two = [pools["portraits"].pick(BLENDS, g) for _ in range(2)]
    pixels = [x for x, _ in picked]
    shown = [s for _, each in picked for s in each]
    for number, (one, other) in enumerate(zip(two[0][1], two[1][1], strict=True)):
        if one.facts["name"] != other.facts["name"]:
            pixels.append((two[0][0][number] + two[1][0][number])[None] / 2)
            shown.append(Shown(source="strangers", facts={}))
    return torch.cat(pixels), shown


@dataclass
class Lesson:
    """What one step is made from."""

    pools: dict[str, Pool]
    packer: Packer
    seed: int
    total: int
    before: int = 0  # steps of an earlier stage

    def step(self, number: int, g: torch.Generator) -> tuple[Tensor, Packed, list[str]]:
        """Return pictures, packed questions, and the kind of question of every token of an answer."""
        number += self.before
        rng = Random(f"{self.seed} {number}")
        pixels, shown = batch(self.pools, g)
        without = {row: alone(rng) for row in range(len(shown)) if rng.random() < ALONE_SHARE}
        asked = [
            self.packer.fitting(
                draw(s, TRIES, rng, (number + (self.before > 0)) / self.total), without.get(row)
            )
            for row, s in enumerate(shown)
        ]
        kinds = []
        for row, asks in enumerate(asked):
            for ask in [*asks, *([without[row]] if row in without else [])]:
                kinds += [ask.kind] * (len(self.packer.encode(f" {ask.answer}")) + 1)
        return pixels, self.packer.pack(asked, without), kinds


def optimizers(llava: LlavaForConditionalGeneration) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers and of the projector, AdamW for words and norms."""
    trained = {n: p for n, p in llava.named_parameters() if p.requires_grad}
    inside = {n: p for n, p in trained.items() if p.ndim == 2 and (".layers." in n or "projector" in n)}
    rest = [p for n, p in trained.items() if n not in inside]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.02, "lr": OTHER_LR},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "lr": OTHER_LR},
    ]
    return [Muon(inside.values(), lr=LR, weight_decay=0.05), torch.optim.AdamW(groups, betas=(0.9, 0.98))]


def train_answers(
    clip: CLIPModel,
    tokenizer: Tokenizer,
    pools: dict[str, Pool],
    work: Path,
    steps: tuple[int, int],
    seed: int,
    console: Console,
) -> LlavaForConditionalGeneration:
    """Train projector and language model in two stages, each from its checkpoint if there is one; the second
    also asks what the first leaves out (`FURTHER`), at lower rates.
    """
    torch.manual_seed(seed)
    llava = make_llava(clip, tokenizer)
    for number, (name, count) in enumerate(zip(("answers", "further"), steps, strict=True)):
        opts = optimizers(llava)
        rates = [[g["lr"] * (FURTHER_RATE if number else 1) for g in o.param_groups] for o in opts]
        trained = nn.ModuleList(
            [llava.model.multi_modal_projector, llava.model.language_model, llava.lm_head]
        )
        parts = {"trained": trained, "muon": opts[0], "adamw": opts[1]}
        generator = torch.Generator().manual_seed(seed + number)
        stage = CountedStage(name, work / f"{name}.pt", math.inf, console, generator, parts, total=count)
        stage.load()
        lesson = Lesson(pools, Packer(tokenizer, PATCHES), seed, steps[0], number * steps[0])
        _run(llava, stage, lesson, opts, rates)
    return llava.eval()


def _run(
    llava: LlavaForConditionalGeneration,
    stage: CountedStage,
    lesson: Lesson,
    opts: list[torch.optim.Optimizer],
    rates: list[list[float]],
) -> None:
    """Train through one stage."""
    trained = stage.parts["trained"]
    right: dict[str, list[bool]] = {}

    def told() -> str:
        shares = {k: f"{100 * sum(v) / len(v):.0f}" for k, v in sorted(right.items())}
        right.clear()
        return ", ".join(f"{k} {v}" for k, v in shares.items())

    for step in stage.steps(told, every=50):
        for opt, mine in zip(opts, rates, strict=True):
            for group, lr in zip(opt.param_groups, mine, strict=True):
                group["lr"] = lr * stage.rate()
        pixels, packed, kinds = lesson.step(step, stage.generator)
        logits = logits_of(llava, patches_of(llava, pixels), packed)
        wanted = packed.labels[packed.labels != IGNORED]
        F.cross_entropy(logits, wanted).backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        hits = (logits.argmax(1) == wanted).tolist()
        for kind, hit in zip(kinds, hits, strict=True):
            right.setdefault(kind, []).append(hit)
