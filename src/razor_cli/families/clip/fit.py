"""Stored tensors and a module: do they fit, into it, and what they are called by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from razor_cli.errors import WeightsError
from razor_cli.weights.files import is_finite

OTHER_ARCHITECTURE = "set model.architecture to the one the file was made for"
UNSTORED = ("position_ids", "attn_mask")  # buffers that old files hold and nobody needs


def fill(module: nn.Module, stored: Mapping[str, Tensor], what: str, fix: str = OTHER_ARCHITECTURE) -> None:
    """Copy a checkpoint into a module in fp32, running statistics of batch norms included; raises
    WeightsError as `fitted` does, and for statistics that are not stored.
    """
    found = fitted(module, stored, what, fix)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(found[name])
        for name, buffer in statistics_of(module).items():
            buffer.copy_(_statistic(stored, name, buffer, what))


def statistics_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the running means and variances of a module's batch norms: they decide answers and are no
    parameters.
    """
    return {n: b for n, b in module.named_buffers() if n.endswith(("running_mean", "running_var"))}


def _statistic(stored: Mapping[str, Tensor], name: str, buffer: Tensor, what: str) -> Tensor:
    value = stored.get(name)
    if value is None or value.shape != buffer.shape or not value.is_floating_point() or not is_finite(value):
        found = "nothing" if value is None else f"{value.dtype} {tuple(value.shape)}"
        raise WeightsError(
            f"{what}: a running statistic of a batch norm does not fit",
            allowed=f"finite numbers {tuple(buffer.shape)}",
            found=f"{name}: {found}",
            fix="save the weights again, with everything in the model's state",
        )
    return value


def fitted(
    module: nn.Module, stored: Mapping[str, Tensor], what: str, fix: str = OTHER_ARCHITECTURE
) -> dict[str, Tensor]:
    """Return the stored values of a module's parameters, in their shapes.

    A single number may be stored as a vector of one, as sharded training does. Raises WeightsError unless
    names and shapes agree exactly otherwise (buffers that nobody stores aside), and unless all values are
    finite numbers; `fix` is what to do about another architecture.
    """
    wanted = {n: p.shape for n, p in module.named_parameters()}
    found = {n: _single(stored[n], shape) for n, shape in wanted.items() if n in stored}
    missing = sorted(set(wanted) - set(stored))
    extra = sorted(n for n in set(stored) - set(module.state_dict()) if not n.endswith(UNSTORED))
    wrong = [
        f"{n} {tuple(value.shape)} instead of {tuple(wanted[n])}"
        for n, value in found.items()
        if value.shape != wanted[n]
    ]
    if missing or extra or wrong:
        parts = (("missing", missing), ("unknown", extra), ("of another shape", wrong))
        raise WeightsError(
            f"{what}: the tensors do not fit",
            found="; ".join(f"{len(names)} {kind}: {', '.join(names[:3])}" for kind, names in parts if names),
            fix=_prefix_advice(missing, extra) or fix,
        )
    for name, value in found.items():
        if not value.is_floating_point() or not is_finite(value):
            kind = (
                "values that are not finite" if value.is_floating_point() else f"{value.dtype} for a weight"
            )
            raise WeightsError(
                f"{what}: {kind}", found=name, fix="save the weights again, as float16 or float32"
            )
    return found


def _single(value: Tensor, shape: torch.Size) -> Tensor:
    return value.reshape(shape) if value.numel() == 1 and shape.numel() == 1 else value


def _prefix_advice(missing: list[str], extra: list[str]) -> str | None:
    """Return what to do where the names differ in what stands before all of them, and in nothing else."""
    if not missing or len(missing) != len(extra):
        return None
    for whole, part, advice in (
        (extra, missing, "all begin with {}: take it off"),
        (missing, extra, "all lack {}: put it before them"),
    ):
        prefix = whole[0].removesuffix(part[0])
        if prefix != whole[0] and [prefix + name for name in part] == whole:
            return f"these names {advice.format(repr(prefix))}, and save the weights again"
    return None


def weights_digest(architecture: str, stored: Mapping[str, Tensor], salt: str = "") -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of a checkpoint as stored, and the
    architecture.

    `salt` stands for further files that decide answers (tokenizer, processor).
    """
    digest = hashlib.sha256((architecture + salt).encode())
    for name in sorted(stored):
        value = stored[name].detach().cpu().contiguous()
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
