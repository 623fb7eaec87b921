"""One file of weights: read as plain tensors, and written again with some of them changed.

Nothing is unpickled beyond tensors: safetensors, or `torch.load(weights_only=True)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from razor_cli.errors import WeightsError

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
WEIGHT_SUFFIXES = (".safetensors", *TORCH_SUFFIXES)


def read_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one weights file by name, in the dtype they are stored in (CPU).

    A `{"state_dict": …}` wrapper and a `module.` in front of all names are taken off. Raises WeightsError.
    """
    return _load(path)[0]


@dataclass(frozen=True)
class _Wrapping:
    """What was around the tensors of a torch file, so that it can be put back."""

    state_dict: bool = False
    prefix: str = ""


def _load(path: Path) -> tuple[dict[str, Tensor], _Wrapping]:
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path), _Wrapping()
        except (safetensors.SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is damaged or not a safetensors file", found=error) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged pickle raises nearly anything
        raise WeightsError(
            f"{path} cannot be read as plain weights",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="load it in the program that wrote it and save its state_dict() as .safetensors",
        ) from error
    wrapped = isinstance(content, dict) and isinstance(content.get("state_dict"), dict)
    state = content["state_dict"] if wrapped else content
    _check_tensors(path, state)
    prefix = "module." if state and all(name.startswith("module.") for name in state) else ""
    return {name[len(prefix) :]: tensor.detach() for name, tensor in state.items()}, _Wrapping(
        wrapped, prefix
    )


def _check_tensors(path: Path, state: object) -> None:
    fix = "save the model's state_dict() alone"
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds no state dict", found=type(state).__name__, fix=fix)
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(
                f"{path} holds an entry that is not a named tensor",
                found=f"{name!r}: {type(tensor).__name__}",
                fix=fix,
            )
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise WeightsError(
                f"{path} holds a sparse or quantized tensor",
                found=name,
                fix="save the weights before quantization",
            )


def rewrite(file: Path, target: Path, changed: Mapping[str, Tensor]) -> None:
    """Write one weights file again as `target`, of the kind that its name ends with, with `changed` replaced.

    Of a torch file only the weights go over.
    """
    state, wrapping = _load(file)
    state = {name: changed.get(name, tensor).contiguous() for name, tensor in state.items()}
    if file.suffix != ".safetensors":
        # Tensors of torch files may share storage: torch.save would write all of it, a neighbour's old values
        # with it.
        state = {name: tensor.clone() for name, tensor in state.items()}
    if target.suffix == ".safetensors":
        safetensors.torch.save_file(state, target, metadata=_metadata(file) | {"format": "pt"})
        return
    named = {wrapping.prefix + name: tensor for name, tensor in state.items()}
    torch.save({"state_dict": named} if wrapping.state_dict else named, target)


def _metadata(file: Path) -> dict[str, str]:
    if file.suffix != ".safetensors":
        return {}
    with safetensors.safe_open(file, framework="pt") as opened:
        return dict(opened.metadata() or {})
