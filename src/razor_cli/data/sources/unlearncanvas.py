"""UnlearnCanvas: twenty objects in sixty styles and as photographs, twenty pictures of each cell.

Either as its folders `<style>/<object>/<number>.jpg`, or as the hub's parquet files, whose column text says
style and object of the column image.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.imagenet_rows import Item, Rows
from razor_cli.data.sources.parquet import footer_of, one_copy
from razor_cli.data.sources.photo import ENDINGS, content_key, same, unchanged
from razor_cli.data.sources.pixels import bytes_of, decode, examine
from razor_cli.data.sources.tally import Tally
from razor_cli.errors import DataError

PHOTOGRAPHS = "Seed_Images"  # the pictures that the styles were made from
TRAIN = 0.9  # share of a cell that its generator was trained on: the first 18 of 20
CELL = 20  # pictures of a complete one
MAX_ROWS = 100_000  # of one parquet file; the whole set has 24,400
CAPTION = re.compile(r"an?\s+(?P<object>.+?)\s+image\s+in\s+(?P<style>.+?)\s+style\.?", re.IGNORECASE)
ALLOWED = (
    "<style>/<object>/<number>.jpg, such as Van_Gogh/Cats/1.jpg, or parquet files with the columns image and "
    'text ("A Cats image in Van Gogh style")'
)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Where the pictures of every cell lie, in order, and what reads them."""

    items: dict[tuple[str, str], list[Item]]  # (style, object), as compared -> pictures
    packed: bool  # in parquet files


class UnlearnCanvas:
    """Source of UnlearnCanvas; concepts are the cells, written `Style/Object`.

    `train` is the first 18 of 20 pictures of a cell, `evaluation` the rest. A picture's key is the hash of
    its content.
    """

    name = "unlearncanvas"
    domain = "object"

    def __init__(
        self, root: Path, styles: Sequence[str], objects: Sequence[str], setting: str = "data.root"
    ) -> None:
        self.root, self.setting = root, setting
        self.styles, self.objects = tuple(styles), tuple(objects)
        self.tally = Tally(setting=setting)
        self._found: dict[str, Item] = {}  # key -> where it lies

    def concepts(self) -> list[str]:
        """Return the cells that have pictures."""
        names = [(s, o) for s in self.styles for o in self.objects]
        return [f"{s}/{o}" for s, o in names if self.cells.items.get((same(s), same(o)))]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many pictures every cell of the listed styles and objects has."""
        found = self.cells.items
        return {(s, o): len(found.get((same(s), same(o)), ())) for s in self.styles for o in self.objects}

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the sound pictures of one cell in one split."""
        return self._sound(self._part(concept, split), concept)

    def draw(self, concept: str, count: int, rng: random.Random) -> list[Picture]:
        """Return up to `count` sound pictures of a cell's train part in random order; no others are read."""
        items, drawn = self._part(concept, "train"), list[Picture]()
        waiting = rng.sample(items, len(items))
        while waiting and len(drawn) < count:
            needed = count - len(drawn)
            drawn += self._sound(waiting[:needed], concept)
            waiting = waiting[needed:]
        return drawn

    def _part(self, concept: str, split: str) -> list[Item]:
        style, _, shown = concept.partition("/")
        items = self.cells.items.get((same(style), same(shown)), [])
        first = max(1, int(TRAIN * len(items)))
        return {"train": items[:first], "evaluation": items[first:]}.get(split, [])

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read pictures as RGB, at most 512 pixels on the shorter side."""
        items = [self._found[p.key] for p in pictures]
        blobs = self._read(items)
        return [
            decode(unchanged(p.key, data, item.place))
            for p, item, data in zip(pictures, items, blobs, strict=True)
        ]

    @cached_property
    def cells(self) -> Cells:
        """Where the pictures lie. Raises DataError for another layout."""
        if not self.root.is_dir():
            raise DataError(f"{self.setting}: '{self.root}' is not a folder", allowed=ALLOWED)
        files = one_copy(self.root.rglob("*.parquet"), self.root, self.setting, "UnlearnCanvas")
        if files:
            return Cells(items=self._rows(files), packed=True)
        return Cells(items=self._folders(), packed=False)

    def _folders(self) -> dict[tuple[str, str], list[Item]]:
        known = {same(s): s for s in (*self.styles, PHOTOGRAPHS)}
        things = {same(o) for o in self.objects}
        items: dict[tuple[str, str], list[Item]] = {}
        for style in sorted(p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith(".")):
            if same(style.name) not in known:
                self.tally.count("folders that are no style that takes part", style.name)
                continue
            for shown in sorted(p for p in style.iterdir() if p.is_dir()):
                if same(shown.name) not in things:
                    self.tally.count("folders that are no object", f"{style.name}/{shown.name}")
                    continue
                pictures = [f for f in shown.iterdir() if f.suffix.lower() in ENDINGS]
                items[same(style.name), same(shown.name)] = [
                    Item(place=str(f.relative_to(self.root)), file=f) for f in sorted(pictures, key=_number)
                ]
        if not any(items.values()):
            there = sorted(p.name for p in self.root.iterdir())
            raise DataError(
                f"{self.setting}: no picture of UnlearnCanvas under '{self.root}'",
                allowed=ALLOWED,
                found=", ".join(there[:5]) or "an empty folder",
                fix=self._elsewhere(there),
            )
        return items

    def _elsewhere(self, there: Sequence[str]) -> str:
        """Return what to do about a folder of another layout."""
        inside = [n for n in there if (self.root / n).is_dir()]
        styles, objects = set(map(same, self.styles)), set(map(same, self.objects))
        if same(self.root.name) in styles and objects.intersection(map(same, inside)):
            return f"{self.setting}={self.root.parent}"
        deeper = [n for n in inside if any((self.root / n / s).is_dir() for s in self.styles)]
        if deeper:
            return f"{self.setting}={self.root / deeper[0]}"
        return "pictures of another layout are read by data=folder, a folder for each concept"

    def _rows(self, files: Sequence[Path]) -> dict[tuple[str, str], list[Item]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        known = {same(s) for s in (*self.styles, PHOTOGRAPHS)} | {"photo"}
        things = {same(o) for o in self.objects}
        items: dict[tuple[str, str], list[Item]] = {}
        for file in files:
            try:
                footer_of(file, self.setting, MAX_ROWS, "UnlearnCanvas")
                texts = pq.ParquetFile(file).read(columns=["text"])["text"].to_pylist()
            except (pa.ArrowException, OSError, KeyError) as error:
                raise DataError(
                    f"{self.setting}: '{file}' has no readable column text", found=error, allowed=ALLOWED
                ) from error
            for row, text in enumerate(texts):
                said = CAPTION.fullmatch(str(text).strip())
                style, shown = (same(said["style"]), same(said["object"])) if said else ("", "")
                if style not in known or shown not in things:
                    self.tally.count("rows of other styles or objects", f"{file.name}:{row} ({text})"[:80])
                    continue
                style = same(PHOTOGRAPHS) if style == "photo" else style
                cell = items.setdefault((style, shown), [])
                cell.append(Item(place=f"{file.name}:{row}", file=file, row=row))
        if not items:
            raise DataError(
                f"{self.setting}: no row of UnlearnCanvas in the parquet files under '{self.root}'",
                allowed=ALLOWED,
                found=self.tally.unused() or f"{len(files)} files without rows",
            )
        return items

    def _read(self, items: Sequence[Item]) -> list[bytes]:
        """Return the bytes of pictures; none of those that cannot be read."""
        if not self.cells.packed:
            return [bytes_of(item.file) for item in items]
        files = sorted({item.file for item in items})
        return Rows({"all": files}, self.setting).read(items)

    def _sound(self, items: Sequence[Item], concept: str) -> list[Picture]:
        """Return those of a cell's pictures that can be used; what cannot is counted."""
        found = []
        for item, data in zip(items, self._read(items), strict=True):
            self.tally.examined += 1
            if not self.tally.passed(item.place, examine(data)):
                continue
            key = content_key(self.name, data)
            if self._found.setdefault(key, item) != item:
                self.tally.duplicates += 1
                continue
            found.append(Picture(key=key, concept=concept, domain=self.domain, file=item.place))
        return found


def _number(file: Path) -> tuple[int, str]:
    """Return what pictures of a cell are ordered by: 2.jpg before 10.jpg."""
    return (int(file.stem) if file.stem.isdigit() else 1 << 30, file.name)
