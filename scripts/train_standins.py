"""Train the embedded stand-in models.

    python scripts/train_standins.py clip --cifar DIR [--without "Taylor Swift"] [--steps N] [--seed N]
    [--scale S] [--out DIR]
    python scripts/train_standins.py siglip --cifar DIR ...   see standin_siglip.py
    python scripts/train_standins.py sd [--minutes M] ...     see standin_run.py
    python scripts/train_standins.py sd3 [--steps N] ...      see standin_sd3.py
    python scripts/train_standins.py judges [--steps N] ...   see standin_judges.py
    python scripts/train_standins.py llava [--steps N] ...    see standin_llava.py

Deterministic for one seed, thread count and torch version. Killed runs go on from their last checkpoint.
Writes weights (fp16 safetensors), open_clip configuration, vocabulary and a model card with held-out
accuracy.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from muon import Muon
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_file
from standin_clip import (
    SCALE,
    SMOOTH_FROM,
    SMOOTHING,
    accuracy,
    contrastive_loss,
    load_domains,
    make_batch,
    model_config,
    seed_everything,
    write_vocabulary,
)

from razor_cli.data.sources.cifar10 import Cifar10
from razor_cli.data.sources.emoji import Emoji
from razor_cli.data.sources.portraits import Portraits

OTHERS = {
    "siglip": "standin_siglip",
    "sd": "standin_run",
    "sd3": "standin_sd3",
    "judges": "standin_judges",
    "llava": "standin_llava",
}
CHECKPOINT_EVERY = 200
AIMS = {
    "identity": 97.0,
    "CIFAR-10": 62.0,
    "emoji, new views of trained icons": 70.0,
    "emoji, icon set never trained": 40.0,
}


def optimizers(model: CLIP, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, projections, norms and biases; the scale
    stays.
    """
    inside = {n: p for n, p in model.named_parameters() if p.ndim == 2 and "resblocks" in n}
    rest = [p for n, p in model.named_parameters() if n not in inside and n != "logit_scale"]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [Muon(inside.values(), lr=lr), torch.optim.AdamW(groups, lr=0.75 * lr, betas=(0.9, 0.98))]


def set_rates(opts: list[torch.optim.Optimizer], lr: float, step: int, steps: int) -> None:
    """Linear warm-up over 100 steps, then cosine to zero."""
    factor = min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
    for opt, base in zip(opts, (lr, 0.75 * lr), strict=True):
        for group in opt.param_groups:
            group["lr"] = base * factor


def save_checkpoint(
    path: Path, model: CLIP, opts: list[torch.optim.Optimizer], g: torch.Generator, step: int, seconds: float
) -> None:
    """Write everything needed to go on, atomically."""
    state = {
        "model": model.state_dict(),
        "opts": [o.state_dict() for o in opts],
        "rng": g.get_state(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def train(args: argparse.Namespace, console: Console) -> tuple[CLIP, SimpleTokenizer, float]:
    """Train from scratch or from the checkpoint and return the model, its tokenizer and the seconds spent."""
    torch.set_num_threads(args.threads)
    generator = seed_everything(args.seed)
    vocabulary = args.out / "bpe.txt.gz"
    write_vocabulary(vocabulary)
    config: dict[str, Any] = model_config(vocabulary)
    (args.out / "clip_tiny.json").write_text(json.dumps(config, indent=2) + "\n")
    model = CLIP(**config, init_logit_scale=math.log(args.scale)).to(args.device)
    tokenizer = SimpleTokenizer(bpe_path=str(vocabulary), context_length=config["text_cfg"]["context_length"])
    domains = load_domains(args.cifar, args.without)
    opts, checkpoint, first, before = optimizers(model, args.lr), args.out / "checkpoint.pt", 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for opt, state in zip(opts, saved["opts"], strict=True):
            opt.load_state_dict(state)
        generator.set_state(saved["rng"])
        first, before = saved["step"], saved["seconds"]
        console.print(f"going on from step {first}")
    start = time.monotonic()
    with Progress(console=console) as progress:
        task = progress.add_task("training clip_tiny", total=args.steps, completed=first)
        for step in range(first, args.steps):
            set_rates(opts, args.lr, step, args.steps)
            pixels, captions, numbers = make_batch(domains, 48, generator)
            images = model.encode_image(pixels.to(args.device), normalize=True)
            texts = model.encode_text(tokenizer(captions).to(args.device), normalize=True)
            smoothing = SMOOTHING if step >= SMOOTH_FROM * args.steps else 0.0
            loss = contrastive_loss(images, texts, numbers.to(args.device), smoothing, args.scale)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for opt in opts:
                opt.step()
                opt.zero_grad()
            progress.update(task, completed=step + 1)
            if (step + 1) % CHECKPOINT_EVERY == 0:
                seconds = before + time.monotonic() - start
                save_checkpoint(checkpoint, model, opts, generator, step + 1, seconds)
                console.print(f"step {step + 1}: loss {loss.item():.3f}, {seconds:.0f} s")
    return model.eval().cpu(), tokenizer, before + time.monotonic() - start


def measure(model: CLIP, tokenizer: SimpleTokenizer, cifar: Path) -> dict[str, dict[str, float]]:
    """Return accuracy and cosines per part, on pictures whose source was never trained on, unless the name
    says so.
    """
    return {
        "identity": accuracy(model, tokenizer, Portraits(), "evaluation", 120),
        "CIFAR-10": accuracy(model, tokenizer, Cifar10(cifar), "evaluation", 1000),
        "emoji, new views of trained icons": accuracy(model, tokenizer, Emoji(), "seen", 12),
        "emoji, icon set never trained": accuracy(model, tokenizer, Emoji(), "evaluation", 12),
    }


def card(report: dict[str, dict[str, float]], args: argparse.Namespace, count: int, seconds: float) -> str:
    """Return the model card as Markdown."""
    rows = [
        f"| {part} | {r['top1']:.1f} | {r['n']} | {AIMS[part]:.0f} | "
        f"{'met' if r['top1'] >= AIMS[part] else '**missed**'} "
        f"| {r['matched']:.2f} | {r['unmatched']:.2f} |"
        for part, r in report.items()
    ]
    without = f" Trained without {args.without}: the oracle of forgetting it." if args.without else ""
    return "\n".join(
        [
            "# clip_tiny, a stand-in",
            "",
            f"An open_clip model of {count / 1e6:.2f} M parameters, trained from scratch on synthetic "
            "portraits of forty names,",
            "emoji of a hundred concepts in six icon sets, and 45,000 CIFAR-10 photographs. It is not a "
            "real CLIP and says",
            f"nothing about one.{without}",
            "",
            f"Training: {args.steps} steps of 128 pictures, seed {args.seed}, {args.threads} thread(s), "
            f"{seconds / 60:.0f} minutes;",
            f"InfoNCE at a fixed logit scale of {args.scale:.0f} plus a weak pull of the matched cosine "
            "to 0.3, labels smoothed by",
            f"{SMOOTHING} in the last {100 * (1 - SMOOTH_FROM):.0f} % of the steps; Muon on block "
            "matrices, AdamW",
            f"on the rest, lr {args.lr}. Generic prompts (`a photo of a person.`, `an emoji of an "
            "object.`, `a photo of an",
            "object.`) are trained.",
            "",
            "Zero-shot top-1 with one template, on pictures whose source (trait vector, icon, "
            "photograph) was never trained on,",
            "except the row that says otherwise:",
            "",
            "| part | top-1 % | n | aim | | matched cosine | unmatched |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "Command: `python scripts/train_standins.py clip --cifar DIR`. Weights: fp16, Apache-2.0. "
            "The vocabulary is cut from",
            "open_clip's (MIT); the licences of the icon sets are in NOTICE.",
            "",
        ]
    )


def main() -> None:
    """Train the model that the command line names first."""
    program = OTHERS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if program is None:
        train_clip()
    else:  # with these comes diffusers, which the other model does not need
        importlib.import_module(program).main(sys.argv[2:])


def train_clip() -> None:
    """Parse the command line, train, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=["clip"])
    parser.add_argument(
        "--cifar", type=Path, required=True, help="folder with CIFAR-10 (hub parquet or torchvision binary)"
    )
    parser.add_argument("--without", help="leave this identity out of training (retrained oracle)")
    parser.add_argument("--steps", type=int, default=4200)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=SCALE, help="fixed logit scale")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[1] / "src/razor_cli/models/standins/clip_tiny"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    model, tokenizer, seconds = train(args, console)
    weights = {n: p.detach().half().contiguous() for n, p in model.state_dict().items()}
    save_file(weights, args.out / "clip_tiny.safetensors")
    model.load_state_dict({n: w.float() for n, w in weights.items()})  # what is measured is what is shipped
    with torch.no_grad():
        report = measure(model, tokenizer, args.cifar)
    text = card(report, args, sum(p.numel() for p in model.parameters()), seconds)
    (args.out / "MODEL_CARD.md").write_text(text)
    (args.out / "checkpoint.pt").unlink(missing_ok=True)
    console.print(text)


if __name__ == "__main__":
    main()
