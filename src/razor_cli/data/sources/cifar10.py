"""CIFAR-10 photographs from the hub's parquet files or from torchvision's folder; never shipped, never downloaded here."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from razor_cli.data.sources.base import Picture
from razor_cli.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VALIDATION = 5000  # photographs at the end of the official training part that nothing trains on or edits with
SIDE = 32


class Cifar10:
    """Source of CIFAR-10: `train` (45,000) and `validation` (5,000) from the official training part, `evaluation` its test part.

    `root` holds either the hub layout (`train-*.parquet`, `test-*.parquet` with columns img and label, at any depth) or
    torchvision's `cifar-10-batches-bin` (the binary version; the pickled one is refused, as nothing untrusted is unpickled).
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
        labels = self._parts[part][1]
        rows = np.flatnonzero(labels == CLASSES.index(concept))
        if part == "train":
            border = len(labels) - VALIDATION * len(labels) // 50000
            rows = rows[rows >= border] if split == "validation" else rows[rows < border]
        return [Picture(key=f"cifar10/{part}/{r}", concept=concept, domain=self.domain) for r in rows]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Decode photographs, 32 x 32 RGB."""
        return [self._decode(*p.key.split("/")[1:]) for p in pictures]

    def _decode(self, part: str, row: str) -> Image.Image:
        raw = self._parts[part][0][int(row)]
        if isinstance(raw, np.ndarray):
            return Image.fromarray(raw.reshape(3, SIDE, SIDE).transpose(1, 2, 0))
        return Image.open(io.BytesIO(raw)).convert("RGB")

    @cached_property
    def _parts(self) -> dict[str, tuple[list[bytes] | NDArray[np.uint8], NDArray[np.int64]]]:
        return {part: self._read(part) for part in ("train", "test")}

    def _read(self, part: str) -> tuple[list[bytes] | NDArray[np.uint8], NDArray[np.int64]]:
        files = sorted(self.root.rglob(f"{part}-*.parquet"))
        if files:
            tables = [pq.read_table(f, columns=["img", "label"]) for f in files]
            images = [row["bytes"] for t in tables for row in t["img"].to_pylist()]
            return images, np.concatenate([t["label"].to_numpy() for t in tables])
        binary = sorted(self.root.rglob("data_batch_*.bin" if part == "train" else "test_batch.bin"))
        if binary:
            rows = np.concatenate([np.frombuffer(f.read_bytes(), np.uint8).reshape(-1, 1 + 3 * SIDE * SIDE) for f in binary])
            return rows[:, 1:], rows[:, 0].astype(np.int64)
        raise DataError(
            f"data.cifar_root: no CIFAR-10 {part} files under '{self.root}'",
            found="neither train-*.parquet / test-*.parquet nor cifar-10-batches-bin/*.bin",
            fix="run `razor data prepare cifar10`, or point data.cifar_root at the folder that holds the files",
        )
