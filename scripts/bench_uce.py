"""Seconds of UCE's solve at the size of Stable Diffusion 1.5, with random weights: no model is needed.

    python scripts/bench_uce.py [--prompts 1000] [--aim 5]

All matrices that read the prompt (32 of 768 columns) are solved for against `prompts` retain prompts of which
all 77 rows stay. Exit code 1 if the whole takes longer than the aim.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
from torch import Tensor

from razor_cli.methods.diffusion.closed_form import ClosedForm, replaced

WIDTH, ROWS = 768, 77  # of a context
BLOCKS = {320: 5, 640: 5, 1280: 6}  # outputs of keys and values -> transformer blocks of that size
ERASED = 6 * 70  # rows: six templates from the name on


def matrices(generator: torch.Generator) -> list[Tensor]:
    """Return random keys and values of every block."""
    return [
        torch.randn(out, WIDTH, generator=generator) / WIDTH**0.5
        for out, count in BLOCKS.items()
        for _ in range(2 * count)
    ]


def main() -> int:
    """Solve once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--aim", type=float, default=5.0)
    given = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    weights = matrices(generator)
    kept = torch.randn(given.prompts * ROWS, WIDTH, generator=generator)
    erase, anchor = (torch.randn(ERASED, WIDTH, generator=generator) for _ in range(2))
    started = time.perf_counter()
    form = ClosedForm(erase, kept, lamb=0.5, erase_scale=1.0, preserve_scale=1.0)
    shared = time.perf_counter() - started
    moved = [form.edited(w, replaced(w, anchor)).half() for w in weights]
    seconds = time.perf_counter() - started
    finite = all(bool(m.isfinite().all()) for m in moved)
    print(
        f"UCE, {len(weights)} matrices, {given.prompts} retain prompts: {seconds:.2f} s ({shared:.2f} s "
        f"of it shared by all), aim {given.aim:g} s, {torch.get_num_threads()} threads"
    )
    return 0 if finite and seconds <= given.aim else 1


if __name__ == "__main__":
    sys.exit(main())
