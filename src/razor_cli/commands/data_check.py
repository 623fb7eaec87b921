"""`razor data check imagenet | laion | celeba | unlearncanvas | answers`: what of a public data set, or of an
answer set, lies in a folder, and what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from razor_cli.data.choices import Styles
from razor_cli.screen import Screen

SHOWN = 20  # classes, shards or names that are listed one by one
VAL = 50  # photographs of each class in ImageNet's official val part


class Benchmark(StrEnum):
    """The data sets that can be checked."""

    IMAGENET = "imagenet"
    LAION = "laion"
    CELEBA = "celeba"
    UNLEARNCANVAS = "unlearncanvas"
    ANSWERS = "answers"  # pictures that a model was asked for, to be judged by UnlearnCanvas' protocol


def check(
    kind: Annotated[
        Benchmark, typer.Argument(help="imagenet, laion, celeba, unlearncanvas, or answers: an answer set.")
    ],
    root: Annotated[Path, typer.Option("--root", help="data.root, or data.celeba_root for celeba.")],
    target: Annotated[
        str | None, typer.Option("--target", help="Also count what shows this concept.")
    ] = None,
    styles: Annotated[
        Styles, typer.Option("--styles", help="Of unlearncanvas and answers: which styles are asked for.")
    ] = Styles.BENCH50,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Of answers: write missing and unreadable names to this file."),
    ] = None,
) -> None:
    """Count what of a public data set is in a folder, and say what is missing. Photographs are listed, not
    decoded; the pictures of an answer set are decoded.
    """
    console = Screen(highlight=False, soft_wrap=True)
    if kind is Benchmark.ANSWERS:
        lines = _answers(console, root, styles, out)
    elif kind is Benchmark.UNLEARNCANVAS:
        lines = _unlearncanvas(console, root, target, styles)
    else:
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


def _unlearncanvas(console: Console, root: Path, target: str | None, styles: Styles) -> list[str]:
    from razor_cli.data.drawn_sets import named
    from razor_cli.data.kinds.unlearncanvas import canvas_names
    from razor_cli.data.sources.unlearncanvas import CELL, UnlearnCanvas

    labels = canvas_names(styles, photographs=True)
    source = UnlearnCanvas(root, labels["style"], labels["object"], setting="--root")
    counts = source.counts()
    names = labels["style"]
    if target is not None:
        target = named(target, (*names, *labels["object"]), "--target", "style or object")
        names = (target,) if target in names else names
    table = _table("style", "pictures", "objects without any")
    rows = {s: {o: n for (style, o), n in counts.items() if style == s} for s in names}
    for style, row in sorted(rows.items(), key=lambda item: sum(item[1].values()))[:SHOWN]:
        table.add_row(Text(style), f"{sum(row.values()):,}", str(sum(not n for n in row.values())))
    console.print(table)
    whole = sum(n >= CELL for n in counts.values())
    lines = [
        f"{sum(counts.values()):,} pictures; {whole:,} of {len(counts):,} cells are whole ({CELL} pictures)",
        f"in {'parquet files' if source.cells.packed else 'folders'}",
    ]
    if target is not None:
        shown = sum(n for cell, n in counts.items() if target in cell)
        lines.append(f"{shown:,} pictures show {target}; a run takes 400 of a style and 1,200 of an object")
    short = [f"{s}/{o}" for (s, o), n in counts.items() if n < CELL]
    if short:
        lines.append(f"{len(short):,} cells are short or missing, such as {', '.join(short[:5])}")
    return [*lines, *source.tally.notes()]


def _answers(console: Console, root: Path, styles: Styles, out: Path | None) -> list[str]:
    from razor_cli.data.answers import answers_in, wanted
    from razor_cli.data.kinds.unlearncanvas import canvas_names
    from razor_cli.writable import require_writable

    if out is not None:
        require_writable(out.parent, "--out")
    labels = canvas_names(styles, photographs=True)
    found = answers_in(root, labels["style"], labels["object"])
    there = set(found.there)
    rows = {s: wanted([s], labels["object"]) for s in labels["style"]}
    table = _table("style", "there", "missing", "unreadable")
    incomplete = {s: names for s, names in rows.items() if not there.issuperset(names)}
    missing = set(found.missing)
    for style, names in list(incomplete.items())[:SHOWN]:
        counts = [sum(n in part for n in names) for part in (there, missing, found.unreadable)]
        table.add_row(Text(style), *map(str, counts))
    if incomplete:
        console.print(table)
    total = len(found.there) + len(found.missing) + len(found.unreadable)
    lines = [
        f"{len(found.there):,} of {total:,} pictures are there, {len(found.missing):,} missing, "
        f"{len(found.unreadable):,} unreadable"
    ]
    if found.missing:
        lines.append(f"missing: {', '.join(found.missing[:SHOWN])}{_more(found.missing)}")
    flawed = [f"{name} ({why})" for name, why in found.unreadable.items()]
    if flawed:
        lines.append(f"unreadable: {', '.join(flawed[:SHOWN])}{_more(flawed)}")
    for what, odd in (("belong to no answer", found.strange), ("are there several times", found.repeated)):
        if odd:
            lines.append(f"{len(odd):,} pictures {what}, such as {odd[0]}")
    if out is not None:
        from razor_cli.runs.folder import write_atomic

        write_atomic(out, "".join(f"{name}\n" for name in (*found.missing, *found.unreadable)))
        lines.append(f"missing and unreadable names are in {out}")
    return lines


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""


def _table(first: str, *others: str) -> Table:
    return Table(first, *(Column(name, justify="right") for name in others), box=None, pad_edge=False)
