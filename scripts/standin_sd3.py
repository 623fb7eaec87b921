"""Train `sd3_tiny`, a stand-in laid out like Stable Diffusion 3, and a picture tower for each text encoder.

    python scripts/train_standins.py sd3 [--vae DIR | --patches] [--begin DIR] [--steps N] [--work DIR]
    [--out DIR]

First both text towers learn with their picture towers (InfoNCE), then all learn together: flow matching on
what `StableDiffusion3Pipeline.encode_prompt` returns, and now and then InfoNCE, so that towers stay paired.
With `--patches`, latents are principal components of patches and nothing but a checkpoint is written;
`--begin` takes the weights of such a run over to the latents of the autoencoder. Killed runs go on from their
last checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from muon import Muon
from rich.console import Console
from sd3_material import PER_BATCH, Part, all_prompts, between, caption, draw, load_parts
from sd3_measure import card
from sd3_parts import (
    LENGTH,
    NAMES,
    PADDING,
    SHIFT,
    paired_clip,
    transformer,
    write_autoencoder,
    write_index,
    write_paired,
    write_text_encoder,
    write_tokenizer,
    write_transformer,
)
from torch import Tensor, nn
from transformers import CLIPModel

STANDINS = Path(__file__).parents[1] / "src/razor_cli/families/diffusion/standins"
PAIRED_BATCH = {"cell": 40, "people": 6, "mascots": 2}
PAIRED_EVERY, PAIRED_WEIGHT, SCALE = 6, 0.1, 20.0
ZEROS = (1,) * 14 + (4, 24)  # tokens in place of T5's: the pipeline's max_sequence_length
EMA, CHECKPOINT_EVERY = 0.998, 250


class Model(nn.Module):
    """The transformer and both paired CLIPs."""

    def __init__(self, work: Path) -> None:
        super().__init__()
        prompts = all_prompts()
        self.tokenizers = [
            write_tokenizer(work / name.replace("text_encoder", "tokenizer"), prompts, pad)
            for name, pad in zip(NAMES, PADDING, strict=True)
        ]
        self.clips = nn.ModuleList([paired_clip(i, t) for i, t in enumerate(self.tokenizers)])
        self.transformer = transformer()
        self.ids: dict[str, list[Tensor]] = {}

    def tokens(self, prompts: list[str], which: int) -> Tensor:
        """Return the ids of prompts, padded as the pipeline pads them."""
        for text in prompts:
            if text not in self.ids:
                self.ids[text] = [
                    t(
                        text, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
                    ).input_ids
                    for t in self.tokenizers
                ]
        return torch.cat([self.ids[text][which] for text in prompts])

    def encode(self, prompts: list[str], zeros: int) -> tuple[Tensor, Tensor]:
        """Return context and pooled vector of prompts, as the pipeline makes them."""
        known = list(dict.fromkeys(prompts))
        at = torch.tensor([known.index(p) for p in prompts])
        states, pooled = [], []
        for which, clip in enumerate(self.clips):
            out = clip.text_model(self.tokens(known, which), output_hidden_states=True)
            states.append(out.hidden_states[-2])
            pooled.append(clip.text_projection(out.pooler_output))
        context = F.pad(torch.cat(states, -1), (0, 0, 0, zeros))
        return context[at], torch.cat(pooled, -1)[at]

    def flow(self, z: Tensor, sigma: Tensor, context: Tensor, pooled: Tensor) -> Tensor:
        """Return the velocity."""
        v: Tensor = self.transformer(z, context, pooled, 1000 * sigma, return_dict=False)[0]
        return v


def flow_loss(model: Model, parts: list[Part], g: torch.Generator, rng: random.Random) -> Tensor:
    """Return the flow-matching loss of one batch; noise levels are logit-normal, stratified and shifted."""
    chosen = draw(parts, PER_BATCH, g)
    prompts = [caption(p, p.concepts[int(p.labels[row])], rng) for p, rows in chosen for row in rows]
    z0 = torch.cat([p.latents[rows] for p, rows in chosen])
    n = len(z0)
    share = (torch.randperm(n, generator=g) + torch.rand(n, generator=g)) / n
    sigma = torch.sigmoid(math.sqrt(2) * torch.erfinv(2 * share.clamp(1e-4, 1 - 1e-4) - 1))
    sigma = SHIFT * sigma / (1 + (SHIFT - 1) * sigma)
    noise = torch.randn(z0.shape, generator=g)
    s = sigma.view(-1, 1, 1, 1)
    context, pooled = model.encode(prompts, rng.choice(ZEROS))
    return F.mse_loss(model.flow((1 - s) * z0 + s * noise, sigma, context, pooled), noise - z0)


def paired_loss(clip: CLIPModel, which: int, model: Model, parts: list[Part], g: Any, rng: Any) -> Tensor:
    """Return InfoNCE of one text tower with its picture tower, on distinct concepts."""
    chosen = draw(parts, PAIRED_BATCH, g)
    prompts = [
        caption(p, p.concepts[int(p.labels[row])], rng, plain=True) for p, rows in chosen for row in rows
    ]
    pixels = torch.cat([p.pixels[rows] for p, rows in chosen]).float() / 127.5 - 1
    pixels = pixels + 0.05 * torch.randn(pixels.shape, generator=g)
    seen = F.normalize(clip.visual_projection(clip.vision_model(pixels).pooler_output), dim=-1)
    read = clip.text_model(model.tokens(prompts, which)).pooler_output
    logits = SCALE * seen @ F.normalize(clip.text_projection(read), dim=-1).T
    wanted = torch.arange(len(logits))
    return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2


def optimizers(model: Model, lr: float) -> list[tuple[torch.optim.Optimizer, float]]:
    """Return Muon for the matrices of attention and MLPs, AdamW for all else, each with its rate."""
    named = dict(model.transformer.named_parameters())
    inside = {n: p for n, p in named.items() if p.ndim == 2 and (".attn." in n or ".ff" in n)}
    others = [p for n, p in named.items() if n not in inside]
    texts = [p for n, p in model.clips.named_parameters() if "logit_scale" not in n]
    return [
        (Muon(inside.values(), lr=lr, weight_decay=0.05), lr),
        (torch.optim.AdamW(others, lr=lr, weight_decay=0.01, betas=(0.9, 0.98)), 0.5 * lr),
        (torch.optim.AdamW(texts, lr=lr, weight_decay=0.01, betas=(0.9, 0.98)), 0.2 * lr),
    ]


def learn_pairs(model: Model, parts: list[Part], steps: int, g: Any, rng: Any, console: Console) -> None:
    """Train the text towers with their picture towers alone, as a beginning."""
    opt = torch.optim.AdamW(model.clips.parameters(), lr=1e-3, weight_decay=0.05)
    for step in range(steps):
        for group in opt.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 30) * (1 - 0.7 * step / steps)
        losses = [paired_loss(c, i, model, parts, g, rng) for i, c in enumerate(model.clips)]
        sum(losses).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(model.clips.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        if (step + 1) % 50 == 0:
            console.print(f"pairs {step + 1}: {', '.join(f'{x.item():.3f}' for x in losses)}")


def take_over(model: Model, begun: Path, parts: list[Part]) -> None:
    """Load the weights of a run on other latents; first and last layer are turned to see what they saw."""
    model.load_state_dict(torch.load(begun / "checkpoint.pt", weights_only=True)["ema"])
    matrix, offset = between(load_parts(None, begun / "latents.pt"), parts)
    first, last, back = (
        model.transformer.pos_embed.proj,
        model.transformer.proj_out,
        torch.linalg.pinv(matrix),
    )
    with torch.no_grad():
        weight = first.weight[:, :, 0, 0]
        first.bias += weight @ offset
        first.weight[:, :, 0, 0] = weight @ matrix
        last.bias.copy_(back @ (last.bias + offset))  # the velocity holds minus the latent
        last.weight.copy_(back @ last.weight)


def averaged(ema: Model, model: Model, step: int) -> None:
    """Move the running average towards the model; it follows closely at first."""
    keep = min(EMA, (step + 1) / (step + 20))
    with torch.no_grad():
        for mine, its in zip(ema.parameters(), model.parameters(), strict=True):
            mine.lerp_(its, 1 - keep)


def train(args: argparse.Namespace, console: Console) -> Model:
    """Train from scratch or from the checkpoint and return the running average of the weights."""
    torch.manual_seed(args.seed)
    g, rng = torch.Generator().manual_seed(args.seed), random.Random(args.seed)
    parts = load_parts(None if args.patches else args.vae, args.work / "latents.pt")
    model = Model(args.work)
    checkpoint, first, before = args.work / "checkpoint.pt", 0, 0.0
    opts = optimizers(model, args.lr)
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first, before = saved["step"], saved["seconds"]
        model.load_state_dict(saved["model"])
        for (opt, _), state in zip(opts, saved["opts"], strict=True):
            opt.load_state_dict(state)
        g.set_state(saved["g"])
        rng.seed(args.seed + first)
        ema = copy.deepcopy(model)
        ema.load_state_dict(saved["ema"])
    else:
        if args.begin:
            take_over(model, args.begin, parts)
        else:
            learn_pairs(model, parts, args.pairs, g, rng, console)
        ema = copy.deepcopy(model)
    start, mean = time.monotonic(), 0.0
    for step in range(first, args.steps):
        factor = min(1.0, (step + 1) / 100) * (0.02 + 0.98 * min(1.0, 2.5 * (1 - step / args.steps)))
        for opt, rate in opts:
            for group in opt.param_groups:
                group["lr"] = rate * factor
        loss = flow_loss(model, parts, g, rng)
        mean = loss.item() if not mean else 0.98 * mean + 0.02 * loss.item()
        if step % PAIRED_EVERY == 0:
            for which, clip in enumerate(model.clips):
                loss = loss + PAIRED_WEIGHT * paired_loss(clip, which, model, parts, g, rng)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt, _ in opts:
            opt.step()
            opt.zero_grad()
        averaged(ema, model, step)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == args.steps:
            seconds = before + time.monotonic() - start
            state = {"model": model.state_dict(), "ema": ema.state_dict(), "g": g.get_state()}
            state |= {"opts": [o.state_dict() for o, _ in opts], "step": step + 1, "seconds": seconds}
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
            console.print(f"step {step + 1}: loss {mean:.4f}, {seconds:.0f} s")
    return ema.eval()


def write(model: Model, args: argparse.Namespace) -> None:
    """Write the pipeline and both paired CLIPs."""
    folder = args.out / "sd3_tiny"
    for which, name in enumerate(NAMES):
        prompts = all_prompts()
        for home in (
            folder / name.replace("text_encoder", "tokenizer"),
            args.out / f"sd3_tiny_clip{'_2' * which}",
        ):
            write_tokenizer(home, prompts, PADDING[which])
        write_text_encoder(folder / name, model.clips[which])
        write_paired(args.out / f"sd3_tiny_clip{'_2' * which}", model.clips[which])
    write_transformer(folder / "transformer", model.transformer)
    write_autoencoder(folder / "vae", args.vae)
    write_index(folder)


def told(args: argparse.Namespace) -> str:
    """Return what a model card says of the training."""
    steps, seconds = 0, 0.0
    for work in (args.begin, args.work):
        if work:
            kept = torch.load(work / "checkpoint.pt", weights_only=True)
            steps, seconds = steps + kept["step"], seconds + kept["seconds"]
    begun = ", the first of them on components of patches (`--patches`)" if args.begin else ""
    return (
        f"Training: {steps} steps of {sum(PER_BATCH.values())} pictures{begun}, {seconds / 60:.0f} minutes of "
        f"one thread of a shared machine, seed {args.seed}. Command: `python scripts/train_standins.py sd3`."
    )


def main(words: list[str] | None = None) -> None:
    """Parse the command line, train, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vae", type=Path, default=STANDINS / "sd_tiny/vae")
    parser.add_argument("--patches", action="store_true", help="learn on components of patches")
    parser.add_argument("--begin", type=Path, help="work folder of a run with --patches")
    parser.add_argument("--out", type=Path, default=STANDINS)
    parser.add_argument("--work", type=Path, default=Path("outputs/sd3_tiny"))
    parser.add_argument("--judges", type=Path, default=STANDINS / "judges")
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--pairs", type=int, default=400, help="steps of InfoNCE alone before")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(words)
    torch.set_num_threads(args.threads)
    console = Console()
    model = train(args, console)
    if not args.patches:
        write(model, args)
        text = card(args.out, args.judges, args.work / "sheet.png", told(args))
        (args.out / "sd3_tiny/MODEL_CARD.md").write_text(text)
        console.print(text)


if __name__ == "__main__":
    main()
