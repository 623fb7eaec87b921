"""`razor data prepare cifar10 | build compcars, imgnetdogs, levels | inspect | check | clean | judge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from razor_cli.commands.data_check import check
from razor_cli.commands.data_clean import clean
from razor_cli.commands.data_judge import judge
from razor_cli.screen import Screen

if TYPE_CHECKING:
    from razor_cli.data.builders import Built
    from razor_cli.data.sets import ConceptSets
    from razor_cli.data.sources.folder import Folder
    from razor_cli.data.sources.webdataset import WebDataset

app = typer.Typer(no_args_is_help=True, help="Fetch data sets, and look at your own pictures before a run.")
prepare = typer.Typer(
    no_args_is_help=True, help="Fetch a data set once, into the place where runs look for it."
)
app.add_typer(prepare, name="prepare")
build = typer.Typer(
    no_args_is_help=True, help="Write the taxonomy of a data set: which class is whose parent."
)
app.add_typer(build, name="build")
app.command("check")(check)
app.command("clean")(clean)
app.command("judge")(judge)


@prepare.callback()
def _prepare() -> None:
    """Fetch a data set once, into the place where runs look for it."""


@prepare.command("cifar10")
def prepare_cifar10(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Copy from this folder (parquet or binary files), not the hub."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Where it goes; runs then need data.cifar_root=DIR.")
    ] = None,
) -> None:
    """Fetch CIFAR-10 (60,000 photographs, 140 MB) from the hub, or copy it from a folder, and check it."""
    from razor_cli.data.fetch import prepare_cifar10 as fetch
    from razor_cli.data.prepared import prepared
    from razor_cli.writable import require_writable

    place = to or prepared("cifar10")
    if not place.exists():
        require_writable(place.parent, "--to")
    new = fetch(place.absolute(), source)
    console = Screen(highlight=False, soft_wrap=True)
    console.print(
        Text(f"CIFAR-10 {'is now' if new else 'was already'} at {place} (50,000 train, 10,000 test; checked)")
    )
    if to is not None:
        console.print(Text(f"use it with data.cifar_root={place}"))


Out = Annotated[Path | None, typer.Option("--out", help="The CSV file; taxonomy.csv in --root if not given.")]


@build.command("compcars")
def build_compcars(
    root: Annotated[
        Path,
        typer.Option("--root", help="CompCars: image/<make>/<model>/<year>/*.jpg, misc/make_model_name.mat."),
    ],
    out: Out = None,
    min_pictures: Annotated[
        int, typer.Option("--min-pictures", help="Models with fewer are left out.", min=1)
    ] = 50,
    make: Annotated[
        list[str] | None,
        typer.Option("--make", help="A make to keep; may be repeated; else the 48 published."),
    ] = None,
) -> None:
    """Write the taxonomy of CompCars-S: models below makes, for scenario=fine_grained data=compcars."""
    from razor_cli.data.builders import compcars_taxonomy, read_compcars

    _try_out(out, root)
    _write(compcars_taxonomy(*read_compcars(root), wanted=make, min_pictures=min_pictures), out, root)


@build.command("imgnetdogs")
def build_imgnetdogs(
    root: Annotated[
        Path, typer.Option("--root", help="ImageNet: a folder per synset (n02099601), also below train/.")
    ],
    wordnet: Annotated[
        Path, typer.Option("--wordnet", help="WordNet 3.0's data.noun, or wordnet.is_a.txt and words.txt.")
    ],
    out: Out = None,
) -> None:
    """Write the taxonomy of ImgnetDogs: breeds below their parents in WordNet, for scenario=fine_grained
    data=imgnetdogs.
    """
    from razor_cli.data.builders import dog_taxonomy, read_synsets, read_wordnet

    _try_out(out, root)
    _write(dog_taxonomy(read_wordnet(wordnet), read_synsets(root)), out, root)


def _try_out(out: Path | None, root: Path) -> None:
    """Raise ConfigError before anything is read where the taxonomy could not be written."""
    from razor_cli.writable import require_writable

    if out is not None or root.is_dir():  # a root that is none is said by what reads it
        require_writable(out.parent if out else root, "--out")


def _write(built: Built, out: Path | None, root: Path) -> None:
    from razor_cli.data.taxonomy import FILE, write_branches
    from razor_cli.errors import DataError

    console = Screen(highlight=False, soft_wrap=True)
    console.print(Text(built.summary()))
    if not built.branches:
        raise DataError(f"no class of {built.name} below '{root}'", found=built.summary())
    place = out or root / FILE
    write_branches(place, built.branches)
    console.print(Text(f"written to {place}; use it with data.taxonomy={place}"))


@build.command("levels")
def build_levels(
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings as of razor-run: scenario=fine_grained data=…")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write a CSV file: class, parent, confidence, level.")
    ] = None,
) -> None:
    """Show which classes are difficult, medium and easy to forget: how sure the unedited model is of each, on
    validation.
    """
    from razor_cli.config.command_line import read
    from razor_cli.config.compose import checked
    from razor_cli.studies.levels import difficulty_csv, difficulty_of
    from razor_cli.writable import require_writable

    if out is not None:
        require_writable(out.parent, "--out")
    found = difficulty_of(checked(read(["scenario=fine_grained", *(settings or [])])))
    console = Screen(highlight=False, soft_wrap=True)
    table = Table(
        *("level", "class", "parent"), Column("mean confidence", justify="right"), box=None, pad_edge=False
    )
    for row in found:
        table.add_row(row.level or "-", Text(row.name), Text(row.parent), f"{row.confidence:.3f}")
    console.print(table)
    if out is not None:
        from razor_cli.runs.folder import write_atomic

        write_atomic(out, difficulty_csv(found))


@app.command()
def inspect(
    root: Annotated[Path, typer.Option("--root", help="data.root: DIR/<concept>/*.jpg, or tar shards.")],
    target: Annotated[
        str | None, typer.Option("--target", help="Show the sets that a run on this target would use.")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option("--alias", help="Another name of the target; may be repeated.")
    ] = None,
    retain_root: Annotated[
        Path | None, typer.Option("--retain-root", help="data.retain_root of that run.")
    ] = None,
    cifar_root: Annotated[
        Path | None, typer.Option("--cifar-root", help="data.cifar_root; the prepared place if not given.")
    ] = None,
    domain: Annotated[str, typer.Option("--domain", help="person or object.")] = "person",
) -> None:
    """Read every picture under a folder: counts, corrupt files, duplicates, and what a run would use."""
    console = Screen(highlight=False, soft_wrap=True)
    from razor_cli.data.sources.webdataset import WebDataset

    shards = WebDataset.holds(root)
    notes = _shards(console, root) if shards else _concepts(console, root)
    for note in notes or ["no corrupt files, no duplicates"]:
        console.print(Text(note))
    if target is not None:
        from razor_cli.data.ask import Ask
        from razor_cli.data.kinds import own

        kind = own.WebDataset if shards else own.Folder
        data = kind(root=root, retain_root=retain_root, cifar_root=cifar_root, aliases=alias or [])
        _plan(console, data.sets(Ask(target=target, domain=domain)))


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


def _plan(console: Console, sets: ConceptSets) -> None:
    """Print the sizes of the sets that a run would use, and what there is to know about them."""
    from razor_cli.data.disjoint import six_sets

    table = _table("set", "pictures", "hash")
    for name, pairs in six_sets(sets).items():
        table.add_row(name.replace("_", " "), str(len(pairs)), pairs.fingerprint()[:12])
    console.print()
    console.print(
        Text(
            f"target {sets.target}: {len(sets.class_names)} names to choose among, all sets disjoint by "
            "content"
        )
    )
    console.print(table)
    for note in sets.notes:
        console.print(Text(note))


def _table(first: str, *others: str) -> Table:
    return Table(first, *(Column(name, justify="right") for name in others), box=None, pad_edge=False)
