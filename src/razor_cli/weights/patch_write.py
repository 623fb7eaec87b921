"""Write a patch: the new values as the base stores them, with the hashes of what they replace."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from razor_cli import __version__
from razor_cli.atomic import move_into_place, staged
from razor_cli.errors import PatchError, RunError
from razor_cli.weights.checkpoint import combined_hash, dtype_name, tensor_hash, tensor_hashes
from razor_cli.weights.files import is_finite
from razor_cli.weights.parted import BESIDE, beside, bound
from razor_cli.weights.patch_format import (
    PatchHeader,
    TensorEntry,
    first_problem,
    name_problem,
    pack,
    target_hash,
)

LIBRARIES = ("torch", "safetensors")  # beside those of the model's family


def write_patch(
    path: str | Path,
    values: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    *,
    method: str,
    target: str | None,
    name_target: bool = False,
    settings: Mapping[str, object] | None = None,
    libraries: Sequence[str] = (),
) -> PatchHeader:
    """Write the patch that turns `base` into `base` with `values`, atomically, and return its header.

    `base` is the whole state as stored (`checkpoint.read_state` of the weights). Values equal to the base are
    left out; names that share memory in `base` all get the new values. Of weights in parts the header holds
    those that change tensor by tensor, and the others by a hash each among its settings. `target` is stored
    as a hash, and by name only with `name_target`; `settings` are JSON values and must not name it;
    `libraries` are those whose versions are kept. Raises PatchError for unknown names, other shapes, and
    values that the base's dtype cannot hold, RunError for values that are not finite.
    """
    stored = _as_stored(values, bound(base, values) if values else base)
    after = {n: digest for n, digest in tensor_hashes(stored).items() if digest != tensor_hash(base[n])}
    before = tensor_hashes(bound(base, after))
    untouched = beside(base, after)
    entries = {
        name: TensorEntry(
            dtype=dtype_name(stored[name]),
            shape=tuple(stored[name].shape),
            base_sha256=before[name],
            new_sha256=after[name],
        )
        for name in sorted(after)
    }
    try:
        header = PatchHeader(
            created_by=f"razor-cli {__version__}",
            versions=_versions(libraries),
            method=method,
            settings=_plain(dict(settings or {}) | ({BESIDE: untouched} if untouched else {})),
            target_sha256=None if target is None else target_hash(target),
            target=target if name_target else None,
            base_hash=combined_hash(before),
            new_hash=combined_hash(before | after),
            tensors=entries,
        )
    except (ValidationError, TypeError, ValueError) as error:
        raise PatchError(
            "the patch's header cannot be written",
            found=first_problem(error),
            fix="settings are JSON values; texts are printable",
        ) from error
    content = pack(header, {name: stored[name] for name in entries})
    with staged(Path(path)) as part:
        part.write_bytes(content)
        move_into_place([part])
    return header


def _plain(settings: Mapping[str, object]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(settings, allow_nan=False))
    return found


def _versions(more: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in (*LIBRARIES, *more):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _as_stored(values: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the values in the base's dtypes, under every name that shares the tensor's memory in
    the base.
    """
    for name in values:
        if problem := name_problem(name):
            raise PatchError(f"tensor name {name!r} {problem}")
        if name not in base:
            raise PatchError(f"the edit changes {name}, which the base weights do not hold")
    aliases: dict[object, list[str]] = {}
    for name, tensor in base.items():
        aliases.setdefault(_memory(name, tensor), []).append(name)
    stored: dict[str, Tensor] = {}
    for name, value in values.items():
        exact = _exact(name, value, base[name])
        for alias in aliases[_memory(name, base[name])]:
            if alias in stored and tensor_hash(stored[alias]) != tensor_hash(exact):
                raise PatchError(
                    "two names of one tied tensor get different values", found=f"{name}, {alias}"
                )
            stored[alias] = exact.clone()
    return stored


def _memory(name: str, tensor: Tensor) -> object:
    """Return a key that is equal for names of the same tensor in memory."""
    if tensor.numel() == 0 or tensor.device.type == "meta":
        return name
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())


def _exact(name: str, value: Tensor, base: Tensor) -> Tensor:
    value = value.detach().cpu()
    if value.numel() == base.numel() == 1:  # sharded training stores a single number as a vector of one
        value = value.reshape(base.shape)
    if not is_finite(value):
        raise RunError(f"the new values of {name} are not finite", fix="check the edit's step size")
    if value.shape != base.shape:
        raise PatchError(
            f"the new values of {name} have another shape", allowed=list(base.shape), found=list(value.shape)
        )
    if value.dtype == base.dtype:
        return value.contiguous()
    cast = value.to(base.dtype)
    if not (
        value.is_floating_point() and base.is_floating_point() and torch.equal(cast.to(value.dtype), value)
    ):
        raise PatchError(
            f"the new values of {name} cannot be stored exactly in the dtype of the base weights",
            allowed=f"values that {dtype_name(base)} holds exactly",
            found=dtype_name(value),
            fix="round the values to the storage dtype before they are evaluated",
        )
    return cast.contiguous()
