"""`razor patch show | verify | apply | revert`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from razor_cli.printing import say
from razor_cli.screen import Screen

if TYPE_CHECKING:
    from razor_cli.weights.patch_format import PatchHeader

app = typer.Typer(no_args_is_help=True, help="Show, verify, apply and revert patches.")

PatchFile = Annotated[Path, typer.Argument(help="Patch (or undo) file, .safetensors.")]
Base = Annotated[
    Path,
    typer.Option(
        "--base",
        help="Unedited weights: a file, a folder of a model or of diffusers, or the name of a stand-in.",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", help="Where the weights go: a file for a file, a folder for a folder.")
]
Companion = Annotated[
    Path | None,
    typer.Option(
        "--companion",
        help="For a patch of a CLIP whose image tower the base contains: that CLIP (default: BASE_clip).",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace an output file that exists (never an input, never a folder).")
]


@app.command()
def show(patch: PatchFile) -> None:
    """Check a patch file by itself and print its header and its tensors."""
    from razor_cli.runs.voucher import require_vouched
    from razor_cli.weights.patch import read_patch

    require_vouched(patch)
    header, values = read_patch(patch)
    console = Screen(highlight=False)
    console.print(_header_table(header))
    # Text, not markup: names and settings come from the file.
    table = Table("tensor", "dtype", "shape", Column("bytes", justify="right"), box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for name, entry in header.tensors.items():
        shape = " × ".join(map(str, entry.shape)) or "scalar"
        table.add_row(Text(name), Text(entry.dtype), shape, Text(f"{values[name].nbytes:,}", justify="right"))
    console.print(table)
    for line in _by_part(header):
        console.print(line)
    console.print(
        f"{len(values)} tensors, {sum(v.nbytes for v in values.values()):,} bytes; every value matches "
        "its hash"
    )


def _header_table(header: PatchHeader) -> Table:
    from razor_cli.weights.parted import BESIDE

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    target = header.target or ("not named" if header.target_sha256 else "none")
    rows = {
        "kind": f"{header.kind}, format {header.format_version}",
        "made by": header.created_by,
        "libraries": ", ".join(f"{name} {version}" for name, version in sorted(header.versions.items())),
        "method": header.method,
        "settings": json.dumps({k: v for k, v in header.settings.items() if k != BESIDE}, sort_keys=True),
        "target": target,
        "target sha256": header.target_sha256 or "none",
        "before": header.base_hash,
        "after": header.new_hash,
    }
    for label, value in rows.items():
        table.add_row(label, Text(value))
    return table


def _by_part(header: PatchHeader) -> list[str]:
    """Return how many tensors of each part change, of a patch for weights in parts; and which parts stay."""
    from razor_cli.weights.parted import BESIDE, part_of

    stay = header.settings.get(BESIDE)
    if not isinstance(stay, dict):
        return []
    changed = Counter(map(part_of, header.tensors))
    lines = [f"{part}: {count} tensors change" for part, count in changed.items()]
    return [*lines, *(f"{part}: stays, and must be the one of the run ({stay[part]})" for part in stay)]


@app.command()
def verify(patch: PatchFile, base: Base, companion: Companion = None) -> None:
    """Check that a patch is whole and belongs to these weights; exit code 2 with the reasons where it does
    not.
    """
    from razor_cli.errors import PatchError
    from razor_cli.runs.voucher import require_vouched
    from razor_cli.weights.patch import read_patch
    from razor_cli.weights.patch import verify as verify_patch

    require_vouched(patch)
    if problems := verify_patch(patch, base, companion=companion, say=say):
        raise PatchError(
            f"{patch} does not belong to {base}",
            found="\n".join(problems),
            fix="give the weights that it was made from, as they were before it",
        )
    say(f"{patch} is whole and belongs to {base}")
    for line in _by_part(read_patch(patch)[0]):
        say(line)


@app.command()
def apply(
    patch: PatchFile,
    base: Base,
    out: Out,
    no_undo: Annotated[
        bool, typer.Option("--no-undo", help="Write no undo file: going back then needs the base weights.")
    ] = False,
    link: Annotated[
        bool,
        typer.Option(
            "--link",
            help="Files in which nothing changes get a second name, not a copy.",
        ),
    ] = False,
    companion: Companion = None,
    force: Force = False,
) -> None:
    """Write the patched weights, in the layout of the base, with an undo file beside them."""
    from razor_cli.runs.voucher import require_vouched
    from razor_cli.weights.checkpoint import find_layout
    from razor_cli.weights.patch import apply as apply_patch
    from razor_cli.weights.patch import read_patch, undo_path_for

    require_vouched(patch)
    how: dict[str, Any] = {"undo": not no_undo, "force": force, "link": link}
    say(f"weights: {apply_patch(patch, base, out, companion=companion, say=say, **how)}")
    say(
        "undo:    none"
        if no_undo
        else f"undo:    {undo_path_for(out)} (holds what was removed: do not pass it on)"
    )
    _echo_left_out(find_layout(base).left_out(read_patch(patch)[0].tensors))


@app.command()
def revert(
    patched: Annotated[Path, typer.Argument(help="Patched weights: a file or a folder.")],
    out: Out,
    undo: Annotated[Path | None, typer.Option("--undo", help="Undo file that `apply` wrote.")] = None,
    base: Annotated[
        Path | None, typer.Option("--base", help="Unedited weights, instead of the undo file.")
    ] = None,
    force: Force = False,
) -> None:
    """Write the weights as they were before the patch, bit for bit."""
    from razor_cli.weights.checkpoint import find_layout
    from razor_cli.weights.patch import revert as revert_patch
    from razor_cli.weights.patch import reverted_names

    say(f"weights: {revert_patch(patched, out, undo_path=undo, base_path=base, force=force)}")
    names = reverted_names(patched, undo_path=undo, base_path=base)
    _echo_left_out(find_layout(patched).left_out(names))


def _echo_left_out(names: list[str]) -> None:
    if names:
        say(f"not copied (other weights, or histories that may hold them): {', '.join(names)}")
