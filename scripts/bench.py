"""Speed ratios at the papers' sizes, every method's cost, the default run's time, and the forgetting table.

    python scripts/bench.py [speed] [methods] [default] [grid] [forgetting] [--cifar DIR] [--output DIR]

Without a part all are run. Ratios are taken inside one process, so they hold on any machine; seconds are of
this one. Exit code 1 if a number misses its aim. Runs of the forgetting table are recorded like any other and
found again by `razor query`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from razor_cli.acceptance.clip.random import write_random
from razor_cli.bench import sets_of
from razor_cli.config.command_line import Request
from razor_cli.config.compose import checked
from razor_cli.contract.cost import Cost
from razor_cli.contract.method import Method
from razor_cli.data.embedded import EmbeddedRequest, embedded_sets
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets, Judged, Pairs
from razor_cli.data.sources.portraits import PAPER_NAMES
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.load import load
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.grid.blocks import Asked
from razor_cli.grid.job import perform_job
from razor_cli.grid.kept import Kept
from razor_cli.grid.points import Job, check_all
from razor_cli.methods.razor import Razor
from razor_cli.methods.razor_choices import Step
from razor_cli.methods.slug import Slug
from razor_cli.runs.folder import Run, complete_runs
from razor_cli.tables.compare import METHODS

PAPER = {"forget": 4000, "retain": 7900, "validation_forget": 200, "validation_retain": 300}
PARTS = ("speed", "methods", "default", "grid", "forgetting")
CIFAR_CLASSES = ("airplane", "dog", "ship")
RAZOR_RUN = Path(sys.executable).with_name("razor-run")
Check = tuple[str, float, float, bool]  # what, measured, aim, smaller is better


def paper_sized(target: str) -> ConceptSets:
    """Return the stand-in's sets tiled to the papers' sizes: further copies cost what further
    pictures cost.
    """
    sizes = Sizes(
        forget=240, retain=1024, validation_forget=120, validation_retain=PAPER["validation_retain"]
    )
    sets = embedded_sets(EmbeddedRequest(pictures="portraits", target=target, domain="person", sizes=sizes))

    def tiled(pairs: Pairs, count: int) -> Pairs:
        return Pairs((pairs.pictures * (count // len(pairs) + 1))[:count], pairs.sources)

    judged = Judged(tiled(sets.validation.forget, PAPER["validation_forget"]), sets.validation.retain)
    forget, retain = tiled(sets.forget, PAPER["forget"]), tiled(sets.retain, PAPER["retain"])
    return replace(sets, forget=forget, retain=retain, validation=judged)


def cost_of(method: Method, sets: ConceptSets, *, fast: bool = True) -> Cost:
    """Return the cost of one edit without any cache on disk."""
    model = load(name="clip_tiny", library="stand_in", architecture=None, weights=None, device="cpu")
    return method.edit(Lab(family=model, sets=sets, fast=fast)).cost


def speed(console: Console) -> list[Check]:
    """Measure edits against their gradient pass."""
    sets = paper_sized("Taylor Swift")
    console.print(
        f"{len(sets.forget)} forget and {len(sets.retain)} retain pairs, {sum(PAPER.values()) - 11900} "
        "search pictures"
    )
    unreachable = {
        "target": {"m1": 0.0, "m4_drop": 2.0, "m5": 98.0},
        "floor": {"m5": 98.0, "m4_drop": 2.0, "others_drop": 100.0},
    }  # so that every component and round is paid for
    plain = cost_of(Razor(grow_rounds=0, **unreachable), sets)  # type: ignore[arg-type]
    grown = cost_of(Razor(grow_rounds=2, **unreachable), sets)  # type: ignore[arg-type]
    slug = cost_of(Slug(), sets)
    small = replace(sets, forget=Pairs(sets.forget.pictures[:240], sets.forget.sources))
    small = replace(small, retain=Pairs(sets.retain.pictures[:512], sets.retain.sources))
    searches = [cost_of(Slug(criterion="m1_mean"), small, fast=fast).search_seconds for fast in (True, False)]
    rounds = (grown.seconds - plain.seconds) / 2 / plain.gradient_seconds
    for name, cost in (("RAZOR", plain), ("SLUG", slug)):
        seconds = f"gradient pass {cost.gradient_seconds:.1f} s, search {cost.search_seconds:.1f} s"
        console.print(f"{name}: {seconds}, {cost.evaluations} trials")
    return [
        ("RAZOR without growth / its gradient pass", plain.seconds / plain.gradient_seconds, 1.6, True),
        ("one growth round / a gradient pass", rounds, 1.1, True),
        ("SLUG / its gradient pass", slug.seconds / slug.gradient_seconds, 1.6, True),
        ("SLUG search, plain engine / fast engine", searches[1] / searches[0], 8.0, False),
    ]


def methods(console: Console) -> None:
    """Print what an edit of each method costs on the stand-in's default sets, relative to one gradient pass
    over them.
    """
    chosen = {
        name: checked(
            Request(overrides=[f"method={name}", "quantization=none"], problems=[], skip=frozenset())
        )
        for name in METHODS
    }
    sets = cast(ConceptSets, sets_of(next(iter(chosen.values()))))
    pairs = len(sets.forget) + len(sets.retain)
    passing = min(
        cost_of(Razor(step=Step.FIXED, max_components=1, grow_rounds=0), sets).gradient_seconds
        for _ in range(2)
    )
    table = Table(
        title=f"cost of an edit; one gradient pass over {pairs} pictures takes {passing:.2f} s here"
    )
    for column in ("method", "seconds / pass", "forward / pass", "backward / pass", "seconds"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, experiment in chosen.items():
        cost = cost_of(experiment.method, sets)
        ratios = (cost.seconds / passing, cost.forwards / pairs, cost.backwards / pairs)
        table.add_row(name, *(f"{r:.1f}" for r in ratios), f"{cost.seconds:.1f}")
    console.print(table)


def default(console: Console, output: Path) -> list[Check]:
    """Time the default run and a second one with another rho, which finds its gradients on disk."""
    checks: list[Check] = []
    for words, aim, what in (
        ([], 60.0, "default run, s"),
        (["method.rho=0.4"], 25.0, "second run with another rho, s"),
    ):
        start = time.perf_counter()
        call([*words, "force=true", f"output_dir={output}"])
        checks.append((what, time.perf_counter() - start, aim, True))
    record = next(r for r in complete_runs(output) if r.record.settings["method"]["rho"] != 0.4).record  # type: ignore[index]
    checks.append(("default run, peak resident MB", record.cost.peak_rss_mb, 2048.0, True))
    return checks


def grid(console: Console, output: Path) -> list[Check]:
    """Time eight short jobs of a grid: with a model opened anew for each, and with the one that is kept.

    The model has the size of ViT-B/32, and weights that were never trained, which cost as much to load.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as folder:
        model = ClipSpec(
            name="random", stand_in=False, library=Library.OPEN_CLIP, architecture="ViT-B-32-quickgelu"
        )
        weights = write_random(model, Path(folder, "random.safetensors"))
        words = ["model=clip_vitb32", f"model.weights={weights}", "method=none", "quantization=none"]
        words += ["data=folder", f"data.root={write_noise(Path(folder, 'people'), PAPER_NAMES[:4])}"]
        words += [f"data.retain_root={write_noise(Path(folder, 'things'), ('kettle', 'violin'))}"]
        words += ["control=false", "force=true", f"output_dir={output}"]
        block: dict[str, list[Any]] = {"target": list(PAPER_NAMES[:4]), "seed": [0, 1]}
        jobs, refused = check_all(Asked(name="", blocks=[block], words=words))
        assert not refused, refused[0].error
        kept = Kept()
        seconds_of(jobs[:1], lambda: kept)  # libraries are imported, pictures of one target drawn
        once = seconds_of(jobs, lambda: kept)
        kept.drop()
        fresh = seconds_of(jobs, Kept)
    console.print(f"{len(jobs)} jobs: {fresh:.1f} s with a model each, {once:.1f} s with one for all")
    return [("eight short jobs, a model each / one for all", fresh / once, 1.0, False)]


def write_noise(folder: Path, names: Sequence[str], count: int = 12) -> Path:
    """Write pictures of noise into a folder for each name."""
    draw = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def seconds_of(jobs: Sequence[Job], keeping: Callable[[], Kept]) -> float:
    """Return how long jobs take one after the other in this process, each with what `keeping` gives."""
    started = time.perf_counter()
    ended = [perform_job(job.number, job.experiment, keeping(), print) for job in jobs]
    assert all(e.computed for e in ended), [e.error for e in ended]
    return time.perf_counter() - started


def call(words: list[str]) -> None:
    """Run razor-run and let its errors through."""
    subprocess.run([RAZOR_RUN, *words], check=True, stdout=subprocess.DEVNULL, env=os.environ)


AIMS: dict[str, tuple[str, str, Callable[[float], bool]]] = {
    "M1 mean ≤ 55": ("m1", "dual/mean_of_classes", lambda v: v <= 55),
    "M1 generic ≤ 55": ("m1", "dual/generic", lambda v: v <= 55),
    "M4 drop ≤ 2": ("m4_drop", "dual/generic/base", lambda v: v <= 2),
    "M5 ≥ 97": ("m5", "retrieval/base", lambda v: v >= 97),
    "others drop ≤ 3": ("others_acc_drop", "macro/base", lambda v: v <= 3),
}


def forgetting(console: Console, output: Path, cifar: Path | None) -> list[Check]:
    """Forget each of the ten names (and three classes) with the recommended preset and hold them against the
    aims.
    """
    checks = []
    cases: list[tuple[str, tuple[str, ...], list[str]]] = [("identity", PAPER_NAMES, [])]
    if cifar:
        cases.append(("class", CIFAR_CLASSES, ["scenario=class", "data=cifar10", f"data.cifar_root={cifar}"]))
    for scenario, targets, words in cases:
        for target in targets:
            extra = [f"data.cifar_root={cifar}"] if cifar and scenario == "identity" else []
            console.print(f"  {scenario}: {target}")
            call([*words, *extra, f"target={target}", f"output_dir={output}"])
        runs = [
            r for r in complete_runs(output) if r.record.scenario == scenario and r.record.method == "razor"
        ]
        runs = [r for r in runs if r.record.settings["method"]["rho"] != 0.4]  # type: ignore[index]
        met = show_targets(console, scenario, runs, "edit")
        show_targets(console, scenario, runs, "control")
        what = f"{scenario}: targets that meet every aim at every width, of {len(targets)}"
        checks.append((what, float(met), 0.8 * len(targets), False))
    return checks


def show_targets(console: Console, scenario: str, runs: list[Run], state: str) -> int:
    """Print one row per target and width; return how many targets meet every aim at every width."""
    table = Table(title=f"{scenario}, {state}, evaluation data; values outside their aim are marked !")
    for name in ("target", "weights", *AIMS):
        table.add_column(name)
    met = 0
    for run in sorted(runs, key=lambda r: r.record.target):
        fine = True
        for width in dict.fromkeys(row.quantization for row in run.scores):
            own = [s.score for s in run.scores if (s.state, s.quantization) == (state, width)]
            found = {(s.metric, s.variant): s.value for s in own}
            cells = []
            for metric, variant, good in AIMS.values():
                value = found.get((metric, variant))
                right = value is not None and good(value)
                fine &= right
                cells.append("–" if value is None else f"{value:.1f}" + ("" if right else " !"))
            table.add_row(run.record.target, width, *cells)
        met += fine
    console.print(table)
    return met


def main() -> None:
    """Run the chosen parts and print each number beside its aim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--output", type=Path, default=Path("outputs/bench"))
    args = parser.parse_args()
    console, checks = Console(), []
    parts = args.parts or PARTS
    if "speed" in parts:
        checks += speed(console)
    if "methods" in parts:
        methods(console)
    if "default" in parts:
        checks += default(console, args.output)
    if "grid" in parts:
        checks += grid(console, args.output / "grid")
    if "forgetting" in parts:
        checks += forgetting(console, args.output, args.cifar)
    table = Table(title="benchmark")
    for name in ("what", "measured", "aim", ""):
        table.add_column(name)
    missed = 0
    for what, measured, aim, smaller in checks:
        good = measured <= aim if smaller else measured >= aim
        missed += not good
        table.add_row(
            what, f"{measured:.2f}", f"{'≤' if smaller else '≥'} {aim:g}", "met" if good else "MISSED"
        )
    console.print(table)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
