"""RAZOR and SLUG on a GPU at full size and random weights: time and memory beside a plain pass, bf16 beside
fp32, and the same edit as on the CPU.

    python scripts/bench_gpu.py [--models ARCHITECTURE ...] [--pictures 256] [--few 16] [--device cuda]

A model is an architecture of open_clip, or clip_tiny. Both methods take gradients of so many forget and as
many retain pictures. fp32 is without TF32, so that the edit on the CPU, of a few pictures, is held against
the same arithmetic. Exit code 1 if a number misses its aim, 2 where the device is not there. `--device cpu`
tries the script out on a machine without one; its memory is then that of the process and says little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from razor_cli.acceptance.clip.random import write_random
from razor_cli.contract.budget import budget_of
from razor_cli.contract.edit import Edit
from razor_cli.contract.method import Method
from razor_cli.data.embedded import EmbeddedRequest, embedded_sets
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.losses import info_nce
from razor_cli.dual.pixels import load_pixels
from razor_cli.engine.lab import Lab, device_peak
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.load import load
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.methods.razor import Razor
from razor_cli.methods.razor_choices import Step
from razor_cli.methods.slug import Slug
from razor_cli.runs.provenance import peak_rss_mb

TINY = "clip_tiny"
MODELS = ("ViT-B-32-quickgelu", "ViT-L-14-quickgelu")
FEW = 16  # pictures of each set, where the CPU takes part
CHUNK = 128
RATIO, PEAK = 1.3, 1.3  # of an edit's gradients to a plain pass over as many pictures: time, memory
SAME = 1e-3  # of the largest entry of a tensor's edit: what CPU and GPU may differ by
Check = tuple[str, float, float]  # what, measured, aim: at most


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one edit, or one plain pass, took."""

    seconds: float
    gradient_seconds: float
    peak_mb: float
    edit: Edit | None = None


def methods() -> dict[str, Method]:
    """Return both methods, each with one step of fixed size or a short search."""
    return {
        "RAZOR": Razor(step=Step.FIXED, step_size=0.1, max_components=1, grow_rounds=0),
        "SLUG": Slug(search_steps=2, forget_batch=CHUNK, retain_batch=CHUNK),
    }


def opened(name: str, weights: Path | None, device: str) -> Clip:
    """Return a model on a device."""
    library = Library.STAND_IN if name == TINY else Library.OPEN_CLIP
    return load(
        name=name,
        library=library,
        architecture=None if name == TINY else name,
        weights=str(weights) if weights else None,
        device=device,
    )


def sets_of(pictures: int) -> ConceptSets:
    """Return the stand-in's portraits, tiled to so many of each set."""
    sizes = Sizes(forget=FEW, retain=FEW, validation_forget=FEW, validation_retain=FEW)
    sets = embedded_sets(
        EmbeddedRequest(pictures="portraits", target="Taylor Swift", domain="person", sizes=sizes)
    )

    def tiled(pairs: Pairs) -> Pairs:
        return Pairs((pairs.pictures * (pictures // len(pairs) + 1))[:pictures], pairs.sources)

    return replace(sets, forget=tiled(sets.forget), retain=tiled(sets.retain))


def autocast(device: str, bf16: bool) -> AbstractContextManager[object]:
    """Return a context in which towers compute in bf16, or one that does nothing."""
    return torch.autocast(device, dtype=torch.bfloat16) if bf16 else nullcontext()


def measured(model: Clip, compute: Callable[[], Edit | None]) -> Measured:
    """Return what a computation takes."""
    on_gpu = model.device.startswith("cuda")
    with device_peak(model.device) as peak:
        started = time.perf_counter()
        edit = compute()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        most = peak() if on_gpu else peak_rss_mb()
    gradients = edit.cost.gradient_seconds if edit else seconds
    return Measured(seconds=seconds, gradient_seconds=gradients, peak_mb=most, edit=edit)


def plain_pass(model: Clip, sets: ConceptSets, bf16: bool) -> Measured:
    """Measure plain passes forward and backward over the forget and the retain pictures, each loaded as an
    edit loads it.
    """

    def compute() -> None:
        for pairs in (sets.forget, sets.retain):
            for start in range(0, len(pairs), CHUNK):
                stop = min(start + CHUNK, len(pairs))
                pixels = load_pixels(model, pairs, start, stop)
                with autocast(model.device, bf16):
                    images = model.encode_image(pixels)
                    texts = model.encode_text(model.tokenize(list(pairs.captions[start:stop])))
                    loss = info_nce(images.float(), texts.float(), model.scale)
                loss.backward()
        model.module.zero_grad(set_to_none=True)

    return measured(model, compute)


def edited(model: Clip, method: Method, sets: ConceptSets, bf16: bool = False) -> Measured:
    """Measure one edit."""
    model.within(budget_of("auto", model.device))

    def compute() -> Edit:
        with autocast(model.device, bf16):
            return method.edit(Lab(family=model, sets=sets))

    return measured(model, compute)


def difference(here: Edit, there: Edit, stored: dict[str, Tensor]) -> float:
    """Return the largest difference of two edits in any entry, as a part of the largest change of its tensor;
    1 where they changed other components.
    """
    if here.components != there.components:
        return 1.0
    found = [0.0]
    for name, value in here.values.items():
        a, b, base = (v.cpu().float() for v in (value, there.values[name], stored[name]))
        size = float((b - base).abs().max())
        found.append(float((a - b).abs().max()) / size if size else 0.0)
    return max(found)


def checks_of(console: Console, name: str, device: str, pictures: int, few: int, output: Path) -> list[Check]:
    """Measure one model and print what everything took."""
    weights = None
    if name != TINY:
        spec = ClipSpec(name="random", stand_in=False, library=Library.OPEN_CLIP, architecture=name)
        weights = write_random(spec, output / f"{name}.safetensors")
    model, sets = opened(name, weights, device), sets_of(pictures)
    table = Table(title=f"{name} on {device}, {len(sets.forget)} + {len(sets.retain)} pictures")
    for column in ("what", "seconds", "gradients, s", "peak, MB"):
        table.add_column(column, justify="left" if column == "what" else "right")
    checks: list[Check] = []
    plain_pass(model, sets_of(FEW), False)  # libraries choose their kernels
    for bf16 in (False, True):
        dtype = "bf16" if bf16 else "fp32"
        plain = plain_pass(model, sets, bf16)
        rows = {f"plain pass, {dtype}": plain}
        for called, method in methods().items():
            own = rows[f"{called}, {dtype}"] = edited(model, method, sets, bf16)
            if not bf16:
                checks += [
                    (
                        f"{name}: {called}'s gradients / a plain pass",
                        own.gradient_seconds / plain.seconds,
                        RATIO,
                    ),
                    (f"{name}: {called}'s peak / a plain pass", own.peak_mb / plain.peak_mb, PEAK),
                ]
        for what, m in rows.items():
            table.add_row(what, f"{m.seconds:.2f}", f"{m.gradient_seconds:.2f}", f"{m.peak_mb:,.0f}")
    console.print(table)
    small, there = sets_of(few), opened(name, weights, "cpu")
    for called, method in methods().items():
        pair = [edited(m, method, small).edit for m in (model, there)]
        assert pair[0] is not None and pair[1] is not None
        apart = difference(pair[0], pair[1], dict(there.stored))
        checks.append((f"{name}: {called}'s edit, {device} and cpu, largest difference", apart, SAME))
    return checks


def main(words: Sequence[str] | None = None) -> int:
    """Measure the models and print each number beside its aim; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--pictures", type=int, default=256, help="of each set, on the device")
    parser.add_argument("--few", type=int, default=FEW, help="of each set, where the CPU takes part")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    args = parser.parse_args(words)
    console, checks = Console(), []
    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            "no CUDA device is there: nothing was measured\n"
            "  fix: take a machine with a GPU, or try the script out: --device cpu --models clip_tiny",
            file=sys.stderr,
        )
        return 2
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            checks += checks_of(console, name, args.device, args.pictures, args.few, Path(folder))
    table = Table(title="benchmark on a GPU" if args.device == "cuda" else "the same on a CPU")
    for column in ("what", "measured", "aim", ""):
        table.add_column(column)
    for what, found, aim in checks:
        table.add_row(what, f"{found:.3g}", f"≤ {aim:g}", "met" if found <= aim else "MISSED")
    console.print(table)
    return 1 if any(found > aim for _, found, aim in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
