"""What an edit of one target and its proof need: parts of data, and the sets they make up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Part(Protocol):
    """One set of examples, listed and not yet loaded."""

    def __len__(self) -> int: ...

    def head(self, count: int | None) -> Part:
        """Return the first `count` examples; all of them for None."""
        ...

    def sampled(self, count: int | None, seed: int) -> Part:
        """Return `count` examples that the seed draws, in their order here; all of them for None."""
        ...

    def drawn(self, seed: int) -> Part:
        """Return the examples as a training of the family's own would meet them: in an order that the seed
        draws, and varied at random.
        """
        ...

    def captioned(self, caption: str) -> Part:
        """Return the examples with this caption in place of each one's own."""
        ...

    def widest(self, count: int) -> Part:
        """Return `count` of the examples that take the most memory, as far as their listing tells."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of what the examples are."""
        ...


class Sets(Protocol):
    """What an edit of one target and its proof need. Families and data agree on everything beyond this."""

    @property
    def target(self) -> str:
        """Return the concept that goes."""
        ...

    @property
    def called(self) -> str:
        """Return the target as sentences write it, where they do so otherwise; else nothing."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Return what a reader of the run must know of the sets."""
        ...

    @property
    def forget(self) -> Part:
        """Return the examples of the target that gradients see."""
        ...

    @property
    def retain(self) -> Part:
        """Return the examples of what must stay that gradients see."""
        ...

    @property
    def steps(self) -> Sequence[Sets]:
        """Return the sets of the edits that make up the request, in their order; none where one edit does."""
        ...

    def fingerprints(self) -> dict[str, str]:
        """Return a hash for every set, and of the words that go with them: the part of a run's id that is
        data.
        """
        ...

    def sizes(self) -> dict[str, int]:
        """Return how many examples each set has."""
        ...

    def mended(self) -> Sequence[str]:
        """Return what was damaged where examples are kept and was made anew, known once they were loaded."""
        ...

    def record(self) -> Mapping[str, Sequence[str] | Mapping[str, str]]:
        """Return the examples of every set by name, and where they have files these by example, for
        split.json.
        """
        ...
