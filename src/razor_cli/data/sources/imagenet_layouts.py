"""How ImageNet-1K lies on disk: parquet of the hub, or folders per wnid with a sorted or a flat val part."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from razor_cli.data.sources.imagenet_rows import ALLOWED, SOLUTION, Item, Rows
from razor_cli.data.sources.parquet import missing_pieces, one_copy
from razor_cli.data.sources.photo import ENDINGS
from razor_cli.data.sources.pixels import MAX_BYTES
from razor_cli.data.sources.tally import Tally
from razor_cli.data.texts import read_csv, read_lines, read_text
from razor_cli.errors import DataError

PARTS = {"train": ("train",), "val": ("val", "validation")}
BELOW = (
    "",
    "ILSVRC2012",
    "imagenet",
    "imagenet-1k",
    "Data/CLS-LOC",
    "ILSVRC/Data/CLS-LOC",
    "ILSVRC2012/Data/CLS-LOC",
)


class Layout(Protocol):
    """One way in which the photographs lie on disk."""

    keeps: bool  # reading one again is slow, so the bytes of drawn ones are kept

    def labels(self, part: str) -> list[int]:
        """Return the class numbers that have photographs in one part (train, val)."""
        ...

    def items(self, part: str, label: int) -> list[Item]:
        """Return the photographs of one class in one part, in a fixed order."""
        ...

    def shuffled(self, items: list[Item], rng: random.Random) -> list[Item]:
        """Return the items in random order; draws of several classes may agree on which files come first."""
        ...

    def read(self, items: Sequence[Item]) -> list[bytes]:
        """Return the encoded photographs; empty for one that cannot be read."""
        ...


def find_layout(root: Path, wnids: Sequence[str], tally: Tally) -> Layout:
    """Return the layout of what lies under `root`; what of it is not used is counted in `tally`. Raises
    DataError naming what is missing.
    """
    setting = tally.setting
    if not root.is_dir():
        raise DataError(
            f"{setting}: '{root}' is not a folder", fix=f"point {setting} at the folder of ImageNet-1K"
        )
    parquet = {
        part: one_copy(
            (f for n in names for f in root.rglob(f"{n}-*.parquet")),
            root,
            setting,
            f"ImageNet-1K's {part} part",
        )
        for part, names in PARTS.items()
    }
    if any(parquet.values()):
        if missing := [p for p, files in parquet.items() if not files]:
            raise _missing(root, setting, missing, "train-*.parquet or validation-*.parquet")
        for files in parquet.values():
            number, first = missing_pieces(files, setting)
            tally.count("parquet files that are not there", first, number)
        return Rows(parquet, setting)
    for base in (root / b for b in BELOW):
        found = {
            part: next((base / n for n in names if (base / n).is_dir()), None)
            for part, names in PARTS.items()
        }
        if found["train"] is not None or found["val"] is not None:
            if missing := [p for p, folder in found.items() if folder is None]:
                raise _missing(root, setting, missing, f"the folder {base / missing[0]}")
            return Folders({p: f for p, f in found.items() if f is not None}, root, wnids, tally)
    shown = sorted(p.name for p in root.iterdir())[:6]
    raise DataError(
        f"{setting}: no ImageNet-1K under '{root}'",
        allowed=ALLOWED,
        found=", ".join(shown) or "an empty folder",
    )


def _missing(root: Path, setting: str, parts: Sequence[str], what: str) -> DataError:
    use = {"train": "the edit is computed from it", "val": "the proof is made on it"}
    return DataError(
        f"{setting}: the {' and '.join(parts)} part of ImageNet-1K is not under '{root}'",
        allowed=ALLOWED,
        found=f"not there: {what}; {use[parts[0]]}",
        fix=f"put both parts under one folder and point {setting} at it",
    )


class Folders:
    """A folder per wnid; the val part may be flat, with a file that tells the classes."""

    keeps = False

    def __init__(self, parts: Mapping[str, Path], root: Path, wnids: Sequence[str], tally: Tally) -> None:
        self.parts, self.root, self.tally, self.setting = dict(parts), root, tally, tally.setting
        self.wnids, self.numbers = list(wnids), {w: i for i, w in enumerate(wnids)}
        self.unknown: dict[str, list[str]] = {}
        self._listed: dict[Path, list[Path]] = {}
        self._labels = {part: self._list(part) for part in parts}
        if not self._labels["train"]:
            named = ", ".join(self.unknown["train"][:5])
            raise DataError(
                f"{self.setting}: no folder of '{parts['train']}' is called like a class of ImageNet-1K",
                allowed="wnids such as n01440764",
                found=named or "no folders",
                fix="for folders with names of your own: data=folder data.root=DIR",
            )

    def labels(self, part: str) -> list[int]:
        """Return the class numbers that have a folder (or a line) in one part."""
        return self._labels[part]

    def items(self, part: str, label: int) -> list[Item]:
        """Return the photographs of one class, by name. Only this class's folder is listed."""
        if part == "val" and self._flat is not None:
            files = [self.parts["val"] / name for name in self._flat.get(label, [])]
        else:
            files = self._in_folder(self.parts[part] / self.wnids[label])
        return [Item(place=str(f.relative_to(self.root)), file=f) for f in files]

    def _in_folder(self, folder: Path) -> list[Path]:
        """Return the photographs of a class's folder in order; what else is there is counted, once."""
        if folder not in self._listed:
            there = sorted(os.scandir(folder), key=lambda e: e.name) if folder.is_dir() else []
            shown = [Path(e.path) for e in there if not e.name.startswith(".")]
            self._listed[folder] = [p for p in shown if p.suffix.lower() in ENDINGS]
            for path in (p for p in shown if p.suffix.lower() not in ENDINGS):
                what = f"{path.suffix.lower() or 'other'} files and folders in classes, which are not read"
                self.tally.count(what, str(path.relative_to(self.root)))
        return self._listed[folder]

    def shuffled(self, items: list[Item], rng: random.Random) -> list[Item]:
        """Return the items in random order."""
        return rng.sample(items, len(items))

    def read(self, items: Sequence[Item]) -> list[bytes]:
        """Return the files' bytes; empty for one that is too large or cannot be read."""
        return [_bytes(i.file) for i in items]

    def _list(self, part: str) -> list[int]:
        if part == "val" and self._flat is not None:
            return sorted(self._flat)
        folders = [p.name for p in self.parts[part].iterdir() if p.is_dir() and not p.name.startswith(".")]
        self.unknown[part] = sorted(f for f in folders if f not in self.numbers)
        example = f"{part}/{self.unknown[part][0]}" if self.unknown[part] else ""
        self.tally.count("folders that are no class, which are not read", example, len(self.unknown[part]))
        return sorted(self.numbers[f] for f in folders if f in self.numbers)

    @cached_property
    def _flat(self) -> dict[int, list[str]] | None:
        """File names by class where the val part has no folders; None where it has."""
        names = sorted(
            e.name
            for e in os.scandir(self.parts["val"])
            if e.is_file() and Path(e.name).suffix.lower() in ENDINGS
        )
        if not names:
            return None
        by_class: dict[int, list[str]] = defaultdict(list)
        stems: dict[str, str] = {}
        for name in names:
            if stems.setdefault(Path(name).stem, name) != name:
                self.tally.count("photographs of val that share a name before the ending, left out", name)
        answers = self._solution(sorted(stems))
        for stem, wnid in answers.items():
            if stem not in stems:
                self.tally.count("rows of val's classes without a photograph", stem)
            elif wnid not in self.numbers:
                self.tally.count("photographs of val of a class that is none of ImageNet-1K's", stems[stem])
            else:
                by_class[self.numbers[wnid]].append(stems[stem])
        lost = [name for stem, name in stems.items() if stem not in answers]
        self.tally.count("photographs of val without a class", lost[0] if lost else "", len(lost))
        return dict(by_class)

    def _solution(self, stems: Sequence[str]) -> dict[str, str]:
        """Return the wnid of each file stem of the flat val part, from whichever file tells it."""
        near = [self.root, self.parts["val"], self.parts["val"].parent, *list(self.parts["val"].parents)[1:4]]
        inside = [f for f in near if f == self.root or self.root in f.parents]
        for folder in dict.fromkeys(inside):
            if (table := folder / SOLUTION).is_file():
                return _kaggle(table)
        truths = [
            f
            for folder in dict.fromkeys(inside)
            for f in sorted(folder.glob("ILSVRC*validation_ground_truth.txt"))
        ]
        truths += sorted(self.root.glob("*devkit*/data/ILSVRC*validation_ground_truth.txt"))
        if truths:
            return _devkit(truths[0], stems, self.setting)
        raise DataError(
            f"{self.setting}: '{self.parts['val']}' holds photographs without folders, and nothing tells "
            "their classes",
            allowed=f"{SOLUTION}, or the development kit's ILSVRC2012_validation_ground_truth.txt with "
            "its meta.mat",
            fix=f"put one of these files into '{self.root}', or sort the photographs into val/<wnid>/",
        )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError:
        return b""


def _kaggle(table: Path) -> dict[str, str]:
    """Read `ImageId,PredictionString`: the first word of the prediction is the wnid, boxes follow."""
    classes: dict[str, str] = {}
    for number, row in read_csv(table):
        if number == 1 and row[:1] == ["ImageId"]:
            continue
        found = ",".join(row)[:80]
        if len(row) < 2 or not row[1].split():
            raise DataError(
                f"'{table}', line {number}: not an image and its class",
                found=found,
                allowed="ImageId,wnid …",
            )
        stem, wnid = Path(row[0]).stem, row[1].split()[0]
        if classes.setdefault(stem, wnid) != wnid:
            raise DataError(
                f"'{table}', line {number}: another class of an image that stands above", found=found
            )
    return classes


def _devkit(truth: Path, stems: Sequence[str], setting: str) -> dict[str, str]:
    """Read one class number a line, in the order of file names. The kit's numbers are not those of the sorted
    wnids.
    """
    wnids: dict[int, str] = {}
    if (listing := truth.parent / "map_clsloc.txt").is_file():
        for number, row in enumerate((line.split() for line in read_lines(listing)), 1):
            if len(row) < 2 or not _is_number(row[1]):
                continue
            if wnids.setdefault(int(row[1]), row[0]) != row[0]:
                raise DataError(f"'{listing}', line {number}: {row[1]} stands above with another class")
    elif (meta := truth.parent / "meta.mat").is_file():
        wnids = _matlab(meta)
    if not wnids:
        raise DataError(
            f"{setting}: '{truth.name}' numbers classes in the development kit's own order, and its list "
            "is not beside it",
            allowed="meta.mat or map_clsloc.txt of the same kit",
            found=f"neither in '{truth.parent}'",
            fix=f"keep the kit's data folder together, or use {SOLUTION}",
        )
    numbers = read_text(truth).split()
    if len(numbers) != len(stems):
        raise DataError(
            f"'{truth}': {len(numbers)} lines for {len(stems)} photographs",
            allowed="one line per photograph of val/",
        )
    if wrong := [n for n in numbers if not _is_number(n) or int(n) not in wnids]:
        raise DataError(
            f"'{truth}': '{wrong[0]}' is no class number of the kit", allowed=f"1 to {max(wnids)}"
        )
    return {stem: wnids[int(n)] for stem, n in zip(stems, numbers, strict=True)}


def _is_number(word: str) -> bool:
    return word.isdecimal() and len(word) < 10


def _matlab(meta: Path) -> dict[int, str]:
    """Return ILSVRC2012_ID -> WNID of the kit's synsets."""
    from scipy.io import loadmat

    try:
        synsets = np.atleast_1d(loadmat(meta, squeeze_me=True)["synsets"])
        return {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets}
    except (KeyError, ValueError, NotImplementedError, OSError, TypeError) as error:
        raise DataError(
            f"'{meta}' cannot be read", found=error, allowed="meta.mat of the ILSVRC2012 development kit"
        ) from error
