"""CIFAR-10 photographs from the hub's parquet files or from torchvision's folder; never shipped, never
downloaded here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from razor_cli.data.prepared import prepared
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.parquet import MAX_COLUMNS, footer_of, missing_pieces, one_copy, unpacked
from razor_cli.data.sources.pixels import decode, examine
from razor_cli.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VALIDATION = 5000  # photographs at the end of the official training part that nothing trains on or edits with
SIDE = 32
ROW = 1 + 3 * SIDE * SIDE  # bytes of one row of the binary version: label, then red, green, blue planes
PARTS = ("train", "test")
BINARY = {"train": "data_batch_[1-5].bin", "test": "test_batch.bin"}
MAX_ROWS = 60_000  # photographs of a part; the larger official one has 50,000
SETTING = "data.cifar_root"
FIX = "run `razor data prepare cifar10`, or point data.cifar_root at the folder that holds the files"


def part_files(root: Path, part: str) -> list[Path]:
    """Return the files of one official part (train or test). Raises DataError if there are none, and if there
    are those of several copies.
    """
    patterns = (f"{part}-*.parquet", BINARY[part])
    if files := one_copy((f for p in patterns for f in root.rglob(p)), root, SETTING, "CIFAR-10"):
        if len({f.suffix for f in files}) > 1:
            raise DataError(
                f"{SETTING}: two copies of CIFAR-10 in '{files[0].parent}'",
                found=", ".join(f.name for f in files[:6]),
                fix="leave either the parquet or the binary files there",
            )
        number, first = missing_pieces(files, SETTING)
        if number:
            raise DataError(
                f"{SETTING}: {number} files of CIFAR-10's {part} part are not there", found=first, fix=FIX
            )
        return files
    if pickled := sorted(root.rglob("data_batch_1" if part == "train" else "test_batch")):
        raise DataError(
            f"data.cifar_root: '{pickled[0].parent}' holds pickled batches, which are not read because a "
            "pickle can run code",
            allowed="train-*.parquet and test-*.parquet of the hub's uoft-cs/cifar10, or "
            "cifar-10-batches-bin/*.bin",
            fix="run `razor data prepare cifar10`, or unpack cifar-10-binary.tar.gz and point "
            "data.cifar_root at it",
        )
    raise DataError(
        f"data.cifar_root: no CIFAR-10 {part} files under '{root}'",
        found="neither train-*.parquet / test-*.parquet nor cifar-10-batches-bin/*.bin",
        fix=FIX,
    )


def at_hand(root: Path | None) -> Cifar10 | None:
    """Return the copy in a folder; without one what `razor data prepare cifar10` left, if anything."""
    place = prepared("cifar10")
    return Cifar10(root) if root else Cifar10(place) if place.is_dir() else None


class Cifar10:
    """Source of CIFAR-10: `train` (45,000) and `validation` (5,000) from the official training part,
    `evaluation` its test part.

    `root` holds either the hub layout (`train-*.parquet`, `test-*.parquet` with columns img and label, at any
    depth) or torchvision's `cifar-10-batches-bin` (the binary version; the pickled one is refused, as nothing
    untrusted is unpickled).
    """

    name = "cifar10"
    domain = "object"

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def concepts(self) -> list[str]:
        """Return the ten class names."""
        return list(CLASSES)

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the photographs of one class in one split; the key is the part and row number."""
        part = "test" if split == "evaluation" else "train"
        labels = self.labels[part]
        rows = np.flatnonzero(labels == CLASSES.index(concept))
        if part == "train":
            border = len(labels) - VALIDATION * len(labels) // 50000
            rows = rows[rows >= border] if split == "validation" else rows[rows < border]
        return [Picture(key=f"cifar10/{part}/{r}", concept=concept, domain=self.domain) for r in rows]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Decode photographs, 32 x 32 RGB."""
        return [self._decode(*p.key.split("/")[1:]) for p in pictures]

    def flaw(self, part: str, row: int) -> str | None:
        """Return why one photograph cannot be used, or None: it does not decode, or is not 32 x 32."""
        try:
            size = self._decode(part, str(row)).size
        except DataError as error:
            return str(error.found)
        return None if size == (SIDE, SIDE) else f"{size[0]} x {size[1]} pixels"

    @cached_property
    def labels(self) -> dict[str, NDArray[np.int64]]:
        """Class numbers of both parts, in row order. Photographs are read only when one is asked for."""
        return {part: self._labels(part_files(self.root, part)) for part in PARTS}

    def _decode(self, part: str, row: str) -> Image.Image:
        raw = self._images[part][int(row)]
        if isinstance(raw, np.ndarray):
            return Image.fromarray(np.ascontiguousarray(raw.reshape(3, SIDE, SIDE).transpose(1, 2, 0)))
        data = raw.as_py() or b""
        if (why := examine(data).flaw) is not None:
            raise DataError(
                f"data.cifar_root: row {row} of the {part} part is no picture", found=why, fix=FIX
            )
        return decode(data)

    @cached_property
    def _images(self) -> dict[str, Any]:
        return {part: self._pixels(part_files(self.root, part)) for part in PARTS}

    def _labels(self, files: list[Path]) -> NDArray[np.int64]:
        if files[0].suffix == ".bin":
            labels = _rows(files)[:, 0].astype(np.int64)
        else:
            found = _columns(files, "label")["label"].to_pylist()  # to_numpy would import pandas
            labels = np.array([-1 if label is None else label for label in found], np.int64)
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(CLASSES):
            raise DataError(f"data.cifar_root: '{files[0]}' has no labels 0 to 9", fix=FIX)
        return labels

    def _pixels(self, files: list[Path]) -> Any:
        """Return rows [n, 3072] of uint8, or an Arrow column of encoded pictures (kept packed, unpacked one
        by one).
        """
        if files[0].suffix == ".bin":
            return _rows(files)[:, 1:]
        return _columns(files, "img")["img"].combine_chunks().field("bytes")


def _rows(files: list[Path]) -> NDArray[np.uint8]:
    if large := next((f for f in files if f.stat().st_size > MAX_ROWS * ROW), None):
        raise DataError(
            f"{SETTING}: '{large}' is too large for CIFAR-10",
            found=f"{large.stat().st_size:,} bytes",
            allowed=f"{ROW * 10_000:,}, or a few more",
        )
    parts = [np.frombuffer(f.read_bytes(), np.uint8) for f in files]
    for (file, part), (other, twin) in combinations(zip(files, parts, strict=True), 2):
        if np.array_equal(part, twin):
            raise DataError(
                f"{SETTING}: '{file.name}' and '{other.name}' in '{file.parent}' hold the same photographs",
                fix=FIX,
            )
    for file, part in zip(files, parts, strict=True):
        if len(part) % ROW:
            raise DataError(
                f"data.cifar_root: '{file}' is truncated",
                found=f"{len(part)} bytes, not a multiple of {ROW}",
                fix=FIX,
            )
    return np.concatenate(parts).reshape(-1, ROW)


def _columns(files: list[Path], name: str) -> Any:
    """Read one column of all parquet files as an Arrow table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for file in files:
            footer = footer_of(file, SETTING, MAX_ROWS, "CIFAR-10")
            size = sum(unpacked(footer, g, name) for g in range(footer.num_row_groups))
            if size > MAX_COLUMNS:
                raise DataError(
                    f"{SETTING}: '{file}' is too large for CIFAR-10",
                    found=f"{size:,} bytes of {name}",
                    allowed=f"at most {MAX_COLUMNS:,}",
                )
        return pa.concat_tables([pq.ParquetFile(f).read(columns=[name]) for f in files]).select([name])
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(
            f"data.cifar_root: '{files[0].parent}' has no readable column {name}", found=error, fix=FIX
        ) from error
