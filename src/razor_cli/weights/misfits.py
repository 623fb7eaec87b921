"""Why a patch does not belong to weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from razor_cli.weights.checkpoint import combined_hash, dtype_name, tensor_hashes
from razor_cli.weights.parted import BESIDE, bound, strangers
from razor_cli.weights.patch_format import PatchHeader


def misfits(header: PatchHeader, state: Mapping[str, Tensor]) -> list[str]:
    """Return every reason why a patch does not belong to these weights; empty where it does."""
    own = bound(state, header.tensors)
    hashes = tensor_hashes(own)
    current = combined_hash(hashes)
    if header.tensors and current == header.new_hash:
        return ["these weights already have the values of this file"]
    problems = []
    for name, entry in header.tensors.items():
        if name not in state:
            problems.append(f"{name}: unknown to these weights")
        elif dtype_name(state[name]) != entry.dtype:
            problems.append(
                f"{name}: the base is stored as {dtype_name(state[name])}, the patch was made for "
                f"{entry.dtype}"
            )
        elif tuple(state[name].shape) != entry.shape:
            problems.append(
                f"{name}: the base has shape {list(state[name].shape)}, the patch {list(entry.shape)}"
            )
        elif hashes[name] != entry.base_sha256:
            problems.append(f"{name}: the base has other values than those the patch was made from")
    if not problems and current != header.base_hash:
        problems.append(
            "tensors that the patch does not change differ from those of the weights it was made for"
        )
    promised = combined_hash(hashes | {name: entry.new_sha256 for name, entry in header.tensors.items()})
    if not problems and promised != header.new_hash:
        problems.append("the header promises other weights than its values give")
    return problems + [
        f"{part}: another one than in the run, in which the edit was found and scored"
        for part in strangers(state, header.settings.get(BESIDE))
    ]
