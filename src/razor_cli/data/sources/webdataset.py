"""Captioned pictures in tar shards (.jpg|.jpeg|.png|.webp with .txt or .json), as webdataset and img2dataset
write them.

The index is made with the standard library's tarfile: it only needs where each member's bytes lie. The
webdataset package streams samples in shard order and decodes by file ending, pickles included; here a few
pictures out of many are read at random, and nothing is ever unpickled or unpacked to disk.
"""

from __future__ import annotations

import glob
import json
import random
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from PIL import Image

from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.photo import ENDINGS, MAX_BYTES, Tally, content_key, decode, flaw, mention, same
from razor_cli.errors import DataError, nearest

MAX_TEXT = 100_000  # bytes of one caption member
GRAMS = 20_000  # so many word groups of captions are compared for the nearest words


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One captioned picture of a shard: where its bytes lie, not the bytes."""

    shard: int
    name: str  # member name without ending
    offset: int
    size: int
    caption: str


@dataclass(slots=True)
class _Sample:
    """The members of one name while a shard is read: (offset, size) of each."""

    image: tuple[int, int] | None = None
    text: tuple[int, int] | None = None
    json: tuple[int, int] | None = None


class WebDataset:
    """Source of captioned pictures from one tar file or all tar files under a folder; captions are free text.

    Pictures are chosen by caption (`mentioning`, `without`) and only then read (`draw`): the key is the hash
    of the picture's bytes. Members without a caption, links and sparse members are no samples.
    """

    name = "webdataset"

    def __init__(self, root: Path | str, *, domain: str = "object", setting: str = "data.root") -> None:
        self.root, self.domain, self.setting = Path(root), domain, setting
        self.tally = Tally(setting=setting)
        self.shards = self._list_shards()
        self._found: dict[str, Entry] = {}  # key -> entry

    @classmethod
    def holds(cls, root: Path) -> bool:
        """Tell whether there are tar shards at `root`."""
        return root.is_file() or root.suffix == ".tar" or (root.is_dir() and any(root.rglob("*.tar")))

    def concepts(self) -> list[str]:
        """Return no names: captions are free text."""
        return []

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Raise DataError: pictures are chosen by caption, with `mentioning` and `draw`."""
        raise DataError(
            f"{self.setting}: tar shards have no concept '{concept}' in a split '{split}'; they are "
            "filtered by caption"
        )

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All captioned pictures, in shard and member order. Raises DataError if there are none."""
        entries = [e for number in range(len(self.shards)) for e in self._index(number)]
        if not entries:
            raise DataError(
                f"{self.setting}: no captioned picture in the tar files of '{self.root}'",
                allowed="members NAME.jpg|jpeg|png|webp with NAME.txt, or NAME.json with a key caption",
                found=self.tally.named() or f"{len(self.shards)} tar files",
            )
        return tuple(entries)

    def mentioning(self, names: Sequence[str]) -> list[Entry]:
        """Return the entries whose caption holds one of `names` as whole words, ignoring case.

        Raises DataError with the nearest words of the captions if there is none.
        """
        pattern = mention(names)
        found = [e for e in self.entries if pattern.search(same(e.caption))]
        if not found:
            raise self._no_match(names)
        return found

    def without(self, names: Sequence[str], captions: Iterable[str] = ()) -> list[Entry]:
        """Return the entries whose caption neither holds one of `names` nor equals one of `captions`."""
        pattern, taken = mention(names, joined=True), {same(c) for c in captions}
        return [
            e for e in self.entries if (text := same(e.caption)) not in taken and not pattern.search(text)
        ]

    def draw(
        self, entries: Sequence[Entry], count: int, rng: random.Random, *, concept: str | None, seen: set[str]
    ) -> list[Picture]:
        """Return up to `count` sound pictures in random order, none whose key is in `seen`; add theirs to it.

        `concept` None: the caption is all that is known of a picture, so it is also its concept.
        """
        pictures: list[Picture] = []
        for entry in rng.sample(entries, len(entries)):
            if len(pictures) == count:
                break
            data = self._read(entry)
            self.tally.examined += 1
            why = flaw(data)
            key = content_key(self.name, data)
            if why is not None:
                self.tally.corrupt[f"{self.shards[entry.shard].name}:{entry.name}"] = why
            elif key in seen:
                self.tally.duplicates += 1
            else:
                seen.add(key)
                self._found[key] = entry
                label = entry.caption if concept is None else concept
                pictures.append(Picture(key=key, concept=label, domain=self.domain, caption=entry.caption))
        return pictures

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read drawn pictures as RGB, at most 512 pixels on the shorter side."""
        return [decode(self._read(self._found[p.key])) for p in pictures]

    def _read(self, entry: Entry) -> bytes:
        with self.shards[entry.shard].open("rb") as stream:
            stream.seek(entry.offset)
            return stream.read(entry.size)

    def _list_shards(self) -> list[Path]:
        if self.root.is_dir():
            shards = sorted(s for s in self.root.rglob("*.tar") if not s.name.startswith("."))
        else:
            shards = sorted(Path(p) for p in expand(str(self.root)) if Path(p).is_file())
        for shard in shards:
            self.stay_inside(shard)
        if not shards:
            packed = [p.name for p in self.root.rglob("*.tar.*")][:3] if self.root.is_dir() else []
            unpack = "unpack compressed shards to plain .tar first (pictures are read at random places)"
            raise DataError(
                f"{self.setting}: no tar file at '{self.root}'",
                found=f"compressed: {', '.join(packed)}" if packed else None,
                fix=unpack
                if packed
                else f"point {self.setting} at a .tar file, a folder of them, or a pattern like "
                f"DIR/{{000..009}}.tar",
            )
        return shards

    def stay_inside(self, shard: Path) -> None:
        """Raise DataError for a shard that is a link out of the root."""
        if self.root.is_dir() and not shard.resolve().is_relative_to(self.root.resolve()):
            raise DataError(
                f"{self.setting}: '{shard}' is a link out of the folder",
                found=f"it leads to '{shard.resolve()}'",
                fix="copy the shard into the folder, or point the setting at the place it lies in",
            )

    def _told(self, shard: Path) -> Mapping[str, str]:
        """Return captions that stand beside a shard, by sample name; tar shards alone have none."""
        return {}

    def _index(self, number: int) -> list[Entry]:
        """Read the headers and captions of one shard; a damaged shard counts as one corrupt thing and gives
        what came before.
        """
        path = self.shards[number]
        samples: dict[str, _Sample] = {}
        try:
            with tarfile.open(path, mode="r:") as tar:
                for member in tar:
                    if member.isreg() and member.sparse is None:
                        _note(samples, member)
                    tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
        except (tarfile.TarError, OSError, ValueError) as error:
            self.tally.examined += 1
            self.tally.corrupt[path.name] = f"damaged tar file after {len(samples)} samples ({error})"
        end = path.stat().st_size
        found, told = [], self._told(path)
        with path.open("rb") as stream:
            for name, sample in samples.items():
                caption = _caption(stream, sample, end) or told.get(PurePosixPath(name).name)
                if caption and sample.image and sum(sample.image) <= end:
                    found.append(
                        Entry(
                            shard=number,
                            name=name,
                            offset=sample.image[0],
                            size=sample.image[1],
                            caption=caption,
                        )
                    )
        return found

    def _no_match(self, names: Sequence[str]) -> DataError:
        length = len(same(names[0]).split())
        grams: dict[str, None] = {}
        for entry in self.entries:
            words = same(entry.caption).split()
            grams |= dict.fromkeys(" ".join(words[i : i + length]) for i in range(len(words) - length + 1))
            if len(grams) > GRAMS:
                break
        near = nearest(same(names[0]), grams)
        return DataError(
            f"target: none of {len(self.entries)} captions under {self.setting}='{self.root}' holds "
            + " or ".join(f"'{n}'" for n in names)
            + " as whole words",
            found="nearest words in captions: " + (", ".join(near) if near else "none alike"),
            fix="correct target, set data.keyword, add spellings to data.aliases, or use other shards",
        )


def expand(pattern: str) -> list[str]:
    """Return the paths that a shard pattern stands for: `{000..009}` counts, `*`, `?` and `[…]` match what is
    there.
    """
    if found := re.search(r"\{(\d+)\.\.(\d+)\}", pattern):
        first, last = found[1], found[2]
        numbers = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
        return [p for n in numbers for p in expand(pattern[: found.start()] + n + pattern[found.end() :])]
    return glob.glob(pattern) if glob.has_magic(pattern) and not Path(pattern).exists() else [pattern]  # noqa: PTH207 (the pattern may be absolute)


def _note(samples: dict[str, _Sample], member: tarfile.TarInfo) -> None:
    """File one member under its sample: the name up to the first dot of its last part, as webdataset does."""
    path = PurePosixPath(member.name)
    stem, dot, ending = path.name.partition(".")
    ending = (dot + ending).lower()
    place = (member.offset_data, member.size)
    sample = samples.setdefault(str(path.parent / stem), _Sample())
    if ending in ENDINGS and member.size <= MAX_BYTES:
        sample.image = place
    elif ending == ".txt" and member.size <= MAX_TEXT:
        sample.text = place
    elif ending == ".json" and member.size <= MAX_TEXT:
        sample.json = place


def _caption(stream: BinaryIO, sample: _Sample, end: int) -> str | None:
    """Return the text member, else the key `caption` of the JSON member, on one line; None if there is
    neither.
    """
    if text := " ".join(_text(stream, sample.text, end).split()):
        return text
    try:
        value = json.loads(_text(stream, sample.json, end) or "null")
    except ValueError:
        return None
    caption = value.get("caption") if isinstance(value, dict) else None
    return " ".join(caption.split()) or None if isinstance(caption, str) else None


def _text(stream: BinaryIO, place: tuple[int, int] | None, end: int) -> str:
    """Return one text member; nothing if there is none, or if the shard ends inside it."""
    if place is None or sum(place) > end:
        return ""
    stream.seek(place[0])
    return stream.read(place[1]).decode("utf-8", errors="replace")
