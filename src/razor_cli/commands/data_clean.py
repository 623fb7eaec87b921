"""`razor data clean`: what is kept between runs and can be computed anew, and how to be rid of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from razor_cli.atomic import PREFIX
from razor_cli.caches import cache_dir
from razor_cli.runs.file_names import named, take_out
from razor_cli.runs.folder import sweep
from razor_cli.screen import Screen

HELD = (".safetensors", ".tmp", ".lock")  # entries of engine.cache, half ones of earlier versions, locks


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One kind of thing that is kept: where, its files, and whether they go without being asked for."""

    name: str
    place: Path
    files: Sequence[Path]
    size: int  # bytes
    option: str = ""  # that takes it as well


def clean(
    output_dir: Annotated[
        Path,
        typer.Option("--output-dir", help="The runs' output_dir; gradients lie in its cache folder."),
    ] = Path("outputs"),
    keep_gb: Annotated[
        float, typer.Option("--keep-gb", help="Keep the gradients used last, up to this size.", min=0)
    ] = 0.0,
    pictures: Annotated[bool, typer.Option("--pictures", help="Also pictures that were drawn.")] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Also what killed trainings go on from.")
    ] = False,
    names: Annotated[
        bool, typer.Option("--names", help="Also names of picture files in recorded runs.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove gradients and embeddings of unedited models, which the next run computes anew. Recorded runs and
    data sets stay; with --names the recorded runs no longer say what their picture files were called.
    `cache_gb` of a run bounds the cache in the first place.
    """
    asked = {"--pictures": pictures, "--training": training}
    console = Screen(highlight=False, soft_wrap=True)
    if not dry_run:
        sweep(output_dir)
    every = list(_kept(output_dir))
    for kept in every:
        wanted = asked.get(kept.option, True)
        gone, size = (kept.files, kept.size) if wanted else ((), 0)
        if wanted and not kept.option:
            gone, size = _oldest(kept.files, keep_gb * 2**30)
        if not dry_run:
            for file in gone:
                file.unlink(missing_ok=True)
        verb = "would be removed" if dry_run else "removed"
        text = f"{kept.name} in {kept.place}: {_mb(size)} {verb}, {_mb(kept.size - size)} left"
        console.print(Text(text + (f" ({kept.option} removes them)" if not wanted and kept.files else "")))
    for kept in () if dry_run else every:
        _drop_empty(kept.place)
    if names:
        console.print(Text(_without_names(output_dir, dry_run=dry_run)))


def _without_names(output_dir: Path, *, dry_run: bool) -> str:
    """Take names of picture files out of every recorded run, and say of how many."""
    runs = named(output_dir)
    for run in () if dry_run else runs:
        take_out(output_dir, run)
    verb = "would be taken" if dry_run else "taken"
    return f"names of picture files: {sum(runs.values())} {verb} out of {len(runs)} recorded runs"


def _kept(output_dir: Path) -> Iterator[Kept]:
    cache, states, drawn = output_dir / "cache", output_dir / "cache/training", cache_dir() / "rendered"
    entries = [f for f in cache.glob("*") if f.is_file() and f.suffix in HELD]
    yield _counted("gradients and embeddings", cache, entries)
    yield _counted("states of trainings", states, _below(states), "--training")
    yield _counted("drawn pictures", drawn, _below(drawn), "--pictures")


def _below(folder: Path) -> list[Path]:
    """Return all files but those that a process is writing now."""
    writing = {f for f in folder.rglob(f"{PREFIX}*")}
    return [f for f in folder.rglob("*") if f.is_file() and writing.isdisjoint(f.parents)]


def _counted(name: str, place: Path, files: Sequence[Path], option: str = "") -> Kept:
    return Kept(name=name, place=place, files=files, size=sum(f.stat().st_size for f in files), option=option)


def _oldest(files: Sequence[Path], limit: float) -> tuple[list[Path], int]:
    """Return the files used longest ago that go for the rest to fit the limit, and their bytes."""
    stats = sorted(((f.stat(), f) for f in files), key=lambda e: e[0].st_mtime_ns)
    total, gone, size = sum(s.st_size for s, _ in stats), [], 0
    for stat, file in stats:
        if total - size <= limit and limit > 0:
            break
        gone.append(file)
        size += stat.st_size
    return gone, size


def _drop_empty(folder: Path) -> None:
    """Remove the empty folders below one, itself included."""
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _mb(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"
