"""ImageNet-1K in the hub's parquet files: photographs by file and row, read a row group at a time."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from razor_cli.data.sources.parquet import MAX_COLUMNS, footer_of, unpacked
from razor_cli.errors import DataError

MAX_ROWS = 1_500_000  # photographs of a file; the official train part has 1,281,167 in all
SOLUTION = "LOC_val_solution.csv"
ALLOWED = (
    "train-*.parquet and validation-*.parquet of the hub's imagenet-1k (columns image and label), or "
    "train/<wnid>/*.JPEG with "
    f"val/<wnid>/*.JPEG, or a flat val/ with {SOLUTION} or with the development kit's "
    "ILSVRC*_validation_ground_truth.txt"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One photograph: `place` names it (for people and for hashing), file and row say where its bytes lie."""

    place: str
    file: Path
    row: int = -1


class Rows:
    """The hub's parquet files: columns image {bytes, path} and label, rows in any order."""

    keeps = True

    def __init__(self, files: Mapping[str, Sequence[Path]], setting: str) -> None:
        self.files, self.setting = files, setting
        self._ranks: dict[tuple[Path, int], float] = {}

    def labels(self, part: str) -> list[int]:
        """Return the class numbers with rows in one part."""
        return sorted(int(x) for x in np.unique(self._index[part][0]))

    def items(self, part: str, label: int) -> list[Item]:
        """Return the rows of one class in one part."""
        labels, starts = self._index[part]
        found = []
        for row in np.flatnonzero(labels == label):
            number = int(np.searchsorted(starts, row, side="right")) - 1
            file, place = self.files[part][number], int(row - starts[number])
            found.append(Item(place=f"{file.name}:{place}", file=file, row=place))
        return found

    def shuffled(self, items: list[Item], rng: random.Random) -> list[Item]:
        """Return the items by a random rank of their row group, which all classes share: fewer groups have to
        be read.
        """
        for item in items:
            self._ranks.setdefault(self._group(item), rng.random())
        return sorted(items, key=lambda i: (self._ranks[self._group(i)], i.row))

    def read(self, items: Sequence[Item]) -> list[bytes]:
        """Return the rows' photographs; each row group among them is read once."""
        groups: dict[tuple[Path, int], list[int]] = defaultdict(list)
        for number, item in enumerate(items):
            groups[self._group(item)].append(number)
        blobs = [b""] * len(items)
        for (file, group), numbers in sorted(groups.items()):
            column, first = self._column(file, group), int(self._borders[file][group])
            for number in numbers:
                blobs[number] = column[items[number].row - first].as_py() or b""
        return blobs

    def _group(self, item: Item) -> tuple[Path, int]:
        return item.file, int(np.searchsorted(self._borders[item.file], item.row, side="right")) - 1

    def _column(self, file: Path, group: int) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            source = pq.ParquetFile(file)
            if (size := unpacked(source.metadata, group, "image")) > MAX_COLUMNS:
                raise DataError(
                    f"{self.setting}: '{file}' is too large to read a row group at a time",
                    found=f"{size:,} bytes in one",
                    allowed=f"at most {MAX_COLUMNS:,}",
                )
            table = source.read_row_group(group, columns=["image.bytes"])
            return table["image"].combine_chunks().field("bytes")
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(
                f"{self.setting}: '{file}' has no readable column image", found=error, allowed=ALLOWED
            ) from error

    @cached_property
    def _borders(self) -> dict[Path, NDArray[np.int64]]:
        """First row of every row group, by file."""
        import pyarrow.parquet as pq

        found = {}
        for file in (f for files in self.files.values() for f in files):
            footer = pq.ParquetFile(file).metadata
            sizes = [footer.row_group(g).num_rows for g in range(footer.num_row_groups)]
            found[file] = np.cumsum([0, *sizes[:-1]]).astype(np.int64)
        return found

    @cached_property
    def _index(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Labels of all rows of a part, and the number of each file's first row."""
        found = {}
        for part, files in self.files.items():
            columns = [self._labels(f) for f in files]
            found[part] = (
                np.concatenate(columns),
                np.cumsum([0, *(len(c) for c in columns[:-1])]).astype(np.int64),
            )
        return found

    def _labels(self, file: Path) -> NDArray[np.int64]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            footer_of(file, self.setting, MAX_ROWS, "ImageNet-1K")
            table = pq.ParquetFile(file).read(columns=["label"])
            labels = np.array(table["label"].to_pylist(), np.int64)
        except (pa.ArrowException, OSError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.setting}: '{file}' has no readable column label", found=error, allowed=ALLOWED
            ) from error
        names = _declared(table.schema.metadata or {})
        if (names is not None and names != 1000) or (
            len(labels) and (labels.min() < 0 or labels.max() > 999)
        ):
            held = f"{names} classes" if names else f"labels {labels.min()} to {labels.max()}"
            raise DataError(
                f"{self.setting}: '{file}' is not ImageNet-1K",
                found=held,
                allowed="labels 0 to 999, by sorted wnid",
            )
        return labels


def _declared(schema: Mapping[bytes, bytes]) -> int | None:
    """Return how many class names the hub's schema declares for the label, None if it says nothing."""
    try:
        names = json.loads(schema[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return len(names)
