"""Peak memory of whole runs at full size and random weights, held against a plain pass of the same chunk.

    python scripts/bench_memory.py [--models ARCHITECTURE:GB ...] [--pictures 32] [--memory 11GB]
        [--output DIR]

Each measure is a process of its own, whose peak of resident memory is read when it ends. A model is an
architecture of open_clip, or clip_tiny, and behind a colon the GB that a run of it may end with. The second
run of a model has twice as many pictures: its peak must be that of the first. Exit code 1 if a number misses
its aim. A full-size run takes minutes on two cores for every hundred pictures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RATIO, GROWTH = 1.3, 1.05
TINY = "clip_tiny"
MODELS = ("ViT-B-32-quickgelu:12", "ViT-L-14-quickgelu:12")
RAZOR_RUN = Path(sys.executable).with_name("razor-run")
PEOPLE, THINGS = ("Taylor Swift", "Mark Zuckerberg"), ("kettle", "violin", "boat", "lamp")
BRIEF = (  # every kind of work once: gradients, a search, renewed gradients, all states and widths
    *("method.retries=[]", "method.grow_rounds=1", "method.max_components=2", "method.search_steps=2"),
    *("method.target={m1: 0}", "method.trim_steps=1", "quantization=all", "force=true"),
)
Check = tuple[str, float, float, bool]  # what, measured, aim, smaller is better


@dataclass(frozen=True, kw_only=True)
class Peak:
    """What a run took, in MB, and how many pictures its gradient took at once."""

    peak_mb: float
    chunk: int


def plain_pass(architecture: str, weights: Path | None, chunk: int) -> float:
    """Return the peak in MB of a process of its own that loads a model and sends `chunk` pictures forward and
    backward, once.
    """
    words = [sys.executable, __file__, "--plain", architecture, str(weights or ""), str(chunk)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1])


def _plain(architecture: str, weights: str, chunk: int) -> None:
    """Print the peak of a plain pass in this process."""
    import torch
    from torch.nn.functional import cross_entropy

    from razor_cli.runs.provenance import peak_rss_mb

    model = _spec(architecture, weights).open()
    texts = model.tokenize([f"a photo of a {name}." for name in THINGS])
    pixels = torch.randn(chunk, *model.preprocess([_noise(0)]).shape[1:])
    rows = torch.arange(chunk) % len(texts)
    logits = model.scale * model.encode_image(pixels) @ model.encode_text(texts)[rows].T
    cross_entropy(logits, torch.arange(chunk)).backward()
    print(peak_rss_mb())


def _spec(architecture: str, weights: str):  # type: ignore[no-untyped-def]
    from razor_cli.families.clip.files import Library
    from razor_cli.families.clip.spec import ClipSpec

    if architecture == TINY:
        return ClipSpec(name=TINY)
    return ClipSpec(
        name="random",
        stand_in=False,
        library=Library.OPEN_CLIP,
        architecture=architecture,
        weights=weights or None,
    )


def _noise(seed: int):  # type: ignore[no-untyped-def]
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (256, 256, 3), dtype=np.uint8))


def write_pictures(folder: Path, names: Sequence[str], count: int) -> Path:
    """Write `count` pictures of noise into a folder for each name."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            _noise(10**6 * number + i).save(folder / name / f"{i}.jpg", quality=60)
    return folder


def run_peak(architecture: str, weights: Path | None, pictures: int, memory: str, output: Path) -> Peak:
    """Return what a run of RAZOR with so many forget and retain pictures takes, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=output) as folder:
        root = Path(folder)
        people = write_pictures(root / "people", PEOPLE, 2 * pictures)
        things = write_pictures(root / "things", THINGS, pictures)
        sizes = {"n_forget": pictures, "n_retain": pictures} | {
            f"n_{part}_{kind}": pictures // 2
            for part in ("validation", "evaluation")
            for kind in ("forget", "retain")
        }
        model = [f"model={TINY}"]
        if architecture != TINY:
            model = ["model=open_clip", f"model.architecture={architecture}", f"model.weights={weights}"]
        words = [*model, "data=folder", f"data.root={people}", f"data.retain_root={things}", *BRIEF]
        words += [f"data.{key}={value}" for key, value in sizes.items()]
        subprocess.run(
            [RAZOR_RUN, *words, f"memory={memory}", f"output_dir={root / 'out'}"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        record = json.loads(next((root / "out" / "runs").rglob("run.json")).read_text(encoding="utf-8"))
    fits = record["memory"]["chosen"]
    chunk = min(f["at_once"] for what, f in fits.items() if what.startswith("gradient"))
    return Peak(peak_mb=record["cost"]["peak_rss_mb"], chunk=chunk)


def checks_of(
    console: Console, architecture: str, most_gb: float, pictures: int, memory: str, output: Path
) -> list[Check]:
    """Measure one model."""
    output.mkdir(parents=True, exist_ok=True)
    weights = None
    if architecture != TINY:
        from razor_cli.acceptance.clip.random import write_random

        weights = output / f"{architecture}.safetensors"
        if not weights.exists():
            write_random(_spec(architecture, ""), weights)
    try:
        small, large = (run_peak(architecture, weights, n, memory, output) for n in (pictures, 2 * pictures))
    except subprocess.CalledProcessError as error:  # its reason was printed
        return [(f"{architecture}: a run within {memory} ends, exit code", error.returncode, 0, True)]
    plain = plain_pass(architecture, weights, min(small.chunk, pictures))
    console.print(
        f"{architecture}: {small.chunk} pictures at once; plain pass {plain:,.0f} MB, run of {pictures} + "
        f"{pictures} pictures {small.peak_mb:,.0f} MB, of twice as many {large.peak_mb:,.0f} MB"
    )
    return [
        (f"{architecture}: peak of a run / of a plain pass", small.peak_mb / plain, RATIO, True),
        (f"{architecture}: peak with twice the pictures / once", large.peak_mb / small.peak_mb, GROWTH, True),
        (f"{architecture}: peak of a run, GB", large.peak_mb / 1024, most_gb, True),
    ]


def main() -> None:
    """Measure the models and print each number beside its aim."""
    if sys.argv[1:2] == ["--plain"]:
        _plain(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS, help="ARCHITECTURE:GB")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--memory", default="11GB", help="what each run may take")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench/memory"))
    args = parser.parse_args()
    console, checks = Console(), []
    for model in args.models:
        architecture, _, most = model.partition(":")
        checks += checks_of(console, architecture, float(most or 12), args.pictures, args.memory, args.output)
    table = Table(title="memory")
    for name in ("what", "measured", "aim", ""):
        table.add_column(name)
    for what, measured, aim, _ in checks:
        table.add_row(what, f"{measured:.2f}", f"≤ {aim:g}", "met" if measured <= aim else "MISSED")
    console.print(table)
    sys.exit(1 if any(measured > aim for _, measured, aim, _ in checks) else 0)


if __name__ == "__main__":
    main()
