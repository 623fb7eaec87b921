"""Training of the embedded stand-in `siglip_tiny`: a SigLIP of transformers in small, on the pictures of
`clip_tiny`, with the sigmoid loss.

    python scripts/train_standins.py siglip --cifar DIR [--steps N] [--seed N] [--out DIR] [--work DIR]

The blocks of both towers begin as those of `clip_tiny`; the pooling head, the vocabulary and the padded,
uncausal text tower are new. Killed runs go on from their last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from muon import Muon
from rich.console import Console
from safetensors.torch import save_file
from standin_clip import MEAN, SCALE, STD, load_domains, make_batch, seed_everything
from standin_siglip_start import begin, side_of, siglip_of
from standin_siglip_words import write_tokenizer
from torch import Tensor
from transformers import SiglipImageProcessor, SiglipModel

from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sources.cifar10 import Cifar10
from razor_cli.data.sources.emoji import Emoji
from razor_cli.data.sources.portraits import Portraits

NAME, CHECKPOINT_EVERY, SAID_EVERY = "siglip_tiny", 25, 25
BIAS = -10.0  # as Zhai et al. begin: nearly every pair of a batch is not one
HOME = Path(__file__).parents[1] / "src/razor_cli/families/clip/standins"


def sigmoid_loss(images: Tensor, texts: Tensor, numbers: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return the sigmoid loss (Zhai et al. 2023, algorithm 1) of images [n, d] and distinct captions [k, d],
    summed over captions, averaged over images; `numbers` [n] is the caption of each.
    """
    logits = scale * images @ texts.T + bias
    signs = 2 * F.one_hot(numbers, len(texts)).to(logits) - 1
    return -F.logsigmoid(signs * logits).sum() / len(images)


def optimizers(model: SiglipModel, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for all else; scale and bias are not decayed."""
    named = dict(model.named_parameters())
    inside = {n: p for n, p in named.items() if p.ndim == 2 and (".layers." in n or ".head." in n)}
    rest = [p for n, p in named.items() if n not in inside]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [Muon(inside.values(), lr=lr), torch.optim.AdamW(groups, lr=0.75 * lr, betas=(0.9, 0.98))]


def encode(model: SiglipModel, tokenizer: Any, pixels: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Return normalised embeddings of pictures and of texts, padded to the context."""
    found = (model.get_image_features(pixel_values=pixels), encoded(model, tokenizer, captions))
    return F.normalize(found[0].pooler_output, dim=-1), found[1]


def encoded(model: SiglipModel, tokenizer: Any, captions: list[str]) -> Tensor:
    """Return normalised embeddings of texts."""
    length = model.config.text_config.max_position_embeddings
    ids = tokenizer(captions, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return F.normalize(model.get_text_features(input_ids=ids["input_ids"]).pooler_output, dim=-1)


def train(args: argparse.Namespace, console: Console) -> tuple[SiglipModel, Any, float]:
    """Train, or go on from the checkpoint, and return the model, its tokenizer and the CPU seconds spent."""
    torch.set_num_threads(args.threads)
    generator = seed_everything(args.seed)
    tokenizer = write_tokenizer(args.out)
    model = siglip_of(len(tokenizer))
    domains = load_domains(args.cifar, None)
    sample = make_batch(domains, side_of(model), torch.Generator().manual_seed(args.seed))[0]
    begin(model, tokenizer, (sample * STD + MEAN - 0.5) / 0.5, SCALE, BIAS)
    opts, checkpoint, first, before = optimizers(model, args.lr), args.work / "checkpoint.pt", 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for opt, state in zip(opts, saved["opts"], strict=True):
            opt.load_state_dict(state)
        generator.set_state(saved["rng"])
        first, before = saved["step"], saved["seconds"]
        console.print(f"going on from step {first}")
    start, model = time.process_time(), model.train()
    for step in range(first, args.steps):
        factor = min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for opt, base in zip(opts, (args.lr, 0.75 * args.lr), strict=True):
            for group in opt.param_groups:
                group["lr"] = base * factor
        pixels, captions, numbers = make_batch(domains, side_of(model), generator)
        images, texts = encode(model, tokenizer, (pixels * STD + MEAN - 0.5) / 0.5, captions)
        loss = sigmoid_loss(images, texts, numbers, model.logit_scale.exp(), model.logit_bias)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        if (step + 1) % SAID_EVERY == 0 or step + 1 == args.steps:
            right = (images @ texts.T).argmax(1).eq(numbers).float().mean()
            console.print(
                f"step {step + 1}: loss {loss.item():.3f}, right {100 * right:.0f} %, scale "
                f"{model.logit_scale.exp().item():.1f}, bias {model.logit_bias.item():.2f}, "
                f"{before + time.process_time() - start:.0f} s of CPU"
            )
        if (step + 1) % CHECKPOINT_EVERY == 0:
            state = {
                "model": model.state_dict(),
                "opts": [o.state_dict() for o in opts],
                "rng": generator.get_state(),
                "step": step + 1,
                "seconds": before + time.process_time() - start,
            }
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
    return model.eval(), tokenizer, before + time.process_time() - start


@torch.no_grad()
def accuracy(model: SiglipModel, tokenizer: Any, source: Any, split: str, limit: int) -> dict[str, float]:
    """Return zero-shot top-1 over the source's concepts with n, the mean matched and unmatched cosine, and
    the share of pictures whose own prompt has a probability above a half.
    """
    processor, names = processor_of(model), source.concepts()
    heads = encoded(
        model,
        tokenizer,
        [DOMAINS[source.domain].zero_shot[0].format(spoken(c, source.domain)) for c in names],
    )
    hits, matched, unmatched, sure = [], [], [], []
    for number, name in enumerate(names):
        images = source.load(source.pictures(name, split)[:limit])
        pixels = processor(images=images, return_tensors="pt")["pixel_values"]
        found = F.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
        cosines = found @ heads.T
        hits += (cosines.argmax(1) == number).tolist()
        sure += (cosines[:, number] * model.logit_scale.exp() + model.logit_bias > 0).tolist()
        matched.append(cosines[:, number].mean().item())
        unmatched.append((cosines.sum(1) - cosines[:, number]).mean().item() / (len(names) - 1))
    return {
        "top1": 100 * float(np.mean(hits)),
        "n": len(hits),
        "matched": float(np.mean(matched)),
        "unmatched": float(np.mean(unmatched)),
        "sure": 100 * float(np.mean(sure)),
    }


def processor_of(model: SiglipModel) -> SiglipImageProcessor:
    """Return how pictures enter the model: squashed to its square, mean and deviation a half."""
    side = side_of(model)
    return SiglipImageProcessor(size={"height": side, "width": side}, resample=3)


def measure(model: SiglipModel, tokenizer: Any, cifar: Path) -> dict[str, dict[str, float]]:
    """Return accuracy and cosines per part, on pictures whose source was never trained on, unless the name
    says so.
    """
    return {
        "identity": accuracy(model, tokenizer, Portraits(), "evaluation", 30),
        "CIFAR-10": accuracy(model, tokenizer, Cifar10(cifar), "evaluation", 100),
        "emoji, new views of trained icons": accuracy(model, tokenizer, Emoji(), "seen", 12),
        "emoji, icon set never trained": accuracy(model, tokenizer, Emoji(), "evaluation", 12),
    }


def card(report: dict[str, dict[str, float]], args: argparse.Namespace, model: Any, seconds: float) -> str:
    """Return the model card as Markdown."""
    rows = [
        f"| {part} | {r['top1']:.1f} | {r['n']} | {r['matched']:.2f} | {r['unmatched']:.2f} "
        f"| {r['sure']:.1f} |"
        for part, r in report.items()
    ]
    return TEMPLATE.format(
        count=sum(p.numel() for p in model.parameters()) / 1e6,
        steps=args.steps,
        seed=args.seed,
        threads=args.threads,
        minutes=seconds / 60,
        lr=args.lr,
        scale=model.logit_scale.exp().item(),
        bias=model.logit_bias.item(),
        start=SCALE,
        first=BIAS,
        rows="\n".join(rows),
    )


TEMPLATE = """# siglip_tiny, a stand-in

A SigLIP of transformers with {count:.2f} M parameters, trained on synthetic portraits of forty names, emoji
of a hundred concepts in six icon sets, and 45,000 CIFAR-10 photographs: the pictures of clip_tiny. It is not
a real SigLIP and says nothing about one.

It does not begin from nothing: the blocks of both towers are those of clip_tiny, so the two share much of
what they see. New are the pooling head, the vocabulary of byte pairs in the manner of Gemma, texts padded to
sixteen tokens in a tower that is not causal, and pictures without a class token.

Training: {steps} steps of 128 pictures, seed {seed}, {threads} thread(s), {minutes:.0f} minutes of CPU; the
sigmoid loss of Zhai et al. (2023) over all pictures and distinct captions of a batch. Its scale began at
{start:.0f} and ends at {scale:.1f}, its bias at {first:.0f} and {bias:.1f}; both are learned. Muon on block
matrices, AdamW on the rest, lr {lr}. Generic prompts (`a photo of a person.`, `an emoji of an object.`,
`a photo of an object.`) are trained.

Zero-shot top-1 with one template, on pictures whose source (trait vector, icon, photograph) was never
trained on, except the row that says otherwise; *sure* are pictures whose own prompt has a probability above
a half:

| part | top-1 % | n | matched cosine | unmatched | sure % |
|---|---|---|---|---|---|
{rows}

Command: `python scripts/train_standins.py siglip --cifar DIR`. Weights: fp16, Apache-2.0; the licences of the
icon sets are in NOTICE.
"""


def main(words: list[str]) -> None:
    """Parse the command line, train, measure, write."""
    parser = argparse.ArgumentParser(
        prog="train_standins.py siglip",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cifar", type=Path, required=True, help="folder with CIFAR-10")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=HOME / NAME)
    parser.add_argument("--work", type=Path, help="folder of the checkpoint (default: --out)")
    args = parser.parse_args(words)
    args.work = args.work or args.out
    for folder in (args.out, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    model, tokenizer, seconds = train(args, console)
    weights = {n: p.detach().half().contiguous() for n, p in model.named_parameters()}
    save_file(weights, args.out / f"{NAME}.safetensors")
    model.load_state_dict({n: w.float() for n, w in weights.items()}, strict=False)  # measured is what ships
    (args.out / "config.json").write_text(json.dumps(model.config.to_diff_dict(), indent=2) + "\n")
    processor_of(model).save_pretrained(args.out)
    text = card(measure(model, tokenizer, args.cifar), args, model, seconds)
    (args.out / "MODEL_CARD.md").write_text(text)
    (args.work / "checkpoint.pt").unlink(missing_ok=True)
    console.print(text)
