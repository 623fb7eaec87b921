"""Weights on disk: read them as stored, hash them, and write them again with some tensors changed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from razor_cli.config.conf_files import conf_dir, groups
from razor_cli.errors import WeightsError
from razor_cli.weights.files import WEIGHT_SUFFIXES, names_in, read_file, rewrite, wrapping_of
from razor_cli.weights.json_file import LISTS_BYTES, read_json
from razor_cli.weights.layout import Layout

FAMILIES = Path(__file__).parents[1] / "families"
# Never copied beside edited weights: they may hold the weights as they were, in another format or in a
# history.
OTHER_WEIGHTS = (
    *".h5 .msgpack .onnx .onnx_data .npz .npy .gguf .ot .pb .tflite .pkl".split(),
    ".index.json",
)
HISTORY_FOLDERS = (".git", ".cache")


def _families(file: str) -> Iterator[Any]:
    """Yield the modules of that name in the folders of the families that have one."""
    for place in sorted(FAMILIES.glob(f"*/{file}.py")):
        yield import_module(f"razor_cli.families.{place.parent.name}.{file}")


def _folder_files() -> tuple[str, ...]:
    """Return the names that are looked for in a folder, in this order: Hugging Face's, then what the families
    declare in the `files.py` of their folders, which is data without torch.
    """
    whole = ("model.safetensors", "pytorch_model.bin")
    found = [name for file in whole for name in (file, f"{file}.index.json")]
    return (*found, *(name for family in _families("files") for name in family.FOLDER_FILES))


FOLDER_FILES = _folder_files()


@dataclass(frozen=True, kw_only=True)
class PlainLayout:
    """One model on disk: a single file, or a folder whose weights are in `files`."""

    path: Path
    files: tuple[Path, ...]
    index: Path | None = None  # shard index of the folder
    homes: Mapping[str, str] = field(default_factory=dict)  # tensor -> shard, as the index says

    @property
    def is_folder(self) -> bool:
        """Tell a model folder from a weights file."""
        return self.path != self.files[0]

    def read(self) -> dict[str, Tensor]:
        """Return all tensors as stored (CPU), without a `module.` before all names; raises WeightsError on
        damage, a name that lies in two shards, or one that is not where the index says.
        """
        state: dict[str, Tensor] = {}
        for file in self.files:
            part = read_file(file)
            if twice := state.keys() & part.keys():
                raise WeightsError(f"two shards of {self.path} hold the same tensor", found=sorted(twice)[0])
            told = {name for name, shard in self.homes.items() if shard == file.name}
            if away := told - part.keys():
                raise WeightsError(
                    f"{self.index} names a tensor that its shard does not hold",
                    found=f"{sorted(away)[0]}, said to be in {file.name}",
                    fix="save or fetch the weights again",
                )
            state.update(part)
        prefix = wrapping_of(state)
        return {name[len(prefix) :]: tensor for name, tensor in state.items()}

    def left_out(self, changed: Collection[str]) -> list[str]:
        """Return the names inside a folder that `write` does not carry over, because they may hold the old
        weights.
        """
        return (
            sorted(str(p.relative_to(self.path)) for p, kept in _walk(self.path, self) if not kept)
            if self.is_folder
            else []
        )

    def write(self, target: Path, changed: Mapping[str, Tensor], *, link: bool = False) -> None:
        """Write the checkpoint to `target` in its own layout, with the tensors in `changed` replaced.

        A file becomes a file of the kind that `target` ends with; names stay as they are in it. Of a torch
        file only the weights go over: optimizer states and moving averages may still hold what the edit
        removed. A folder is copied, but for other weight files and histories (`left_out`). Raises
        WeightsError where a link leads out of the folder. Not atomic: the caller moves the result into place.
        """
        prefix = wrapping_of(name for file in self.files for name in names_in(file))
        if not self.is_folder:
            rewrite(self.path, target, changed, prefix)
            return
        for path, kept in _walk(self.path, self):
            copy = target / path.relative_to(self.path)
            if kept and path not in self.files:
                copy.parent.mkdir(parents=True, exist_ok=True)
                put(path, copy, link=link)
        target.mkdir(parents=True, exist_ok=True)
        for file in self.files:
            if {name.removeprefix(prefix) for name in names_in(file)} & changed.keys():
                rewrite(file, target / file.name, changed, prefix)
            else:
                put(file, target / file.name, link=link)


def place_of(path: str | Path) -> Path:
    """Return the path, or where the embedded stand-in of that name lies if there is no such path."""
    path = Path(path)
    if path.exists() or len(path.parts) != 1 or path.suffix:
        return path
    found = (family.stand_in(str(path)) for family in _families("layouts"))
    return next((place for place in found if place is not None), path)


def _stand_ins() -> list[str]:
    """Return the names of the stand-ins whose weights are here."""
    return [name for name in groups([conf_dir()])["model"] if place_of(name) != Path(name)]


def find_layout(path: str | Path) -> Layout:
    """Return the layout of a weights file, of a model's folder, or of an embedded stand-in by its name;
    raises WeightsError. Families say which models are made of several.
    """
    path = place_of(path)
    for family in _families("layouts"):
        if (own := family.layout_of(path)) is not None:
            found: Layout = own
            return found
    if path.is_file():
        if path.suffix not in WEIGHT_SUFFIXES:
            raise WeightsError(
                f"{path} is not a weights file",
                allowed=", ".join(WEIGHT_SUFFIXES),
                found=path.suffix or "no ending",
            )
        return PlainLayout(path=path, files=(path,))
    if not path.is_dir():
        raise WeightsError(
            f"no weights at {path}",
            fix=f"name a weights file, the folder of a model, or a stand-in: {', '.join(_stand_ins())}",
        )
    for name in FOLDER_FILES:
        file = path / name
        if file.is_file():
            return (
                _sharded(path, file)
                if name.endswith(".index.json")
                else PlainLayout(path=path, files=(file,))
            )
    raise WeightsError(f"the folder {path} holds no weights that are known", allowed=", ".join(FOLDER_FILES))


def _sharded(folder: Path, index: Path) -> PlainLayout:
    homes = read_json(index, LISTS_BYTES).get("weight_map")
    if not isinstance(homes, dict) or not all(isinstance(shard, str) for shard in homes.values()):
        raise WeightsError(f"{index} is not a shard index", found="no weight_map of names and files")
    names = sorted(set(homes.values()))
    for name in names:
        # A shard is a plain file of the folder: a name with a path in it could point anywhere.
        if name != Path(name).name or "\\" in name or Path(name).suffix not in WEIGHT_SUFFIXES:
            raise WeightsError(
                f"{index} names a shard that is not a weights file of its folder", found=repr(name)
            )
        if not (folder / name).is_file():
            raise WeightsError(f"{index} names a shard that is missing", found=name)
        check_inside(folder / name, folder)
    if not names:
        raise WeightsError(f"{index} names no shards")
    return PlainLayout(path=folder, files=tuple(folder / name for name in names), index=index, homes=homes)


def read_state(path: str | Path) -> Mapping[str, Tensor]:
    """Return the tensors of a weights file or folder by name, in the dtype they are stored in (CPU).

    A `{"state_dict": …}` wrapper and a `module.` in front of all names are taken off. Raises WeightsError.
    """
    return find_layout(path).read()


def dtype_name(tensor: Tensor) -> str:
    """Return the dtype as it is written in headers: float16, bfloat16, int64, …"""
    return str(tensor.dtype).removeprefix("torch.")


def tensor_hash(tensor: Tensor) -> str:
    """Return the SHA-256 over dtype, shape and raw bytes (row-major) of a tensor."""
    digest = hashlib.sha256(f"{dtype_name(tensor)} {list(tensor.shape)}\n".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tensor_hashes(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return `tensor_hash` of every tensor by name."""
    return {name: tensor_hash(tensor) for name, tensor in state.items()}


def combined_hash(hashes: Mapping[str, str]) -> str:
    """Return the state's hash from its tensors' hashes: SHA-256 over (name, tensor hash) in the order of the
    names.
    """
    digest = hashlib.sha256()
    for name in sorted(hashes):
        # The length in front keeps two different sets of names from reading the same.
        encoded = name.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)}:".encode() + encoded + hashes[name].encode())
    return digest.hexdigest()


def state_hash(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the sorted names, dtypes, shapes and raw bytes of a state; its order plays no
    part.
    """
    return combined_hash(tensor_hashes(state))


def _walk(root: Path, source: PlainLayout) -> Iterator[tuple[Path, bool]]:
    """Yield what lies in a model folder, and whether it goes over into a copy; folders of history are yielded
    unopened.
    """
    for entry in sorted(os.scandir(root), key=lambda e: e.name):
        path = Path(entry.path)
        if entry.name in HISTORY_FOLDERS:
            yield path, False
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(path, source)
        elif (
            path in source.files
            or path == source.index
            or not entry.name.lower().endswith(OTHER_WEIGHTS + WEIGHT_SUFFIXES)
        ):
            check_inside(path, source.path)
            yield path, True
        else:
            yield path, False


def put(file: Path, copy: Path, *, link: bool = False) -> None:
    """Copy a file, or give it a second name. WeightsError where two names need one file system and have
    not.
    """
    if not link:
        shutil.copyfile(file, copy)
        return
    try:
        os.link(file.resolve(), copy)
    except OSError as error:
        raise WeightsError(
            f"--link: {file} cannot have a second name where the output goes",
            found=error.strerror or error,
            fix="an --out on the same file system, or leave --link out: files are then copied",
        ) from error


def check_inside(path: Path, folder: Path) -> None:
    """Raise WeightsError for a link that leads out of a folder, and for what is no plain file."""
    # A snapshot of the hub's cache links into blobs/ of the same repository: that is its normal form.
    home = folder.resolve()
    roots = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"a link in {folder} leads nowhere", found=path.name) from error
    if not any(real.is_relative_to(root) for root in roots):
        raise WeightsError(
            f"a link leads out of the folder {folder}",
            found=f"{path.name} -> {real}",
            fix="put the file itself there",
        )
    if not real.is_file():
        raise WeightsError(f"{folder} holds something that is no plain file", found=path.name)
