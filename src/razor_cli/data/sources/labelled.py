"""Labelled photographs from local folders: ImgnetDogs, CompCars-S, Oxford-IIIT Pet and the zero-shot data
sets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.layouts import CIFAR100_ROW, Listing, Photo, listing
from razor_cli.data.sources.photo import content_key, unchanged
from razor_cli.data.sources.pixels import Look, bytes_of, decode, read_picture
from razor_cli.data.sources.tally import Tally
from razor_cli.data.taxonomy import Branch
from razor_cli.errors import DataError, nearest

VALIDATION, EVALUATION = 0.2, 0.25  # of the train part; of a data set that has no parts


class Labelled:
    """Source of labelled photographs; the official test part is the evaluation split.

    A fifth of the train part (chosen by a hash of the file's name, the same in every run) is the validation
    split. Without official parts 25 % are evaluation and a fifth of the rest validation. A picture's key is
    the hash of its content. `branches` names the classes and the folders that show them; without it the data
    set's own labels are the classes.
    """

    name = "labelled"

    def __init__(
        self,
        root: Path,
        *,
        domain: str = "object",
        setting: str = "data.root",
        branches: Sequence[Branch] = (),
    ) -> None:
        self.root, self.domain, self.setting = root, domain, setting
        self.branches = list(branches)
        self.tally = Tally(setting=setting)
        self._photos: dict[str, Photo] = {}  # key -> picture
        self._drawn: dict[tuple[str, str, int | None], list[Picture]] = {}

    @cached_property
    def listing(self) -> Listing:
        """What the folder holds. Raises DataError if it is no labelled data set."""
        named = any(b.folder for b in self.branches)
        folders = {b.folder or b.fine: b.fine for b in self.branches} if named else {}
        found = listing(self.root, self.tally, folders or None)
        if self.branches and not folders:
            known = {b.fine.casefold(): b.fine for b in self.branches}
            kept = tuple(
                Photo(path=p.path, label=known[p.label.casefold()], part=p.part)
                for p in found.photos
                if p.label.casefold() in known
            )
            others = [p.path for p in found.photos if p.label.casefold() not in known]
            what = "pictures of classes that the taxonomy does not name"
            self.tally.count(what, others[0] if others else "", len(others))
            found = Listing(layout=found.layout, root=found.root, photos=kept)
        empty = {b.fine for b in self.branches} - {p.label for p in found.photos}
        if empty:
            raise DataError(
                f"{self.setting}='{self.root}': {len(empty)} of {len(self.branches)} classes of the "
                "taxonomy have no picture",
                found=", ".join(sorted(empty)[:8]),
                allowed="a folder called like the class, or as the column folder says, also below train/ "
                "and test/",
            )
        return found

    def concepts(self) -> list[str]:
        """Return the classes, in alphabetical order."""
        return sorted(self._by_class)

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return all sound pictures of one class in one split, in the order of a hash of their names."""
        return self.drawn(concept, split, None)

    def drawn(self, concept: str, split: str, limit: int | None) -> list[Picture]:
        """Return the sound ones among the first `limit` pictures of one class in one split; no other file is
        read.
        """
        wanted = (concept, split, limit)
        if wanted not in self._drawn:
            if concept not in self._by_class:
                near = nearest(concept, self._by_class)
                raise DataError(
                    f"{self.setting}='{self.root}' has no class '{concept}'", allowed=", ".join(near) or None
                )
            self._drawn[wanted] = self._examined(self._by_class[concept][split][:limit], concept)
        return self._drawn[wanted]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read pictures as RGB, at most 512 pixels on the shorter side."""
        return [self._image(p.key, self._photos[p.key]) for p in pictures]

    @cached_property
    def _by_class(self) -> dict[str, dict[str, list[Photo]]]:
        found: dict[str, list[Photo]] = {}
        for photo in self.listing.photos:
            found.setdefault(photo.label, []).append(photo)
        return {label: _cut(photos) for label, photos in found.items()}

    def _examined(self, photos: Sequence[Photo], concept: str) -> list[Picture]:
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
            verdicts = list(workers.map(self._examine, photos))
        self.tally.examined += len(photos)
        pictures = []
        for photo, (key, look) in zip(photos, verdicts, strict=True):
            if not self.tally.passed(photo.path, look):
                continue
            if key in self._photos and self._photos[key].path != photo.path:
                self.tally.duplicates += 1
            else:
                self._photos[key] = photo
                pictures.append(Picture(key=key, concept=concept, domain=self.domain, file=photo.path))
        return pictures

    def _examine(self, photo: Photo) -> tuple[str, Look]:
        if "#" not in photo.path:
            data, look = read_picture(self.listing.root / photo.path)
            return content_key(self.name, data), look
        data = self._bytes(photo)
        whole = len(data) == CIFAR100_ROW - 2
        return content_key(self.name, data), Look(flaw=None if whole else "a row that cannot be read")

    def _bytes(self, photo: Photo) -> bytes:
        """Return the bytes of a file or of a row; none if they cannot be read."""
        file, _, row = photo.path.partition("#")
        if not row:
            return bytes_of(self.listing.root / file)
        try:
            with (self.listing.root / file).open("rb") as stream:
                stream.seek(int(row) * CIFAR100_ROW + 2)
                return stream.read(CIFAR100_ROW - 2)
        except OSError:
            return b""

    def _image(self, key: str, photo: Photo) -> Image.Image:
        data = unchanged(key, self._bytes(photo), photo.path)
        if "#" not in photo.path:
            return decode(data)
        return Image.fromarray(np.frombuffer(data, np.uint8).reshape(3, 32, 32).transpose(1, 2, 0).copy())


def _cut(photos: Sequence[Photo]) -> dict[str, list[Photo]]:
    """Cut the pictures of one class into splits, by the hash of their names."""
    ordered = sorted(photos, key=lambda p: hashlib.sha256(p.path.encode(errors="surrogateescape")).digest())
    test = [p for p in ordered if p.part == "test"]
    rest = [p for p in ordered if p.part != "test"]
    if not test:
        border = round(EVALUATION * len(rest))
        test, rest = rest[:border], rest[border:]
    border = round(VALIDATION * len(rest))
    return dict(zip(SPLITS, (rest[border:], rest[:border], test), strict=True))
