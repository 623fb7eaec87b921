"""Captioned pictures in tar shards (.jpg|.jpeg|.png|.webp with .txt or .json), as webdataset and img2dataset
write them.

The index is made with the standard library's tarfile (`members.py`): it only needs where each member's bytes
lie. The webdataset package streams samples in shard order and decodes by file ending, pickles included; here
a few pictures out of many are read at random, and nothing is ever unpickled or unpacked to disk.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from PIL import Image

from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.members import Sample, samples_of
from razor_cli.data.sources.patterns import asked_for
from razor_cli.data.sources.photo import content_key, mention, same, unchanged
from razor_cli.data.sources.pixels import decode, examine
from razor_cli.data.sources.tally import Tally
from razor_cli.data.texts import decoded, one_line, parsed_object
from razor_cli.errors import DataError, nearest

PACKED = (".tar.*", ".tgz", ".tbz2", ".txz", ".zip")
GRAMS = 20_000  # so many word groups of captions are compared for the nearest words
NO_CAPTION = "pictures without a caption"
NO_PICTURE = "captions without a picture"
UNREADABLE = "captions that cannot be read"
SECOND = "further pictures of a sample, of which the first is used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One captioned picture of a shard: where its bytes lie, not the bytes."""

    shard: int
    name: str  # member name without ending
    offset: int
    size: int
    caption: str


class WebDataset:
    """Source of captioned pictures from one tar file or all tar files under a folder; captions are free text.

    Pictures are chosen by caption (`mentioning`, `without`) and only then read (`draw`): the key is the hash
    of the picture's bytes. What is no captioned picture is counted.
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
                found="; ".join(filter(None, (self.tally.named(), self.tally.unused())))
                or f"{len(self.shards)} tar files",
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
            key = content_key(self.name, data)
            place = f"{self.shards[entry.shard].name}:{entry.name}"
            if not self.tally.passed(place, examine(data)):
                continue
            if key in seen:
                self.tally.duplicates += 1
            else:
                seen.add(key)
                self._found[key] = entry
                label = entry.caption if concept is None else concept
                pictures.append(
                    Picture(key=key, concept=label, domain=self.domain, caption=entry.caption, file=place)
                )
        return pictures

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read drawn pictures as RGB, at most 512 pixels on the shorter side."""
        found = [(p.key, self._found[p.key]) for p in pictures]
        return [
            decode(unchanged(key, self._read(entry), f"{self.shards[entry.shard]}:{entry.name}"))
            for key, entry in found
        ]

    def _read(self, entry: Entry) -> bytes:
        """Return a picture's bytes; none if they cannot be read, which is named as an empty file."""
        try:
            with self.shards[entry.shard].open("rb") as stream:
                stream.seek(entry.offset)
                return stream.read(entry.size)
        except OSError:
            return b""

    def _list_shards(self) -> list[Path]:
        packed: list[str] = []
        if self.root.is_dir():
            shards = sorted(s for s in self.root.rglob("*.tar") if not s.name.startswith("."))
            packed = sorted(p.name for ending in PACKED for p in self.root.rglob(f"*{ending}"))
        else:
            shards = asked_for(str(self.root), self.tally)
        for shard in shards:
            self.stay_inside(shard)
        if not shards:
            unpack = "unpack compressed shards to plain .tar first (pictures are read at random places)"
            raise DataError(
                f"{self.setting}: no tar file at '{self.root}'",
                found=f"compressed: {', '.join(packed[:3])}" if packed else None,
                fix=unpack
                if packed
                else f"point {self.setting} at a .tar file, a folder of them, or a pattern like "
                f"DIR/{{000..009}}.tar",
            )
        self.tally.count("compressed shards, which are not read", packed[0] if packed else "", len(packed))
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
        """Read the headers and captions of one shard; what is no captioned picture is counted."""
        path = self.shards[number]
        samples = samples_of(path, self.tally)
        end, told = path.stat().st_size, self._told(path)
        keys = Counter(PurePosixPath(s.name).name for s in samples)
        found = []
        with path.open("rb") as stream:
            for sample in samples:
                shown = f"{path.name}:{sample.name}"
                pictures = [m for m in sample.pictures() if m.end <= end]
                caption = self._caption(stream, sample, end, shown)
                key = PurePosixPath(sample.name).name
                if keys[key] == 1:  # what stands beside the shard goes by this name alone
                    caption = caption or told.get(key, "")
                if not pictures or not caption:
                    self._incomplete(shown, sample, caption)
                    continue
                self.tally.count(SECOND, shown, len(pictures) - 1)
                first = pictures[0]
                found.append(
                    Entry(
                        shard=number,
                        name=sample.name,
                        offset=first.offset,
                        size=first.size,
                        caption=caption,
                    )
                )
        return found

    def _incomplete(self, shown: str, sample: Sample, caption: str) -> None:
        if sample.pictures():
            self.tally.count(NO_CAPTION if not caption else "pictures cut off by the end of a shard", shown)
        elif caption:
            self.tally.count(NO_PICTURE, shown)

    def _caption(self, stream: BinaryIO, sample: Sample, end: int, shown: str) -> str:
        """Return the text member, else the key `caption` of the JSON member, on one line; nothing if there is
        neither.
        """
        for ending in (".txt", ".json"):
            member = sample.members.get(ending)
            if member is not None and member.end <= end:
                stream.seek(member.offset)
                if text := self.caption_in(stream.read(member.size), f"{shown}{ending}"):
                    return text
        return ""

    def caption_in(self, data: bytes, name: str) -> str:
        """Return the caption that a .txt or a .json file holds, on one line; one that cannot be read is
        counted.
        """
        try:
            text = decoded(data, name)
            caption = text if name.endswith(".txt") else parsed_object(text, name, "").get("caption")
        except DataError:
            self.tally.count(UNREADABLE, name)
            return ""
        return one_line(caption) if isinstance(caption, str) else ""

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
