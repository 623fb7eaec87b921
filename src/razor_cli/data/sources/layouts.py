"""Where labelled photographs lie: the official layouts of the zero-shot data sets, and a folder per class.

Only lists are read here, no picture. Parts are `train` and `test` where the data set says so, else empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from razor_cli.data.sources.photo import ENDINGS
from razor_cli.data.sources.tally import Tally
from razor_cli.data.texts import read_lines
from razor_cli.errors import DataError

PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "val": "test",
    "validation": "test",
}  # folder -> part
CIFAR100_ROW = 2 + 3 * 32 * 32  # coarse label, fine label, red, green and blue planes


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One labelled picture: a file below the root, or `FILE#ROW` of a binary one."""

    path: str
    label: str
    part: str = ""  # train, test or empty


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All labelled pictures of a data set in the order of its lists."""

    layout: str
    root: Path
    photos: tuple[Photo, ...]


def listing(root: Path, tally: Tally, folders: Mapping[str, str] | None = None) -> Listing:
    """Return what lies under `root`, by the first layout that fits; what of it is not used is counted in
    `tally`. Raises DataError if no layout fits.

    `folders` maps folders below the root (or below its train and test parts) to labels; then only these are
    listed, with all that lies deeper inside them.
    """
    setting = tally.setting
    if not root.is_dir():
        raise DataError(
            f"{setting}: '{root}' is not a folder", fix=f"point {setting} at the data set's folder"
        )
    if folders:
        found = _named_folders(root, folders, tally)
        return Listing(layout="folder", root=root, photos=_checked(found, root, tally))
    for place in (root, *sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))):
        for name, (marks, read) in LAYOUTS.items():
            if all((place / m).exists() for m in marks):
                return Listing(layout=name, root=place, photos=_checked(read(place, tally), place, tally))
    return Listing(layout="folder", root=root, photos=_checked(_class_folders(root, tally), root, tally))


def _checked(found: Iterable[Photo], root: Path, tally: Tally) -> tuple[Photo, ...]:
    """Return each picture once. Raises DataError for one outside of the root, one with two labels, and if
    there is none.
    """
    photos: dict[str, Photo] = {}
    setting = tally.setting
    for photo in found:
        pure = PurePosixPath(photo.path)
        if pure.is_absolute() or ".." in pure.parts:
            raise DataError(f"{setting}: a list names a picture outside '{root}'", found=photo.path)
        known = photos.setdefault(photo.path, photo)
        if known.label != photo.label:
            raise DataError(
                f"{setting}: '{photo.path}' has two labels", found=f"{known.label} and {photo.label}"
            )
        if known is not photo:
            tally.count("pictures that are listed twice", photo.path)
            photos[photo.path] = max(known, photo, key=lambda p: p.part == "test")  # held out, if either is
    if not photos:
        raise DataError(
            f"{setting}: no labelled pictures under '{root}'",
            allowed="a folder per class (also below train/ and test/), or the official layout of "
            + ", ".join(LAYOUTS),
        )
    return tuple(photos.values())


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _pictures(folder: Path, root: Path, tally: Tally, deep: bool = False) -> Iterator[str]:
    """Return the picture files of a folder as paths below the root, in order; what else is there is
    counted.
    """
    if not folder.is_dir():
        return
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith("."):
            continue
        path = Path(entry.path).relative_to(root).as_posix()
        ending = PurePosixPath(path).suffix.lower()
        if entry.is_symlink():
            tally.count("links, which are not read", path)
        elif entry.is_dir():
            if deep:
                yield from _pictures(Path(entry.path), root, tally, deep)
            else:
                tally.count("folders in folders of classes, which are not read", path)
        elif ending in ENDINGS and entry.is_file():
            yield path
        else:
            tally.count(f"{ending} files, which are not read" if ending else "other files", path)


def _parts(root: Path) -> list[tuple[Path, str]]:
    """Return the folders that hold class folders, with their parts: train and test, or the root itself."""
    found = [
        (p, PARTS[p.name.lower()]) for p in sorted(root.iterdir()) if p.is_dir() and p.name.lower() in PARTS
    ]
    return found if {part for _, part in found} == {"train", "test"} else [(root, "")]


def _class_folders(root: Path, tally: Tally) -> Iterator[Photo]:
    for place, part in _parts(root):
        for folder in sorted(
            p for p in place.iterdir() if p.is_dir() and not p.name.startswith((".", "BACKGROUND_"))
        ):
            for path in _pictures(folder, root, tally):
                yield Photo(path=path, label=_words(folder.name), part=part)


def _named_folders(root: Path, folders: Mapping[str, str], tally: Tally) -> Iterator[Photo]:
    first = {PurePosixPath(f).parts[0] for f in folders}
    for place, part in _parts(root):
        for folder, label in folders.items():
            for path in _pictures(place / folder, root, tally, deep=True):
                yield Photo(path=path, label=label, part=part)
        others = sorted(p.name for p in place.iterdir() if p.is_dir() and p.name not in first)
        what = "folders that the taxonomy does not name, which are not read"
        tally.count(what, others[0] if others else "", len(others))


def _oxford_pet(root: Path, _: Tally) -> Iterator[Photo]:
    """images/Abyssinian_1.jpg, with annotations/trainval.txt and test.txt, or list.txt alone: `Abyssinian_1 1
    1 1`.
    """
    lists = {"train": root / "annotations/trainval.txt", "test": root / "annotations/test.txt"}
    if not all(p.is_file() for p in lists.values()):
        lists = {"": root / "annotations/list.txt"}
    for part, file in lists.items():
        for line in _lines(file):
            name = line.split()[0]
            yield Photo(path=f"images/{name}.jpg", label=_words(name.rpartition("_")[0]), part=part)


def _food101(root: Path, _: Tally) -> Iterator[Photo]:
    """images/apple_pie/1005649.jpg, with meta/train.txt and test.txt: `apple_pie/1005649`."""
    for part in ("train", "test"):
        for line in _lines(root / f"meta/{part}.txt"):
            yield Photo(path=f"images/{line}.jpg", label=_words(line.split("/")[0]), part=part)


def _caltech101(root: Path, tally: Tally) -> Iterator[Photo]:
    """101_ObjectCategories/accordion/image_0001.jpg; the background class is no class."""
    yield from (
        Photo(path=f"101_ObjectCategories/{p.path}", label=p.label, part=p.part)
        for p in _class_folders(root / "101_ObjectCategories", tally)
    )


def _flowers102(root: Path, _: Tally) -> Iterator[Photo]:
    """jpg/image_00001.jpg, imagelabels.mat (labels from 1), setid.mat (trnid, valid, tstid)."""
    labels, ids = read_mat(root / "imagelabels.mat")["labels"].ravel(), read_mat(root / "setid.mat")
    names = _flower_names(root)
    parts = {
        int(i): part
        for key, part in (("trnid", "train"), ("valid", "train"), ("tstid", "test"))
        for i in ids[key].ravel()
    }
    for number, label in enumerate(labels, 1):
        yield Photo(
            path=f"jpg/image_{number:05d}.jpg", label=names[int(label) - 1], part=parts.get(number, "train")
        )


def _flower_names(root: Path) -> list[str]:
    """Return the 102 names: the official files have numbers only, torchvision knows the names."""
    listed = root / "classes.txt"
    if listed.is_file():
        return list(_lines(listed))
    from torchvision.datasets import Flowers102

    names = getattr(Flowers102, "classes", None)
    if not names:
        raise DataError(
            f"'{root}' has no names of the flowers",
            fix=f"write them into '{listed}', one a line, or use folders",
        )
    return [str(n) for n in names]


def _stanford_cars(root: Path, _: Tally) -> Iterator[Photo]:
    """cars_train/, cars_test/, devkit/cars_meta.mat, devkit/cars_train_annos.mat,
    cars_test_annos_withlabels.mat.
    """
    names = [str(n[0]) for n in read_mat(root / "devkit/cars_meta.mat")["class_names"].ravel()]
    test = [
        p
        for p in (root / "cars_test_annos_withlabels.mat", root / "devkit/cars_test_annos_withlabels.mat")
        if p.is_file()
    ]
    for part, file in [("train", root / "devkit/cars_train_annos.mat"), *(("test", p) for p in test[:1])]:
        for row in read_mat(file)["annotations"].ravel() if file.is_file() else ():
            label = names[int(row["class"].ravel()[0]) - 1]
            yield Photo(path=f"cars_{part}/{row['fname'].ravel()[0]}", label=label, part=part)


def _cifar100(root: Path, _: Tally) -> Iterator[Photo]:
    """train.bin, test.bin and fine_label_names.txt of the binary version; the pickled one is not read."""
    names = [_words(n) for n in _lines(root / "fine_label_names.txt")]
    for part in ("train", "test"):
        file = root / f"{part}.bin"
        if file.stat().st_size % CIFAR100_ROW:
            raise DataError(
                f"'{file}' is truncated",
                found=f"{file.stat().st_size} bytes, not a multiple of {CIFAR100_ROW}",
            )
        rows = np.memmap(file, np.uint8, "r").reshape(-1, CIFAR100_ROW)
        for number, label in enumerate(rows[:, 1].tolist()):
            yield Photo(path=f"{part}.bin#{number}", label=names[label], part=part)


LAYOUTS: dict[
    str, tuple[tuple[str, ...], Callable[[Path, Tally], Iterator[Photo]]]
] = {  # what tells a layout -> how it is read
    "oxford_pet": (("images", "annotations"), _oxford_pet),
    "food101": (("images", "meta/train.txt"), _food101),
    "flowers102": (("jpg", "imagelabels.mat", "setid.mat"), _flowers102),
    "caltech101": (("101_ObjectCategories",), _caltech101),
    "stanford_cars": (("devkit/cars_meta.mat",), _stanford_cars),
    "cifar100": (("train.bin", "test.bin", "fine_label_names.txt"), _cifar100),
}


def _lines(file: Path) -> Iterator[str]:
    if not file.is_file():
        raise DataError(f"there is no '{file}'", fix="unpack the data set's annotations beside its pictures")
    yield from (line.strip() for line in read_lines(file) if line.strip() and not line.startswith("#"))


def read_mat(file: Path) -> Any:
    """Return the variables of a MATLAB file (numbers, texts and structs; scipy runs nothing that stands in
    it).
    """
    from scipy.io import loadmat

    try:
        return loadmat(str(file))
    except (OSError, ValueError, NotImplementedError, TypeError) as error:
        raise DataError(f"'{file}' is no readable MATLAB file", found=error) from error
