"""Pipelines on disk as patches see them: a folder with a net in each of its parts, or all nets in one file.

A patch calls a tensor by its part and by what the nets of today's libraries call it, whatever spelling the
files have; what is written keeps the spelling of the files, and every byte but those of the changed values.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.files import INDEX, Part
from razor_cli.families.diffusion.folder import SHARED, read_folder, variants_in
from razor_cli.families.diffusion.single_file import HOMES, read_single_file
from razor_cli.families.diffusion.spelling import canonical
from razor_cli.families.diffusion.standins import stand_in_folder
from razor_cli.families.diffusion.stored import SAFE, Place, StoredTensors, names_in
from razor_cli.weights.checkpoint import HISTORY_FOLDERS, OTHER_WEIGHTS, check_inside, put
from razor_cli.weights.files import WEIGHT_SUFFIXES, overwrite, rewrite
from razor_cli.weights.header import read_header
from razor_cli.weights.layout import Layout
from razor_cli.weights.parted import part_of

AVERAGES = "model_ema."


def layout_of(path: Path) -> Layout | None:
    """Return the layout of a pipeline's folder or single file, None for anything else."""
    if (path / INDEX).is_file():
        return FolderLayout(path=path, parts=_parts(path))
    if path.suffix == SAFE and path.is_file() and any(n.startswith(HOMES["unet"]) for n in read_header(path)):
        return FileLayout(path=path, parts=read_single_file(path).parts)
    return None


def stand_in(name: str) -> Path | None:
    """Return the folder of an embedded stand-in, or None where there is none of that name."""
    folder = stand_in_folder(name)
    return folder if (folder / INDEX).is_file() else None


def _parts(folder: Path) -> Mapping[str, Part]:
    """Return the nets of a folder, but for T5, which no edit changes; of the only variant where the plain
    weights are not there.
    """
    found, wrong = read_folder(folder, variant=None, t5=False)
    for variant in variants_in(folder) if wrong else ():
        other, less = read_folder(folder, variant=variant, t5=False)
        if not less:
            return other.parts
    if wrong:
        raise wrong[0]
    return found.parts


def _places(parts: Mapping[str, Part]) -> dict[str, Place]:
    """Return where each tensor lies, by the name that a patch has for it."""
    found: dict[str, Place] = {}
    for part in parts.values():
        for file in part.files:
            keys = {key: key for key in names_in(file)} if part.renamed is None else part.renamed
            for name, key in keys.items():
                if (called := canonical(name, part.kind)) is None:
                    continue
                if (called := f"{part.name}.{called}") in found:
                    raise WeightsError(f"{file} holds a tensor twice", found=f"{key}, called {called} here")
                found[called] = Place(file, key)
    return found


@dataclass(frozen=True, kw_only=True)
class FileLayout:
    """A pipeline in one file of the LDM layout."""

    path: Path
    parts: Mapping[str, Part]

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the file."""
        return (self.path,)

    @property
    def is_folder(self) -> bool:
        """Tell that it is none."""
        return False

    def read(self) -> StoredTensors:
        """Return all tensors of the nets."""
        return StoredTensors(_places(self.parts))

    def left_out(self, changed: Collection[str]) -> list[str]:
        """Return nothing: the file goes over whole."""
        return []

    def write(self, target: Path, changed: Mapping[str, Tensor], *, link: bool = False) -> None:
        """Write the file again, byte for byte but for the changed values. Raises WeightsError where averages
        of a net that changes lie beside it: they would bring back what it forgot.
        """
        if "unet" in map(part_of, changed) and any(n.startswith(AVERAGES) for n in read_header(self.path)):
            raise WeightsError(
                f"{self.path} holds averages of the unet of its training beside the unet",
                found=f"{AVERAGES}…",
                fix="take the file without them (pruned, emaonly), or the folder of diffusers",
            )
        places = _places(self.parts)
        overwrite(self.path, target, {places[name].key: value for name, value in changed.items()})


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """A pipeline in a folder of diffusers."""

    path: Path
    parts: Mapping[str, Part]

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the weights files of all nets."""
        return tuple(file for part in self.parts.values() for file in part.files)

    @property
    def is_folder(self) -> bool:
        """Tell that it is one."""
        return True

    def read(self) -> StoredTensors:
        """Return all tensors of the nets."""
        return StoredTensors(_places(self.parts))

    def left_out(self, changed: Collection[str]) -> list[str]:
        """Return what may hold the old weights: other weights of the nets that change, and any that lie
        beside the parts; histories too.
        """
        return [place for place, _, kept in self._walk(set(map(part_of, changed))) if not kept]

    def write(self, target: Path, changed: Mapping[str, Tensor], *, link: bool = False) -> None:
        """Write the folder again. Files of nets that change are the same byte for byte but for the changed
        values; all others are copied, or linked to where they lie.
        """
        homes: dict[Path, dict[str, Tensor]] = {}
        places = _places(self.parts)
        for name, value in changed.items():
            homes.setdefault(places[name].file, {})[places[name].key] = value
        for place, file, kept in self._walk(set(map(part_of, changed))):
            copy = target / place
            if not kept:
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            if file not in homes:
                put(file, copy, link=link)
            elif file.suffix == SAFE:
                overwrite(file, copy, homes[file])
            else:
                rewrite(file, copy, homes[file])

    def _walk(self, touched: Collection[str]) -> Iterator[tuple[str, Path, bool]]:
        """Yield what lies in the folder, and in the folders beside it that it takes parts from: its place in
        the folder, the file, and whether it goes over. Folders of history are yielded unopened.
        """
        own = {name: part.files[0].parent for name, part in self.parts.items()}
        for entry in sorted(os.scandir(self.path), key=lambda e: e.name):
            path = Path(entry.path)
            if entry.is_dir() and entry.name not in HISTORY_FOLDERS:
                yield from self._inside(entry.name, path, entry.name in touched)
            elif entry.name != SHARED:
                yield entry.name, path, not _is_weights(entry.name) and entry.name not in HISTORY_FOLDERS
        for name, folder in own.items():
            if folder.parent != self.path:
                yield from self._inside(name, folder, name in touched)

    def _inside(self, name: str, folder: Path, touched: bool) -> Iterator[tuple[str, Path, bool]]:
        for root, folders, files in os.walk(folder):
            here = Path(root)
            place = Path(name) / here.relative_to(folder)
            for history in sorted(set(folders) & set(HISTORY_FOLDERS)):
                yield str(place / history), here / history, False
            folders[:] = sorted(set(folders) - set(HISTORY_FOLDERS))
            for file in sorted(files):
                path = here / file
                read = path in self.files or _is_index(path, self.files)
                kept = read or not (touched and _is_weights(file))
                if kept:
                    check_inside(path, _home(folder.parent))
                yield str(place / file), path, kept


def _home(pipeline: Path) -> Path:
    """Return the folder that links of a pipeline may lead into: its own; for a stand-in that of all of them,
    which share an autoencoder.
    """
    every = stand_in_folder("")
    return every if pipeline.resolve().parent == every.resolve() else pipeline


def _is_weights(name: str) -> bool:
    return name.lower().endswith((*OTHER_WEIGHTS, *WEIGHT_SUFFIXES))


def _is_index(path: Path, files: Collection[Path]) -> bool:
    """Tell whether a file is the shard index of weights that are read: `model.safetensors.index.json` of
    `model-00001-of-00002.safetensors`.
    """
    stem, index, _ = path.name.partition(".index.")
    first, _, suffix = stem.rpartition(".")
    mine = [f.name for f in files if f.parent == path.parent]
    return bool(index) and any(n.startswith(f"{first.split('.')[0]}-") and n.endswith(suffix) for n in mine)
