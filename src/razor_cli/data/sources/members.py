"""Which members of a tar file are one sample: names, order, headers; the bytes of pictures are not read.

A sample is what has one name: the whole name before the ending of a picture or a text. Where a name occurs
again in a shard, only members that stand one behind the other are one sample, so that a picture never gets a
caption that was not packed with it.
"""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from razor_cli.data.sources.photo import ENDINGS
from razor_cli.data.sources.pixels import MAX_BYTES
from razor_cli.data.sources.tally import Tally

TEXTS = frozenset({".txt", ".json"})
MAX_TEXT = 100_000  # bytes of one caption member
MAX_HEADER = 1_000_000  # bytes of one extended header; those of real archives hold a long name


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a shard: its ending, and where its bytes lie."""

    ending: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the bytes end."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Members that belong together."""

    name: str
    members: dict[str, Member]  # by ending

    def pictures(self) -> list[Member]:
        """Return the pictures, in the order of the shard."""
        return [m for m in self.members.values() if m.ending in ENDINGS]


@dataclass
class Shard:
    """The members of a shard by name, while it is read: each list holds those that stand side by side."""

    runs: dict[str, list[list[Member]]] = field(default_factory=dict)
    last: str | None = None

    def add(self, name: str, member: Member) -> None:
        """File one member under its name."""
        runs = self.runs.setdefault(name, [])
        if runs and self.last == name:
            runs[-1].append(member)
        else:
            runs.append([member])
        self.last = name


def samples_of(path: Path, tally: Tally) -> list[Sample]:
    """Return the samples of a tar file in order; members that are no part of any are counted. A damaged file
    counts as one corrupt thing and gives what came before.
    """
    shard = Shard()
    try:
        with path.open("rb") as stream:
            for info in _headers(stream):
                name, member = _member(path.name, info, tally)
                if member is not None:
                    shard.add(name, member)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        tally.examined += 1
        tally.corrupt[path.name] = f"damaged tar file after {len(shard.runs)} samples ({error})"
    return [s for name, runs in shard.runs.items() for s in _told_apart(path.name, name, runs, tally)]


def stem_of(name: str, endings: Iterable[str] = (*ENDINGS, *TEXTS)) -> tuple[str, str]:
    """Return a name before one of the endings, and that ending in lower case; the whole name and nothing for
    another one.
    """
    ending = PurePosixPath(name).suffix.lower()
    return (name[: -len(ending)], ending) if ending in endings else (name, "")


class _Headers(io.RawIOBase):
    """A tar file of which headers are read: no header may claim more bytes than any real one has."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read a block of headers."""
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"an extended header of {size:,} bytes")
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the file."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self.stream.tell()


def _headers(stream: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    before = -1
    with tarfile.open(fileobj=_Headers(stream), mode="r:") as tar:
        for info in tar:
            if info.offset_data <= before or info.size < 0:  # a size below 0 would lead back for ever
                raise tarfile.ReadError(f"a member of {info.size} bytes")
            before = info.offset_data
            yield info
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header


def _member(shard: str, info: tarfile.TarInfo, tally: Tally) -> tuple[str, Member | None]:
    """Return one member with the name of its sample; None, counted, for one that is no part of any."""
    path = PurePosixPath(info.name)
    name, ending = stem_of(str(path))
    shown = f"{shard}:{info.name}"
    if info.isdir() or path.name.startswith("."):
        return name, None
    if not info.isreg() or info.sparse is not None:
        tally.count("members that are links or sparse, which are not read", shown)
    elif not ending:
        what = f"{path.suffix.lower()} members" if path.suffix else "members without an ending"
        tally.count(f"{what}, which are not read", shown)
    elif info.size > (limit := MAX_TEXT if ending in TEXTS else MAX_BYTES):
        tally.count(f"members of more than {limit:,} bytes, which are not read", shown)
    else:
        return name, Member(ending, info.offset_data, info.size)
    return name, None


def _told_apart(shard: str, name: str, runs: Sequence[Sequence[Member]], tally: Tally) -> list[Sample]:
    """Return the samples of one name, by the order of their members."""
    often = Counter(m.ending for run in runs for m in run)
    if max(often.values()) == 1:
        return [Sample(name=name, members={m.ending: m for run in runs for m in run})]
    found: list[dict[str, Member]] = []
    for run in runs:
        pieces: list[dict[str, Member]] = [{}]
        for member in run:
            if member.ending in pieces[-1]:
                pieces.append({})
            pieces[-1][member.ending] = member
        if len({frozenset(p) for p in pieces}) == 1:
            found += pieces
        else:  # such as two pictures and one text: whose is it?
            what = "samples of one name that cannot be told apart, left out"
            tally.count(what, f"{shard}:{name}")
    if len(found) > 1:
        tally.count("samples that share their name, kept apart by their order", f"{shard}:{name}", len(found))
    return [Sample(name=name, members=members) for members in found]
