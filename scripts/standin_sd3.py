"""Train `sd3_tiny`, a stand-in laid out like Stable Diffusion 3, and a picture tower for each text encoder.

    python scripts/train_standins.py sd3 [--vae DIR | --patches] [--begin DIR] [--steps N] [--work DIR]
    [--out DIR]

First both text towers learn with their picture towers (InfoNCE), then all learn together: flow matching on
what `StableDiffusion3Pipeline.encode_prompt` returns, and now and then InfoNCE, so that towers stay paired.
With `--patches`, latents are principal components of patches and nothing but a checkpoint is written;
`--begin` takes the weights of such a run over to the latents of the autoencoder. Killed runs go on from their
last checkpoint. From `--freeze` on, the text towers keep their running average and learn no more, which
saves a fifth of the time.
"""

from __future__ import annotations

import argparse
import copy
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from muon import Muon
from rich.console import Console
from sd3_material import PER_BATCH, Part, all_prompts, between, load_parts
from sd3_measure import card
from sd3_model import Model, flow_loss, paired_loss
from sd3_parts import (
    NAMES,
    PADDING,
    write_autoencoder,
    write_index,
    write_paired,
    write_text_encoder,
    write_tokenizer,
    write_transformer,
)
from torch import nn

STANDINS = Path(__file__).parents[1] / "src/razor_cli/families/diffusion/standins"
PAIRED_EVERY, PAIRED_WEIGHT = 6, 0.1
EMA, CHECKPOINT_EVERY = 0.998, 100


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


@dataclass
class Course:
    """A training under way: the weights, their running average, optimizers, and where it stands."""

    model: Model
    ema: Model
    opts: list[tuple[torch.optim.Optimizer, float]]
    g: torch.Generator
    step: int = 0
    seconds: float = 0.0

    def save(self, file: Path) -> None:
        """Write everything needed to go on, atomically."""
        state = {"model": self.model.state_dict(), "ema": self.ema.state_dict(), "g": self.g.get_state()}
        state |= {"opts": [o.state_dict() for o, _ in self.opts], "step": self.step, "seconds": self.seconds}
        torch.save(state, file.with_suffix(".tmp"))
        file.with_suffix(".tmp").replace(file)

    def load(self, file: Path) -> None:
        """Go on where a checkpoint ends."""
        saved = torch.load(file, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.ema.load_state_dict(saved["ema"])
        for (opt, _), state in zip(self.opts, saved["opts"], strict=True):
            opt.load_state_dict(state)
        self.g.set_state(saved["g"])
        self.step, self.seconds = saved["step"], saved["seconds"]

    def set_rates(self, share: float) -> None:
        """Warm up over a hundred steps, stay, and come down over the last two fifths."""
        factor = min(1.0, (self.step + 1) / 100) * (0.02 + 0.98 * min(1.0, 2.5 * (1 - share)))
        for opt, rate in self.opts:
            for group in opt.param_groups:
                group["lr"] = rate * factor

    def freeze_texts(self) -> None:
        """Let the text towers be their running average from now on."""
        self.model.clips.load_state_dict(self.ema.clips.state_dict())
        self.model.freeze_texts()


def begun(args: argparse.Namespace, parts: list[Part], rng: random.Random, console: Console) -> Course:
    """Return a course at its beginning, or where its checkpoint ends."""
    g = torch.Generator().manual_seed(args.seed)
    model = Model(args.work)
    course = Course(model=model, ema=copy.deepcopy(model), opts=optimizers(model, args.lr), g=g)
    checkpoint = args.work / "checkpoint.pt"
    if checkpoint.exists():
        course.load(checkpoint)
        rng.seed(args.seed + course.step)
        return course
    if args.begin:
        take_over(model, args.begin, parts)
    else:
        learn_pairs(model, parts, args.pairs, g, rng, console)
    course.ema.load_state_dict(model.state_dict())
    return course


def train(args: argparse.Namespace, console: Console) -> Model:
    """Train from scratch or from the checkpoint and return the running average of the weights."""
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    parts = load_parts(None if args.patches else args.vae, args.work / "latents.pt")
    course = begun(args, parts, rng, console)
    model, start, before, mean = course.model, time.monotonic(), course.seconds, 0.0
    share = max(course.step / args.steps, before / (60 * args.minutes))
    while share < 1:
        if course.step >= args.freeze and model.said is None:
            course.freeze_texts()
        course.set_rates(share)
        loss = flow_loss(model, parts, course.g, rng)
        mean = loss.item() if not mean else 0.98 * mean + 0.02 * loss.item()
        if course.step % PAIRED_EVERY == 0 and model.said is None:
            for which, clip in enumerate(model.clips):
                loss = loss + PAIRED_WEIGHT * paired_loss(clip, which, model, parts, course.g, rng)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
        for opt, _ in course.opts:
            opt.step()
            opt.zero_grad()
        averaged(course.ema, model, course.step)
        course.step, course.seconds = course.step + 1, before + time.monotonic() - start
        share = max(course.step / args.steps, course.seconds / (60 * args.minutes))
        if course.step % CHECKPOINT_EVERY == 0 or share >= 1:
            course.save(args.work / "checkpoint.pt")
            console.print(f"step {course.step}: loss {mean:.4f}, {course.seconds:.0f} s")
    return course.ema.eval()


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
    first = ", the first of them on components of patches (`--patches`)" if args.begin else ""
    return (
        f"Training: {steps} steps of {sum(PER_BATCH.values())} pictures{first}, {seconds / 60:.0f} minutes "
        f"of one thread of a shared machine, seed {args.seed}. Command: "
        "`python scripts/train_standins.py sd3`."
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
    parser.add_argument("--minutes", type=float, default=1e9, help="end after so many at the latest")
    parser.add_argument("--freeze", type=int, default=10**9, help="step from which on texts learn no more")
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
