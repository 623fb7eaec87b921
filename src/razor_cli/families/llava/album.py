"""Pictures of a run by a name of their own, each held once, so that whoever answers looks at it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from razor_cli.data.sets import Pairs
from razor_cli.data.sources.base import Picture, Source


@dataclass
class KeptSource:
    """A source whose pictures stay in memory once they were read."""

    inner: Source
    name: str = field(init=False)
    domain: str = field(init=False)
    _held: dict[tuple[str, int], Image.Image] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.name, self.domain = self.inner.name, self.inner.domain

    def concepts(self) -> list[str]:
        """Return the concepts of the source."""
        return self.inner.concepts()

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the pictures of the source."""
        return self.inner.pictures(concept, split)

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Return pictures in order, the same objects each time."""
        new = [p for p in pictures if (p.key, p.view) not in self._held]
        self._held |= zip([(p.key, p.view) for p in new], self.inner.load(new), strict=True)
        return [self._held[p.key, p.view] for p in pictures]


def kept(parts: Iterable[Pairs]) -> list[Pairs]:
    """Return parts whose pictures stay in memory once they were read; parts of one source share them."""
    several: dict[int, KeptSource] = {}
    return [
        replace(p, sources={d: several.setdefault(id(s), KeptSource(s)) for d, s in p.sources.items()})
        for p in parts
    ]


def called(picture: Picture) -> str:
    """Return a picture's name: its origin and its view."""
    return f"{picture.key}#{picture.view}"


@dataclass(frozen=True)
class OfPairs:
    """The pictures of some parts as the album of a question set."""

    parts: Sequence[Pairs]

    def load(self, keys: Sequence[str]) -> list[Image.Image]:
        """Return pictures in order."""
        found: dict[str, Image.Image] = {}
        for part in self.parts:
            chosen = self._of(part, keys)
            found |= zip(chosen, replace(part, pictures=tuple(chosen.values())).load(), strict=True)
        return [found[key] for key in keys]

    @staticmethod
    def _of(part: Pairs, keys: Sequence[str]) -> Mapping[str, Picture]:
        wanted = set(keys)
        return {called(p): p for p in part.pictures if called(p) in wanted}
