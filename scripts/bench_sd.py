"""What methods cost at the size of Stable Diffusion 1.5, with random weights.

    python scripts/bench_sd.py [--small] [--dtype float16]

On a GPU: seconds of each unit of work with pictures of 512 x 512, and from the printed counts the
total of each method. On a CPU everything is measured once on pictures of 64 x 64, and no larger ones
are told of. Costs are of one request: forgetting, not proving it. With --small nets are tiny and
pictures are drawn in two steps. Exit code 1 if a GPU misses a goal.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from bench_sd_model import OBJECTS, SMALL, Sizes, write
from bench_sd_units import KEPT_PROMPTS, PRESETS, Bench, Unit, preset

from razor_cli import tables
from razor_cli.families.diffusion.choices import Precision
from razor_cli.families.diffusion.spec import DiffusionSpec

FULL_SIDE, REDUCED_SIDE = 512, 64
ROUNDS_COMMIT = 1  # a round of RAZOR looks at its step once more when it takes it
LOOK = 3  # pictures of the target in one look of a search, and as many of the rest: SLUG's own search
FRONT = 3  # tensors of SLUG's front that are searched
GOALS = {"RAZOR": (20.0, 4.0, 0.03), "SLUG": (10.0, None, None), "UCE": (1.0, None, None)}  # s, GB, GB


@dataclass(frozen=True, kw_only=True)
class Request:
    """How much a request has to go through."""

    name: str
    forget: int  # pairs
    retain: int
    draws: int  # noised states of each retain pair


ASKED = Request(name="400 + 256 pairs, one draw each", forget=400, retain=256, draws=1)
PAPER = Request(name="the paper's 1,200 + 7,900 pairs, 8 draws each", forget=1200, retain=7900, draws=8)


def counts(request: Request, chosen: int) -> dict[str, dict[str, int]]:
    """Return how many units of each kind a method does; `chosen`: tensors that the paper's RAZOR edits."""
    razor, paper, slug = preset("razor"), preset("razor_paper"), preset("slug")
    esd, fmn, ediff, salun = map(preset, ("esd_canvas", "fmn_canvas_style", "ediff_canvas", "salun_canvas"))
    prompts = len(OBJECTS) + KEPT_PROMPTS - 1
    looks, trials = 2 + razor.trim_steps, chosen * (paper.search_steps + ROUNDS_COMMIT)
    inner = -(-request.forget // ediff.batch) * ediff.rounds * ediff.epochs
    return {
        "RAZOR": {
            "anchor gradient": len(OBJECTS) * razor.joint_rounds,
            "drift gradient": (KEPT_PROMPTS - 1) * razor.joint_rounds,
            "trial by contexts": prompts * razor.joint_rounds * (razor.search_steps + ROUNDS_COMMIT),
            "picture": 2 * LOOK * looks,
        },
        "RAZOR, the paper's losses": {
            "cosine gradient": request.forget,
            "retain gradient": request.retain * request.draws,
            "mismatch_squared gradient": chosen * len(OBJECTS),
            "trial by contexts": prompts * trials,
            "picture": 2 * LOOK * (1 + trials),
        },
        "SLUG": {
            "cosine gradient": request.forget,
            "retain_nce gradient": request.retain,
            "trial by contexts": prompts * FRONT * slug.search_steps,
            "picture": LOOK * (2 + FRONT * slug.search_steps),
        },
        "ESD": {"ESD step": esd.epochs * esd.steps},
        "FMN": {"FMN inversion step": fmn.ti_steps, "FMN step": fmn.epochs * fmn.steps},
        "UCE": {"context": KEPT_PROMPTS, "closed form": 1},
        "EDiff": {"EDiff inner step": inner, "EDiff outer step": inner},
        "SalUn": {
            "SalUn mask gradient": request.forget,
            "SalUn step": -(-request.forget // salun.batch) * salun.epochs,
        },
    }


def total(units: Mapping[str, Unit], count: Mapping[str, int]) -> float:
    """Return the seconds of so many units."""
    return sum(units[name].seconds * number for name, number in count.items())


def printed() -> dict[str, dict[str, str]]:
    """Return the published costs by method."""
    file = Path(tables.__file__).with_name("published") / "razor_table5.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["method"]: row for row in csv.DictReader(lines)}


def table(bench: Bench, *, reduced: bool) -> list[str]:
    """Return the tables: units, then methods with counts, totals, goals and what is published."""
    place = f"{bench.side} x {bench.side}"
    lines = [f"| unit ({place}) | seconds | measured | peak GB |", "|---|---|---|---|"]
    lines += [f"| {n} | {u.seconds:.4g} | {u.measured} | {u.mb / 1000:.2f} |" for n, u in bench.units.items()]
    asked, paper = (counts(r, bench.chosen()) for r in (ASKED, PAPER))
    what = f"total at {place}" + (" (reduced), s" if reduced else ", s")
    more = "" if reduced else f" {PAPER.name}, s |"
    lines += ["", f"{ASKED.name}; counts are of this request", ""]
    lines += [f"| method | counts | {what} |{more} peak GB | patch GB | goal | published s, GB, GB |"]
    lines += ["|---|---|---|" + ("" if reduced else "---|") + "---|---|---|---|"]
    for name, count in asked.items():
        peak = max(bench.units[u].mb for u in count) / 1000
        row = printed()[name.partition(",")[0]]
        told = ", ".join(row[k] for k in ("time_s", "mem_gb", "storage_gb"))
        full = "" if reduced else f" {total(bench.units, paper[name]):.4g} |"
        words = ", ".join(f"{number:,} x {unit}" for unit, number in count.items())
        patch = bench.stored[PRESETS[name]] / 1e9
        seconds = total(bench.units, count)
        costs = f"{seconds:.4g} |{full} {peak:.2f} | {patch:.4f}"
        lines += [f"| {name} | {words} | {costs} | {goal(name)} | {told} |"]
    return lines


def goal(name: str) -> str:
    """Return the goals of a method on a GPU in words."""
    words = ("<= {:g} s", "<= {:g} GB", "patch <= {:g} GB")
    found = GOALS.get(name.partition(",")[0], ())
    return ", ".join(w.format(g) for w, g in zip(words, found, strict=False) if g is not None)


def missed(bench: Bench) -> list[str]:
    """Return the goals that were missed on a GPU."""
    found = []
    for name, count in counts(ASKED, bench.chosen()).items():
        got = (
            total(bench.units, count),
            max(bench.units[u].mb for u in count) / 1000,
            bench.stored[PRESETS[name]] / 1e9,
        )
        wanted = GOALS.get(name.partition(",")[0], ())
        if any(most is not None and value > most for value, most in zip(got, wanted, strict=False)):
            found.append(f"{name}: {goal(name)}, found {got[0]:.4g} s, {got[1]:.2f} GB, {got[2]:.4f} GB")
    return found


def measured(folder: Path, sizes: Sizes, device: str, dtype: Precision, say: Callable[[str], None]) -> Bench:
    """Build the model, open it and measure every unit; on a CPU on few and small pictures."""
    gpu = device == "cuda"
    side = FULL_SIDE if gpu and sizes == Sizes() else REDUCED_SIDE
    numbers = write(folder / "sd", sizes, side)
    say(f"UNet of {numbers / 1e6:.1f} M numbers, {side} x {side} pixels, {device}, {dtype.value}")
    spec = DiffusionSpec(
        name="bench", stand_in=False, weights=str(folder / "sd"), dtype=dtype, draws=1, batch=2
    )
    family = spec.open()
    bench = Bench(
        family=family,
        side=side,
        pairs=64 if gpu else 4,
        prompts=64 if gpu else 4,
        steps=8 if gpu else 2 if sizes == Sizes() else 1,
        sampler_steps=None if sizes == Sizes() else 2,
        say=say,
    )
    bench.measure()
    return bench


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="tiny nets: does it run?")
    parser.add_argument("--dtype", type=Precision, choices=list(Precision), help="bfloat16 on a GPU")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = given.dtype or (Precision.BFLOAT16 if device == "cuda" else Precision.FLOAT32)
    reduced = device == "cpu" or given.small
    if reduced:
        why = "tiny nets" if given.small else "no GPU"
        print(
            f"REDUCED ({why}): pictures of {REDUCED_SIDE} x {REDUCED_SIDE} instead of {FULL_SIDE} x "
            f"{FULL_SIDE}. Units that pass pictures or latents cost many times this at full size; nothing "
            "below says how much, and no goal is judged.",
            flush=True,
        )
    with tempfile.TemporaryDirectory(prefix="razor-bench-") as folder:
        sizes = SMALL if given.small else Sizes()
        bench = measured(Path(folder), sizes, device, dtype, lambda line: print(line, flush=True))
        print("", *table(bench, reduced=reduced), sep="\n")
        wrong = [] if reduced else missed(bench)
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
