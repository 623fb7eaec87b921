"""CelebA photographs with names, for SLUG's utility (CelebA-100) and forget accuracy, and for names that are
forgotten with its own photographs (data=celeba); never shipped, never downloaded here.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from pathlib import Path

from PIL import Image

from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.photo import ENDINGS, content_key, hash_of, same, unchanged
from razor_cli.data.sources.pixels import bytes_of, decode, read_picture
from razor_cli.data.sources.tally import Tally
from razor_cli.data.texts import read_lines
from razor_cli.errors import DataError, nearest

LISTS = ("list_identity_celeba.txt", "identity_CelebA.txt")
NAMES = "identity_names.txt"  # number and name a line, for the numbered list
FREQUENT = "frequent_celebs.txt"  # names by how often captions hold them, one a line, as SLUG ranks them
PICTURES = ("img_align_celeba", "img_align_celeba/img_align_celeba", "Img/img_align_celeba")
MEASURED = 100  # identities of CelebA-100


class CelebA:
    """Source of CelebA: one split, `evaluation`; who forgets with it cuts what `draw` returns.

    `root` holds `list_identity_celeba.txt` (with or without its two header lines) and img_align_celeba/.
    Identities are names (`Elon_Musk`, `_` read as a space), or numbers with names in `identity_names.txt`.
    Keys are hashes of the files.
    """

    name = "celeba"
    domain = "person"

    def __init__(self, root: Path | str, *, setting: str = "data.celeba_root") -> None:
        self.root, self.setting = Path(root), setting
        self.tally = Tally(setting=setting)
        self.taken: AbstractSet[str] = frozenset()  # contents that other sets hold, which are not drawn
        self._files: dict[str, Path] = {}  # key -> file

    @cached_property
    def identities(self) -> dict[str, list[str]]:
        """File names by name. Raises DataError naming the file and line that cannot be read."""
        table = next((self.root / n for n in LISTS if (self.root / n).is_file()), None)
        if table is None:
            there = (
                ", ".join(sorted(p.name for p in self.root.iterdir())[:6])
                if self.root.is_dir()
                else "not a folder"
            )
            raise DataError(
                f"{self.setting}: no list of identities in '{self.root}'",
                allowed=f"{LISTS[0]} (000001.jpg Firstname_Lastname), and img_align_celeba/ beside it",
                found=there or "an empty folder",
            )
        found: dict[str, list[str]] = defaultdict(list)
        for file, identity in _rows(table).items():
            found[identity].append(file)
        if all(i.isdecimal() for i in found):
            names = self._numbered(table)
            unnamed = [i for i in found if i not in names]
            if unnamed:
                self.tally.skipped.update({"identities without a name": len(unnamed)})
            numbered, found = found, defaultdict(list)
            for i in [i for i in numbered if i in names]:
                found[names[i]] += numbered[i]
        spelled: dict[str, str] = {}
        merged: dict[str, list[str]] = defaultdict(list)
        for name, files in sorted(found.items()):  # `Ada_Quill` and `Ada Quill` are one
            merged[spelled.setdefault(same(name), name.replace("_", " ").strip())] += files
        return dict(merged)

    def concepts(self) -> list[str]:
        """Return all names, in alphabetical order."""
        return list(self.identities)

    def find(self, names: Iterable[str]) -> list[str]:
        """Return the names of the list that are one of `names`, ignoring case, `_` and `-`."""
        wanted = {same(n) for n in names}
        return [n for n in self.identities if same(n) in wanted]

    def frequent(self, without: Iterable[str] = ()) -> list[str]:
        """Return the 100 most frequent names that are none of `without`.

        The order is that of `frequent_celebs.txt` beside the list (SLUG ranks by captions of LAION), else by
        pictures.
        """
        excluded = set(self.find(without))
        return [n for n in self._ranked if n not in excluded][:MEASURED]

    @cached_property
    def _ranked(self) -> list[str]:
        ranking = self.root / FREQUENT
        if not ranking.is_file():
            return sorted(self.identities, key=lambda n: (-len(self.identities[n]), n))
        spelled = {same(n): n for n in self.identities}
        lines = [line.strip() for line in read_lines(ranking) if line.strip()]
        unknown = [line for line in lines if same(line) not in spelled]
        what = f"names of {FREQUENT} that are not in the list of identities"
        self.tally.count(what, unknown[0] if unknown else "", len(unknown))
        return list(dict.fromkeys(spelled[same(line)] for line in lines if same(line) in spelled))

    def ranking(self) -> str:
        """Say what the 100 are the most frequent by."""
        return (
            f"by {FREQUENT}" if (self.root / FREQUENT).is_file() else f"by number of pictures (no {FREQUENT})"
        )

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the sound photographs of one name; only the split `evaluation` has any."""
        return self.draw([concept], 10**9, random.Random(0))[concept] if split == "evaluation" else []

    def draw(self, names: Sequence[str], count: int, rng: random.Random) -> dict[str, list[Picture]]:
        """Return up to `count` sound photographs by name, one of each name in turn; missing and damaged ones
        are counted.
        """
        queues = {n: rng.sample(files := self.identities[n], len(files)) for n in names}
        found: dict[str, list[Picture]] = {n: [] for n in names}
        seen: set[str] = set()
        drawn = 0
        while drawn < count and any(queues.values()):
            for name in [n for n in names if queues[n]][: count - drawn]:
                picture = self._next(name, queues[name], seen)
                if picture is not None:
                    found[name].append(picture)
                    drawn += 1
        return found

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read drawn photographs as RGB."""
        places = [(p.key, self._files[p.key]) for p in pictures]
        return [decode(unchanged(key, bytes_of(path), path)) for key, path in places]

    def file_of(self, picture: Picture) -> str:
        """Return the file name of a drawn photograph."""
        return self._files[picture.key].name

    def unknown(self, name: str, *, judging: bool = True) -> DataError:
        """Return the error for a target that CelebA does not show, and by which it is to be judged."""
        names = self.concepts()
        near = nearest(name, names) or names[:5]
        setting = "data.judge_on_celeba" if judging else self.setting
        leave = ", or leave data.judge_on_celeba=false" if judging else ""
        return DataError(
            f"{setting}: target='{name}' is not among the names of '{self.root}'",
            allowed=f"{len(names)} names, nearest: {', '.join(near)}",
            fix=f"correct target, or add the spelling of the list to data.aliases{leave}",
        )

    @cached_property
    def home(self) -> Path:
        """The folder of the photographs. Raises DataError if there is none."""
        home = next((self.root / p for p in PICTURES if any((self.root / p).glob("*.jpg"))), None)
        if home is None:
            raise DataError(
                f"{self.setting}: no photographs under '{self.root}'",
                allowed="img_align_celeba/000001.jpg beside the list",
                fix="unpack img_align_celeba.zip there",
            )
        return home

    def _next(self, name: str, queue: list[str], seen: set[str]) -> Picture | None:
        """Return the next sound picture of a queue that was not drawn before, None when the queue ends."""
        while queue:
            path = self.home / queue.pop()
            self.tally.examined += 1
            data, look = read_picture(path)
            if not self.tally.passed(path.name, look):
                continue
            key = content_key(self.name, data)
            if hash_of(key) in self.taken:
                self.tally.shared += 1
            elif key in seen:
                self.tally.duplicates += 1
            else:
                seen.add(key)
                self._files[key] = path
                return Picture(key=key, concept=name, domain=self.domain, file=path.name)
        return None

    def _numbered(self, table: Path) -> dict[str, str]:
        path = self.root / NAMES
        if not path.is_file():
            raise DataError(
                f"{self.setting}: '{table.name}' numbers its identities, and a text model needs names",
                allowed=f"a list with names (000001.jpg Firstname_Lastname), or {NAMES} beside it (2880 "
                "Firstname_Lastname)",
                fix=f"put one of them into '{self.root}'",
            )
        names: dict[str, str] = {}
        for number, line in enumerate(read_lines(path), 1):
            words = re.split(r"[\s,]+", line.strip(), maxsplit=1)
            if len(words) == 2 and words[0].isdecimal():
                _once(names, words[0], words[1].strip(), f"'{path}', line {number}")
        return names


def _once(known: dict[str, str], name: str, value: str, where: str) -> None:
    """Note what a list says of a name. Raises DataError where it said something else above."""
    if known.setdefault(name, value) != value:
        found = f"{known[name]} above, {value} here"
        raise DataError(f"{where}: {name} stands there twice", found=found)


def _rows(table: Path) -> dict[str, str]:
    """Return the identity of each file; a count and a header before the first picture are passed over,
    anything later is an error.
    """
    rows: dict[str, str] = {}
    for number, line in enumerate(read_lines(table), 1):
        words = re.split(r"[\s,]+", line.strip(), maxsplit=1)
        is_picture = Path(words[0]).suffix.lower() in ENDINGS
        if not line.strip() or (not rows and not is_picture):
            continue
        if not is_picture or len(words) < 2 or "/" in words[0] or "\\" in words[0]:
            allowed = "000001.jpg Firstname_Lastname"
            raise DataError(
                f"'{table}', line {number}: not a picture and its identity", found=line[:80], allowed=allowed
            )
        _once(rows, words[0], words[1].strip(), f"'{table}', line {number}")
    if not rows:
        raise DataError(
            f"'{table}' lists no picture", allowed="lines such as `000001.jpg Firstname_Lastname`"
        )
    return rows


def read_names(path: Path, setting: str = "data.names_file") -> tuple[str, ...]:
    """Return the names of a file, one a line; blank lines and lines with `#` in front are no names, `_` reads
    as a space.
    """
    lines = read_lines(path, setting=setting)
    names = distinct(
        line.replace("_", " ").strip() for line in lines if line.strip() and not line.startswith("#")
    )
    if not names:
        raise DataError(f"{setting}: '{path}' holds no name", allowed="one name a line")
    return names


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in order, each once in its first spelling, ignoring case and reading `_` and `-` as
    spaces.
    """
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(same(name), name)
    return tuple(found.values())
