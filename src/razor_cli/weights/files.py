"""One file of weights: read as plain tensors, and written again with some of them changed.

Nothing is unpickled beyond tensors: safetensors, or `torch.load(weights_only=True)`. What is accepted does
not depend on the file's ending.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from razor_cli.errors import WeightsError

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
WEIGHT_SUFFIXES = (".safetensors", *TORCH_SUFFIXES)
MAX_HEADER_BYTES = 8 * 2**20  # of a safetensors file: 60,000 tensors fit
WRAPPED = "module."  # what data-parallel training puts before every name
COMPUTED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # other floats have no arithmetic


def read_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one weights file by the names in it, in the dtype they are stored in (CPU).

    A `{"state_dict": …}` wrapper is taken off. Raises WeightsError, also for values that are not finite.
    """
    return _load(path)[0]


def names_in(path: Path) -> list[str]:
    """Return the names of the tensors in one weights file."""
    if path.suffix != ".safetensors":
        return list(read_file(path))
    _check_header(path)
    with safetensors.safe_open(path, framework="pt") as opened:
        return list(opened.keys())


def wrapping_of(names: Iterable[str]) -> str:
    """Return what data-parallel training put before all names, or nothing."""
    found = list(names)
    return WRAPPED if found and all(name.startswith(WRAPPED) for name in found) else ""


def _load(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Return the tensors, and whether they lay under `state_dict`."""
    content: object
    if path.suffix == ".safetensors":
        _check_header(path)
        try:
            content = safetensors.torch.load_file(path)
        except Exception as error:  # a damaged header or an unknown dtype raises nearly anything
            raise WeightsError(f"{path} is damaged or not a safetensors file", found=error) from error
    else:
        _check_archive(path)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a hostile or damaged pickle raises nearly anything
            raise WeightsError(
                f"{path} cannot be read as plain weights",
                found=str(error).splitlines()[0] if str(error) else type(error).__name__,
                fix="load it in the program that wrote it and save its state_dict() as .safetensors",
            ) from error
    wrapped = isinstance(content, dict) and isinstance(content.get("state_dict"), dict)
    state = content["state_dict"] if wrapped else content  # type: ignore[index]
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds no state dict", found=type(state).__name__, fix=ALONE)
    _check_names(path, state)
    for name, tensor in state.items():
        _check_tensor(path, name, tensor)
    return {name: tensor.detach() for name, tensor in state.items()}, wrapped


ALONE = "save the model's state_dict() alone"


def _check_header(path: Path) -> None:
    """Refuse a header by the length that the file claims for it, so that no giant is ever parsed."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", found=error) from error
    if length > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{path} is damaged or not a safetensors file: its header is too large",
            allowed=f"{MAX_HEADER_BYTES} bytes",
            found=f"{length} bytes",
        )


def _check_archive(path: Path) -> None:
    """Refuse an archive that holds more than its own size: torch stores plainly, so nothing may unfold."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            held = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise WeightsError(f"{path} is a damaged archive", found=error) from error
    if held > path.stat().st_size:
        raise WeightsError(
            f"{path} unfolds to more than it holds",
            allowed=f"{path.stat().st_size} bytes",
            found=f"{held} bytes",
            fix="save it again with torch.save, which does not compress",
        )


def _check_names(path: Path, state: Mapping[object, object]) -> None:
    stray = next((n for n, t in state.items() if not isinstance(n, str) or not isinstance(t, Tensor)), None)
    if stray is None:
        return
    keys = [k for k, inner in state.items() if isinstance(inner, dict) and _holds_tensors(inner)]
    if keys:
        raise WeightsError(
            f"{path} holds its tensors one level down",
            found="they lie under " + ", ".join(map(repr, keys)),
            fix=f"save what lies under {keys[0]!r} alone: torch.save(torch.load(FILE)[{keys[0]!r}], NEW)",
        )
    raise WeightsError(
        f"{path} holds an entry that is not a named tensor",
        found=f"{stray!r}: {type(state[stray]).__name__}",
        fix=ALONE,
    )


def _holds_tensors(inner: Mapping[object, object]) -> bool:
    return bool(inner) and all(isinstance(value, Tensor) for value in inner.values())


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    problem, found, fix = "", name, "save the weights again, whole"
    if tensor.layout != torch.strided or tensor.is_quantized:
        problem, fix = "a sparse or quantized tensor", "save the weights before quantization"
    elif tensor.device.type == "meta":
        problem = "a tensor without values (device meta)"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        problem, found = "a tensor larger than its own values", f"{name}, {list(tensor.shape)}"
    elif tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype not in COMPUTED):
        kind = str(tensor.dtype).removeprefix("torch.")
        problem, fix = f"a tensor that is stored as {kind}", f"stored as {kind}: save as float16"
    elif not is_finite(tensor) and not _is_mask(tensor):
        bad = tensor.numel() - int(torch.isfinite(tensor).sum())
        problem, found = "values that are not finite", f"{name}: {bad} of {tensor.numel()}"
    if problem:
        raise WeightsError(f"{path} holds {problem}", found=found, fix=fix)


def is_finite(tensor: Tensor) -> bool:
    """Tell whether a tensor holds no NaN and no infinity, in one pass without a copy."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


def _is_mask(tensor: Tensor) -> bool:
    """Tell whether a tensor says what attention may see: 0 and minus infinity, nothing else. Old files keep
    such buffers.
    """
    return bool(((tensor == 0) | (tensor == -torch.inf)).all())


def rewrite(file: Path, target: Path, changed: Mapping[str, Tensor], prefix: str = "") -> None:
    """Write one weights file again as `target`, of the kind that its name ends with, with `changed` replaced,
    whose names lack the file's `prefix`.

    Of a torch file only the weights go over.
    """
    state, wrapped = _load(file)
    state = {n: changed.get(n.removeprefix(prefix), tensor).contiguous() for n, tensor in state.items()}
    if file.suffix != ".safetensors":
        # Tensors of torch files may share storage: torch.save would write all of it, a neighbour's old values
        # with it.
        state = {name: tensor.clone() for name, tensor in state.items()}
    if target.suffix == ".safetensors":
        safetensors.torch.save_file(state, target, metadata=_metadata(file) | {"format": "pt"})
        return
    torch.save({"state_dict": state} if wrapped else state, target)


def overwrite(file: Path, target: Path, changed: Mapping[str, Tensor]) -> None:
    """Write a safetensors file again as `target`, byte for byte but for the values of the tensors in
    `changed`, which have the dtype and shape that they have in it. Nothing else is held in memory.
    """
    _check_header(file)
    shutil.copyfile(file, target)
    with target.open("r+b") as out:
        length = int.from_bytes(out.read(8), "little")
        header = json.loads(out.read(length))
        for name, value in changed.items():
            start, end = header[name]["data_offsets"]
            if (held := value.numel() * value.element_size()) != end - start:
                raise WeightsError(f"{name} does not fit into {file}", allowed=end - start, found=held)
            out.seek(8 + length + start)
            out.write(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _metadata(file: Path) -> dict[str, str]:
    if file.suffix != ".safetensors":
        return {}
    with safetensors.safe_open(file, framework="pt") as opened:
        return dict(opened.metadata() or {})
