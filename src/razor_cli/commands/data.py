"""`razor data prepare cifar10 | inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from razor_cli.data.sources.folder import Folder
    from razor_cli.data.sources.webdataset import WebDataset

app = typer.Typer(no_args_is_help=True, help="Fetch data sets, and look at your own pictures before a run.")
prepare = typer.Typer(no_args_is_help=True, help="Fetch a data set once, into the place where runs look for it.")
app.add_typer(prepare, name="prepare")


@prepare.callback()
def _prepare() -> None:
    """Fetch a data set once, into the place where runs look for it."""


@prepare.command("cifar10")
def prepare_cifar10(
    source: Annotated[
        Path | None, typer.Option("--from", help="Copy from this folder (parquet or binary files), not the hub.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Where it goes; runs then need data.cifar_root=DIR.")] = None,
) -> None:
    """Fetch CIFAR-10 (60,000 photographs, 140 MB) from the hub, or copy it from a folder, and check it."""
    from razor_cli.data.fetch import prepare_cifar10 as fetch
    from razor_cli.data.prepared import prepared

    place = to or prepared("cifar10")
    new = fetch(place.absolute(), source)
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(f"CIFAR-10 {'is now' if new else 'was already'} at {place} (50,000 train, 10,000 test; checked)"))
    if to is not None:
        console.print(Text(f"use it with data.cifar_root={place}"))


@app.command()
def inspect(
    root: Annotated[Path, typer.Option("--root", help="data.root: DIR/<concept>/*.jpg, or tar shards.")],
    target: Annotated[str | None, typer.Option("--target", help="Show the sets that a run on this target would use.")] = None,
    alias: Annotated[list[str] | None, typer.Option("--alias", help="Another name of the target; may be repeated.")] = None,
    retain_root: Annotated[Path | None, typer.Option("--retain-root", help="data.retain_root of that run.")] = None,
    cifar_root: Annotated[
        Path | None, typer.Option("--cifar-root", help="data.cifar_root; the prepared place if not given.")
    ] = None,
    domain: Annotated[str, typer.Option("--domain", help="person or object.")] = "person",
) -> None:
    """Read every picture under a folder: counts, corrupt files, duplicates, and what a run would use."""
    console = Console(highlight=False, soft_wrap=True)
    shards = root.is_file() or (root.is_dir() and any(root.rglob("*.tar")))
    notes = _shards(console, root) if shards else _concepts(console, root)
    for note in notes or ["no corrupt files, no duplicates"]:
        console.print(Text(note))
    if target is not None:
        _plan(console, "webdataset" if shards else "folder", root, target, tuple(alias or ()), retain_root, cifar_root, domain)


def _concepts(console: Console, root: Path) -> list[str]:
    """Print the counts of a folder per concept, and return its notes."""
    from razor_cli.data.sources.folder import Folder

    folder = Folder(root)
    table = _table("concept", "pictures", "forget or retain", "validation", "evaluation")
    for concept in folder.concepts():
        counts = [len(part) for part in _parts(folder, concept)]
        table.add_row(Text(concept), str(sum(counts)), *map(str, counts))
    console.print(table)
    return folder.tally.notes()


def _parts(folder: Folder, concept: str) -> list[list[object]]:
    return [list(folder.pictures(concept, split)) for split in ("train", "validation", "evaluation")]


def _shards(console: Console, root: Path) -> list[str]:
    """Print the counts of tar shards, and return their notes. Pictures are not decoded."""
    from razor_cli.data.sources.webdataset import WebDataset

    source: WebDataset = WebDataset(root)
    table = _table("shard", "captioned pictures")
    counts = [0] * len(source.shards)
    for entry in source.entries:
        counts[entry.shard] += 1
    for shard, count in zip(source.shards, counts, strict=True):
        table.add_row(Text(shard.name), f"{count:,}")
    console.print(table)
    return source.tally.notes() or ["no damaged shards; pictures are checked when they are drawn"]


def _plan(
    console: Console,
    kind: str,
    root: Path,
    target: str,
    aliases: tuple[str, ...],
    retain_root: Path | None,
    cifar_root: Path | None,
    domain: str,
) -> None:
    """Print the sizes of the sets that a run would use, and what there is to know about them."""
    from razor_cli.data.build import Kind, build_sets
    from razor_cli.data.disjoint import six_sets

    sets = build_sets(
        kind=Kind(kind),
        target=target,
        domain=domain,
        aliases=aliases,
        root=root,
        retain_root=retain_root,
        cifar_root=cifar_root or "auto",
    )
    table = _table("set", "pictures", "hash")
    for name, pairs in six_sets(sets).items():
        table.add_row(name.replace("_", " "), str(len(pairs)), pairs.fingerprint()[:12])
    console.print()
    console.print(Text(f"target {sets.target}: {len(sets.class_names)} names to choose among, all sets disjoint by content"))
    console.print(table)
    for note in sets.notes:
        console.print(Text(note))


def _table(first: str, *others: str) -> Table:
    return Table(first, *(Column(name, justify="right") for name in others), box=None, pad_edge=False)
