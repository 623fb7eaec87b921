"""What a place of pictures held that is not used, or not as one may think: counted, named, told in notes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from razor_cli.data.sources.pixels import Look
from razor_cli.errors import DataError

NAMED = 10  # so many left-out files are named in one message
NAMES = re.compile(r"(?<= are corrupt and left out): .*$|(?<=\d), such as .*$", re.DOTALL)  # in a note


@dataclass(kw_only=True)
class Tally:
    """What one place of pictures held that is not used. `setting` is the configuration key that named the
    place.
    """

    setting: str
    examined: int = 0
    duplicates: int = 0
    shared: int = 0  # left out, as another set has them
    corrupt: dict[str, str] = field(default_factory=dict)  # file -> why
    skipped: Counter[str] = field(
        default_factory=Counter
    )  # why -> rows of metadata that have no usable picture
    counted: dict[str, tuple[int, str]] = field(default_factory=dict)  # what -> how many, and the first
    caps: list[str] = field(default_factory=list)  # where a setting left out pictures that there are

    def count(self, what: str, example: str, number: int = 1) -> None:
        """Count things that are there and are not used, or whose use is worth a note; the first one stays
        as the example.
        """
        if number:
            before, first = self.counted.get(what, (0, example))
            self.counted[what] = (before + number, first)

    def passed(self, name: str, look: Look) -> bool:
        """Tell whether an examined picture is sound; what was found is counted."""
        if look.flaw is not None:
            self.corrupt[name] = look.flaw
            return False
        for trait in look.traits:
            self.count(trait, name)
        return True

    def named(self) -> str:
        """Return the corrupt files with their flaws, the first ten by name."""
        shown = [f"{name} ({why})" for name, why in sorted(self.corrupt.items())[:NAMED]]
        more = len(self.corrupt) - len(shown)
        return _plain("; ".join(shown) + (f"; and {more} more" if more else ""))

    def unused(self) -> str:
        """Return what was counted, in one line."""
        return _plain("; ".join(f"{what}: {n}, such as {first}" for what, (n, first) in self.counted.items()))

    def notes(self) -> list[str]:
        """Return what a reader of the run must know, one sentence each."""
        notes = []
        if self.corrupt:
            notes.append(
                f"{self.setting}: {len(self.corrupt)} of {self.examined} are corrupt and left out: "
                f"{self.named()}"
            )
        if self.duplicates:
            notes.append(f"{self.setting}: {self.duplicates} exact duplicates left out")
        if self.shared:
            notes.append(f"{self.setting}: {self.shared} pictures that are in another set left out")
        notes += [
            _plain(f"{self.setting}: {what}: {n}, such as {first}")
            for what, (n, first) in self.counted.items()
        ]
        if self.skipped:
            why = ", ".join(f"{n} {reason}" for reason, n in self.skipped.most_common())
            notes.append(f"{self.setting}: {self.skipped.total()} rows of the metadata skipped: {why}")
        return [*notes, *self.caps]

    @staticmethod
    def unnamed(note: str) -> str:
        """Return a note of any tally without the names of files in it."""
        return NAMES.sub("", note)

    def check(self, max_corrupt: float) -> None:
        """Raise DataError if a larger share than `max_corrupt` of what was examined is corrupt."""
        if len(self.corrupt) > max_corrupt * self.examined:
            share = len(self.corrupt) / self.examined
            raise DataError(
                f"{self.setting}: {len(self.corrupt)} of {self.examined} pictures are corrupt",
                allowed=f"a share of at most data.max_corrupt={max_corrupt:g} (this is {share:.2g})",
                found=self.named(),
                fix="replace or remove these files, or raise data.max_corrupt",
            )


def _plain(text: str) -> str:
    """Return a text that can be written: bytes of a file's name that are no UTF-8 show as `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")
