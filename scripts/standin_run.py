"""Train `sd_tiny` from pictures to a measured folder.

    python scripts/train_standins.py sd [--vae-minutes M] [--minutes M] [--decoder-minutes M] [--seed N]
    [--threads N] [--device D] [--work DIR] [--out DIR] [--towers DIR] [--judges DIR] [--without NAME]
    [--report]

Killed runs go on from the checkpoints in the work folder. `--report` measures a finished folder again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from rich.console import Console
from standin_canvas import Shown, load_training, without
from standin_folders import round_weights, write_pipeline, write_towers
from standin_measure import report
from standin_sd import Parts, latents_of, make_unet, train_contrast, train_denoiser
from standin_text import make_clip, write_tokenizer
from standin_vae import train_vae, tune_decoder

STANDINS = Path(__file__).parents[1] / "src/razor_cli/families/diffusion/standins"


def arguments(given: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="train_standins.py sd",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--vae-minutes", type=float, default=20, help="minutes of the autoencoder")
    parser.add_argument("--contrast-minutes", type=float, default=2, help="minutes of the towers alone")
    parser.add_argument("--minutes", type=float, default=40, help="minutes of denoiser and towers together")
    parser.add_argument("--decoder-minutes", type=float, default=4, help="minutes of the decoder at the end")
    parser.add_argument("--vae", type=Path, help="take this autoencoder and train none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, default=Path("outputs/standins/sd_tiny"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=STANDINS / "sd_tiny")
    parser.add_argument("--towers", type=Path, default=STANDINS / "sd_tiny_clip")
    parser.add_argument("--judges", type=Path, default=STANDINS / "judges")
    parser.add_argument("--without", help="leave this name out of training (retrained oracle)")
    parser.add_argument("--report", action="store_true", help="measure the finished folders, train nothing")
    args = parser.parse_args(given)
    own = [f"--{n}" for n in ("work", "out", "towers") if getattr(args, n) == parser.get_default(n)]
    if args.without and own:
        parser.error(f"--without would write over the stand-in: give {', '.join(own)}")
    return args


def _kept(args: argparse.Namespace, shown: list[Shown]) -> list[Shown]:
    return without(shown, args.without) if args.without else shown


def train(args: argparse.Namespace, console: Console) -> Parts:
    """Run the stages, or what is left of them."""
    args.work.mkdir(parents=True, exist_ok=True)
    shown = _kept(args, load_training(args.work / "calm.pt", calm=True))
    device = torch.device(args.device)
    if args.vae:
        vae = AutoencoderKL.from_pretrained(args.vae).to(device)
    else:
        wide = _kept(args, load_training(args.work / "pictures.pt"))
        vae = train_vae(wide, args.work, args.vae_minutes, args.seed, console, device)
    tokenizer = write_tokenizer(args.work / "tokenizer")
    torch.manual_seed(args.seed)
    clip, unet = make_clip(len(tokenizer)).to(device), make_unet().to(device)
    parts = Parts(vae=vae.eval(), unet=unet, clip=clip, tokenizer=tokenizer)
    train_contrast(parts, shown, args.work, args.contrast_minutes, args.seed, console)
    train_denoiser(parts, shown, args.work, args.minutes, args.seed, console)
    latents = latents_of(parts, shown, args.work)
    tune_decoder(vae, shown, latents, args.work, args.decoder_minutes, args.seed, console)
    round_weights(parts.vae, parts.unet, parts.clip)
    return parts


def main(given: list[str]) -> None:
    """Train, write, measure."""
    args = arguments(given)
    torch.set_num_threads(args.threads)
    console = Console()
    if not args.report:
        parts = train(args, console)
        write_pipeline(parts, args.out)
        write_towers(parts, args.towers)
    text = report(args.out, args.towers, args.judges, args.work, console)
    (args.out / "MODEL_CARD.md").write_text(text)
    console.print(text)
