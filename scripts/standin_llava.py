"""Train `llava_tiny` from pictures to a measured folder.

    python scripts/train_standins.py llava [--tower-steps N] [--steps N] [--further-steps N] [--seed N]
    [--threads N] [--work DIR] [--out DIR] [--paired DIR] [--report]

Its towers begin as `clip_tiny`'s. Killed runs go on from the checkpoints in the work folder. `--report`
measures a finished folder again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from standin_answers import train_answers
from standin_llava_folders import round_all, words_of, write_llava, write_paired
from standin_llava_measure import report
from standin_shown import load_pools
from standin_tower import train_tower

STANDINS = Path(__file__).parents[1] / "src/razor_cli/families/llava/standins"


def arguments(given: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="train_standins.py llava",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tower-steps", type=int, default=320, help="steps of the paired towers")
    parser.add_argument("--steps", type=int, default=1600, help="steps of projector and language model")
    parser.add_argument("--further-steps", type=int, default=300, help="steps with what those left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("outputs/standins/llava_tiny"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=STANDINS / "llava_tiny")
    parser.add_argument("--paired", type=Path, default=STANDINS / "llava_tiny_clip")
    parser.add_argument("--report", action="store_true", help="measure the finished folders, train nothing")
    return parser.parse_args(given)


def train(args: argparse.Namespace, console: Console) -> None:
    """Run the stages, or what is left of them, and write both folders."""
    args.work.mkdir(parents=True, exist_ok=True)
    pools = load_pools(args.work / "pictures.pt")
    clip, _ = train_tower(pools, args.work, args.tower_steps, args.seed, console)
    round_all(clip)  # questions are learned behind the tower that ships
    words = words_of()
    steps = (args.steps, args.further_steps)
    llava = train_answers(clip, words, pools, args.work, steps, args.seed, console)
    round_all(llava)
    write_llava(llava, words, args.out)
    write_paired(clip, args.paired)


def main(given: list[str]) -> None:
    """Train, write, measure."""
    args = arguments(given)
    torch.set_num_threads(args.threads)
    console = Console()
    if not args.report:
        train(args, console)
    text = report(args.out, args.paired, args.work, console)
    (args.out / "MODEL_CARD.md").write_text(text)
    console.print(text)
