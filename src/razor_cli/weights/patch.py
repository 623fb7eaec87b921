"""Verify, apply and revert patches, exact to the bit; what writes them is named here as well.

A patch is one way: it holds new values and hashes, no old value. The undo file that `apply` writes beside its
output is the same format turned round. Whatever is refused is refused before anything is written; outputs
appear whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from razor_cli.atomic import move_into_place, settle, staged
from razor_cli.errors import PatchError, RunError
from razor_cli.weights.checkpoint import (
    WEIGHT_SUFFIXES,
    combined_hash,
    find_layout,
    read_state,
    state_hash,
    tensor_hashes,
)
from razor_cli.weights.contained import fitted
from razor_cli.weights.layout import Layout
from razor_cli.weights.misfits import misfits
from razor_cli.weights.parted import bound
from razor_cli.weights.patch_format import PatchHeader, pack, read_patch, target_hash
from razor_cli.weights.patch_write import write_patch
from razor_cli.writable import require_writable

__all__ = [
    "PatchHeader",
    "apply",
    "misfits",
    "read_patch",
    "revert",
    "reverted_names",
    "target_hash",
    "undo_path_for",
    "verify",
    "write_patch",
]


def verify(
    patch_path: str | Path,
    base_path: str | Path,
    *,
    companion: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Return why a patch (or undo file) does not fit these weights, [] where it does; raises PatchError if it
    is damaged. `companion`: see `apply`.
    """
    source = find_layout(base_path)
    found = fitted(source, *read_patch(patch_path), companion)
    for note in found.notes:
        say(note)
    return misfits(found.header, source.read())


def undo_path_for(out_path: str | Path) -> Path:
    """Return where `apply` puts the undo file of an output: beside it."""
    out = Path(out_path)
    return out.with_name(f"{out.name}.undo.safetensors")


def apply(
    patch_path: str | Path,
    base_path: str | Path,
    out_path: str | Path,
    *,
    undo: bool = True,
    force: bool = False,
    link: bool = False,
    companion: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the patched weights to `out_path` in the layout of the base, with the undo file beside them, and
    return the path.

    A weights file gives a file of its own kind or .safetensors; a folder gives a folder. `force` lets an
    existing output file and its undo file be replaced (never the base, the patch, or a folder); with `link`
    files of a folder in which nothing changes are no copies but second names.
    `companion` are the weights that the patch was made for, where the base contains a part of them; `say` is
    told what comes of that. Raises PatchError or WeightsError before anything is written.
    """
    asked = _read_kind(patch_path, "patch")
    settle(Path(out_path).parent)
    source, out = find_layout(base_path), Path(out_path)
    undo_path = undo_path_for(out)
    _check_output(source, [out, undo_path], inputs=[Path(patch_path)], force=force)
    found = fitted(source, *asked, companion)
    header, values, state = found.header, found.values, source.read()
    _refuse_misfit(header, state, patch_path, base_path)
    for note in found.notes:
        say(note)
    with staged(out) as part:
        _write_checked(source, part, values, header.new_hash, link=link)
        if undo:
            old = {name: state[name].contiguous().clone() for name in values}
            undo_part = part.with_name(undo_path.name)
            undo_part.touch(mode=0o600)  # what was to be forgotten: for its owner alone, like the weights
            undo_part.write_bytes(pack(header.turned_round(), old))
            move_into_place([undo_part, part])
        else:  # with force: what lies there belongs to the output that is replaced
            move_into_place([part], without=[undo_path] if undo_path.exists() else [])
    return out


def revert(
    patched_path: str | Path,
    out_path: str | Path,
    *,
    undo_path: str | Path | None = None,
    base_path: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Write the weights as they were before the patch, bit for bit, in the layout of the patched ones.

    The old values come from the undo file or from the base weights. Raises PatchError where neither or both
    are given, or where they do not belong to the patched weights.
    """
    for path in (patched_path, out_path, undo_path or base_path or ""):
        settle(Path(path).parent)
    source, out = find_layout(patched_path), Path(out_path)
    if (undo_path is None) == (base_path is None):
        raise PatchError(
            "revert needs the undo file or the base weights, and one of them only",
            fix="give --undo FILE or --base WEIGHTS",
        )
    given = Path(undo_path or base_path or "")
    _check_output(source, [out], inputs=[given], force=force)
    if undo_path is not None:
        header, old = _read_kind(undo_path, "undo")
        _refuse_misfit(header, source.read(), undo_path, patched_path)
        wanted = header.new_hash
    else:
        old, wanted = _from_base(source, given)
    with staged(out) as part:
        _write_checked(source, part, old, wanted)
        move_into_place([part])
    return out


def reverted_names(
    patched_path: str | Path, *, undo_path: str | Path | None = None, base_path: str | Path | None = None
) -> list[str]:
    """Return the tensors that `revert` gives back with these arguments."""
    if undo_path is not None:
        return list(read_patch(undo_path)[0].tensors)
    now, then = read_state(patched_path), read_state(base_path or patched_path)
    return [name for name in then if not torch.equal(now[name], then[name])]


def _from_base(patched: Layout, base_path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the base's values where they differ from the patched ones, and the hash of the whole base."""
    state, base = patched.read(), read_state(base_path)
    strays = sorted(state.keys() ^ base.keys())
    strays += [
        n for n in state if n in base and (state[n].dtype, state[n].shape) != (base[n].dtype, base[n].shape)
    ]
    if strays:
        raise PatchError(
            f"{base_path} is not the base of {patched.path}: names, dtypes or shapes differ", found=strays[0]
        )
    now, then = tensor_hashes(state), tensor_hashes(base)
    changed = {name: base[name] for name in base if now[name] != then[name]}
    return changed, combined_hash({name: then[name] for name in bound(base, changed)})


def _read_kind(path: str | Path, kind: str) -> tuple[PatchHeader, dict[str, Tensor]]:
    header, values = read_patch(path)
    if header.kind != kind:
        fix = (
            "use `razor patch revert --undo`"
            if kind == "patch"
            else "use `razor patch apply`, or give the undo file"
        )
        raise PatchError(
            f"{path} is not {'an undo' if kind == 'undo' else 'a patch'} file",
            allowed=kind,
            found=header.kind,
            fix=fix,
        )
    return header, values


def _refuse_misfit(
    header: PatchHeader, state: Mapping[str, Tensor], path: str | Path, weights: str | Path
) -> None:
    if problems := misfits(header, state):
        shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise PatchError(
            f"{path} does not belong to {weights}",
            found=shown,
            fix="give the very weights that it was made from",
        )


def _check_output(source: Layout, outs: Sequence[Path], *, inputs: Sequence[Path], force: bool) -> None:
    """Refuse an output that would touch what is read, that exists, or whose kind does not go with the
    source's.
    """
    out = outs[0]
    for path in outs:
        for given in (source.path, *source.files, *inputs):
            if path.resolve() == given.resolve() or (path.exists() and path.samefile(given)):
                raise PatchError(
                    f"the output {path} is one of the inputs, which are never overwritten",
                    fix="name another --out",
                )
            if given.is_dir() and path.resolve().is_relative_to(given.resolve()):
                raise PatchError(
                    f"the output {path} lies inside the folder {given} that is read", fix="name another --out"
                )
        replaceable = not path.is_dir() and not (source.is_folder and path is out)
        if path.exists() and not (force and replaceable):
            fix = "name another --out" + (", or give --force to replace it" if replaceable else "")
            raise PatchError(f"{path} exists already", fix=fix)
    allowed = () if source.is_folder else (".safetensors", source.path.suffix)
    if out.suffix not in allowed and (not source.is_folder or out.suffix in WEIGHT_SUFFIXES):
        raise PatchError(
            f"the output {out} is not of the kind of {source.path}",
            allowed=" or ".join(dict.fromkeys(allowed)) or "a folder",
            fix="name another --out",
        )
    require_writable(out.parent, "--out")


def _write_checked(
    source: Layout, part: Path, changed: Mapping[str, Tensor], wanted: str, *, link: bool = False
) -> None:
    try:
        source.write(part, changed, link=link)
    except OSError as error:
        raise RunError(
            f"the weights could not be written beside {part.parent.parent / part.name}; nothing was kept",
            found=error,
            fix="make room on the disk, then run again",
        ) from error
    if state_hash(bound(read_state(part), changed)) != wanted:
        raise RunError(
            f"the weights written from {source.path} are not what the header promises; nothing was kept",
            fix="check the disk, then run again",
        )
