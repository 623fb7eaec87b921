"""`razor data check imagenet | laion | celeba`: what of a public data set lies in a folder, and what is
missing.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from razor_cli.screen import Screen

SHOWN = 20  # classes, shards or names that are listed one by one
VAL = 50  # photographs of each class in ImageNet's official val part


class Benchmark(StrEnum):
    """The data sets that can be checked."""

    IMAGENET = "imagenet"
    LAION = "laion"
    CELEBA = "celeba"


def check(
    kind: Annotated[Benchmark, typer.Argument(help="imagenet, laion or celeba.")],
    root: Annotated[Path, typer.Option("--root", help="data.root, or data.celeba_root for celeba.")],
    target: Annotated[
        str | None, typer.Option("--target", help="Also count what shows this concept.")
    ] = None,
) -> None:
    """Count what of a public data set is in a folder, and say what is missing. Photographs are listed, not
    decoded.
    """
    console = Screen(highlight=False, soft_wrap=True)
    lines = {Benchmark.IMAGENET: _imagenet, Benchmark.LAION: _laion, Benchmark.CELEBA: _celeba}[kind](
        console, root, target
    )
    for line in lines:
        console.print(Text(line))


def _imagenet(console: Console, root: Path, target: str | None) -> list[str]:
    from razor_cli.data.sources.imagenet import CLASSES, ImageNet, metadata

    source, info = ImageNet(root), metadata()
    train, val = ({i: len(source.layout.items(part, i)) for i in source.present} for part in ("train", "val"))
    chosen = [info.concepts.index(source.find(target))] if target else list(source.present)
    fewest = sorted(chosen, key=lambda i: (val[i], train[i], i))[:SHOWN]
    table = _table("class", "number", "train", "val")
    for i in fewest:
        table.add_row(Text(f"{info.concepts[i]} ({info.wnids[i]})"), str(i), f"{train[i]:,}", f"{val[i]:,}")
    console.print(table)
    missing = [i for i in range(CLASSES) if i not in source.present]
    lines = (
        [f"{len(chosen) - len(fewest)} more classes, none with fewer photographs"]
        if len(chosen) > len(fewest)
        else []
    )
    lines.append(
        f"{len(source.present)} of {CLASSES} classes, {sum(train.values()):,} train and "
        f"{sum(val.values()):,} val"
    )
    if missing:
        lines.append(
            f"missing: {len(missing)} classes, such as {', '.join(info.concepts[i] for i in missing[:5])}"
        )
    if short := [i for i in source.present if val[i] < VAL]:
        lines.append(f"{len(short)} classes with fewer than the official {VAL} val photographs")
    return [*lines, *source.tally.notes()]


def _laion(console: Console, root: Path, target: str | None) -> list[str]:
    from razor_cli.data.sources.laion import Laion

    source = Laion(root)
    counts = source.counts()
    table = _table("shard", "captioned pictures", "metadata")
    for shard in source.shards[:SHOWN]:
        told = "parquet" if source.has_metadata(shard) else "none"
        table.add_row(Text(shard.name), f"{counts[shard.name]:,}", told)
    console.print(table)
    lines = [f"{len(source.shards) - SHOWN} more shards"] if len(source.shards) > SHOWN else []
    lines.append(f"{len(source.shards)} shards, {counts.total():,} captioned pictures")
    if target:
        lines.append(
            f"{len(source.mentioning([target])):,} captions hold '{target}'; a run asks for 4,000 to "
            "forget with"
        )
    return [*lines, *source.tally.notes()]


def _celeba(console: Console, root: Path, target: str | None) -> list[str]:
    from razor_cli.data.sources.celeba import CelebA

    source = CelebA(root, setting="--root")
    identities = source.identities
    there = {p.name for p in source.home.iterdir()}
    missing = {n: sum(f not in there for f in files) for n, files in identities.items()}
    names = source.find([target]) if target else source.frequent()
    table = _table("name", "listed", "missing")
    for name in names[:SHOWN]:
        table.add_row(Text(name), str(len(source.identities[name])), str(missing[name]))
    console.print(table)
    if target and not names:
        return [f"'{target}' is not among the {len(source.identities):,} names"]
    total = sum(map(len, source.identities.values()))
    lines = [
        f"{len(source.identities):,} names, {total:,} photographs listed, {sum(missing.values()):,} of "
        "them missing"
    ]
    lines.append(f"{len(source.frequent())} most frequent {source.ranking()}")
    return [*lines, *source.tally.notes()]


def _table(first: str, *others: str) -> Table:
    return Table(first, *(Column(name, justify="right") for name in others), box=None, pad_edge=False)
