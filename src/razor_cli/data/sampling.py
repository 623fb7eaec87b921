"""How candidate pictures become sets: pools by split and concept, balanced seeded draws, and how many of each
are wanted.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import TypeVar

from PIL import Image

from razor_cli.data.sources.base import SPLITS, Picture, Source
from razor_cli.data.sources.photo import halves
from razor_cli.errors import ConfigError

# Sources whose key is a hash of the file; in the others no picture occurs twice.
FILES = ("folder", "webdataset", "laion", "imagenet", "celeba", "labelled", "unlearncanvas")
Item = TypeVar("Item")
Groups = dict[str, list[Picture]]  # group (a concept, as a rule) -> pictures


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many pictures each set takes at most; fewer are taken, and noted, where there are fewer."""

    forget: int = 60  # data.n_forget, what the edit forgets with
    retain: int = 512  # data.n_retain, what it must keep, balanced over concepts
    validation_forget: int = 100  # data.n_validation_forget, what the search looks at
    validation_retain: int = 400
    evaluation_forget: int = 120  # data.n_evaluation_forget, what the proof is made on, once
    evaluation_retain: int = 600
    suite: int = 300  # data.n_suite, pictures of each unrelated task

    def __post_init__(self) -> None:
        for f in fields(self):
            if getattr(self, f.name) < 1:
                raise ConfigError(f"data.n_{f.name} must be at least 1", found=getattr(self, f.name))


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Candidates of one source, by split. Groups within a split are drawn from in equal parts."""

    source: Source
    splits: dict[str, Groups]

    @classmethod
    def of(cls, source: Source, concepts: Iterable[str]) -> Pool:
        """Return the pool of some of a source's concepts."""
        names = list(concepts)
        return cls(source=source, splits={s: {c: source.pictures(c, s) for c in names} for s in SPLITS})

    def by_concept(self) -> Pool:
        """Return the same candidates with whole concepts in each split: half of them, in the order of the
        hashes of their names, to train, a quarter each to validate and to evaluate.
        """
        every: Groups = {}
        for split in SPLITS:
            for concept, pictures in self.splits[split].items():
                every.setdefault(concept, []).extend(pictures)
        names = sorted((c for c, g in every.items() if g), key=lambda c: sha256(c.encode()).digest())
        first, second = halves(len(names))
        parts = zip(SPLITS, (names[:first], names[first:second], names[second:]), strict=True)
        return Pool(source=self.source, splits={s: {c: every[c] for c in part} for s, part in parts})

    def count(self) -> int:
        """Return the number of candidates in all splits."""
        return sum(len(group) for groups in self.splits.values() for group in groups.values())


class Joined:
    """Several sources of one domain behind one `load`: each picture is read by the source that offered it."""

    name = "joined"

    def __init__(self, domain: str, owners: Mapping[str, Source]) -> None:
        self.domain, self.owners = domain, owners  # picture key -> source

    def concepts(self) -> list[str]:
        """Return no names: this only reads pictures that were chosen before."""
        return []

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return no pictures: this only reads pictures that were chosen before."""
        return []

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read pictures in order, each source called once."""
        images: dict[int, Image.Image] = {}
        by_source: dict[int, list[int]] = {}
        for at, picture in enumerate(pictures):
            by_source.setdefault(id(self.owners[picture.key]), []).append(at)
        for places in by_source.values():
            source = self.owners[pictures[places[0]].key]
            images |= zip(places, source.load([pictures[i] for i in places]), strict=True)
        return [images[i] for i in range(len(pictures))]


def readers(pools: Iterable[Pool]) -> dict[str, Source]:
    """Return one source per domain that reads every candidate of the pools."""
    by_domain: dict[str, list[Pool]] = {}
    for pool in pools:
        by_domain.setdefault(pool.source.domain, []).append(pool)
    return {domain: _reader(domain, same_domain) for domain, same_domain in by_domain.items()}


def _reader(domain: str, pools: list[Pool]) -> Source:
    if len({id(p.source) for p in pools}) == 1:
        return pools[0].source
    owners = {
        x.key: p.source
        for p in pools
        for groups in p.splits.values()
        for group in groups.values()
        for x in group
    }
    return Joined(domain, owners)


def rng_for(seed: int, label: str) -> random.Random:
    """Return the generator of one set: sets do not disturb each other's draws."""
    return random.Random(f"{seed} {label}")


def some(items: Sequence[Item], count: int | None, seed: int) -> list[Item]:
    """Return `count` of the items that the seed draws, in their order; all of them for None."""
    if count is None or count >= len(items):
        return list(items)
    places = rng_for(seed, f"some of {len(items)}").sample(range(len(items)), count)
    return [items[place] for place in sorted(places)]


def balanced(groups: Groups, count: int, rng: random.Random) -> list[Picture]:
    """Draw up to `count` pictures without replacement, one of each group in turn, groups and pictures in
    random order.
    """
    shuffled = [
        rng.sample(g, min(len(g), count))
        for g in rng.sample([g for g in groups.values() if g], sum(map(bool, groups.values())))
    ]
    drawn: list[Picture] = []
    depth = 0
    while len(drawn) < count and depth < max(map(len, shuffled), default=0):
        drawn += [g[depth] for g in shuffled if len(g) > depth][: count - len(drawn)]
        depth += 1
    return drawn


def shared(pools: Sequence[Groups], count: int, rng: random.Random) -> list[Picture]:
    """Draw up to `count` pictures, half of them from the first pool (the target's kind), the rest in equal
    parts from the others.

    Where a pool is short the others fill up. Judging needs many pictures of the concepts most like the
    target: their accuracy is what an edit is likeliest to hurt.
    """
    drawn = [balanced(g, count, rng) for g in pools]
    if len(pools) == 1:
        return drawn[0]
    shares = [count - count // 2, *[count // 2 // (len(pools) - 1)] * (len(pools) - 1)]
    chosen = [pictures[:share] for pictures, share in zip(drawn, shares, strict=True)]
    spare = [p for pictures, share in zip(drawn, shares, strict=True) for p in pictures[share:]]
    flat = [p for pictures in chosen for p in pictures]
    return flat + spare[: count - len(flat)]


def content(key: str) -> str:
    """Return what makes a picture itself: for picture files the hash alone, whichever source read them."""
    source, _, rest = key.partition("/")
    return rest if source in FILES else key


def without_repeats(pool: Pool, seen: set[str]) -> tuple[Pool, int]:
    """Return the pool less what is in `seen` (contents), and how many went; views of one key in one split
    stay together.

    Adds what stays to `seen`. The held-out splits choose first, so that a photograph in two folders is never
    trained on.
    """
    dropped = 0
    splits: dict[str, Groups] = {}
    for split in reversed(SPLITS):
        owner: dict[str, str] = {}
        splits[split] = {}
        for group, pictures in pool.splits[split].items():
            kept = [
                p
                for p in pictures
                if content(p.key) not in seen and owner.setdefault(content(p.key), group) == group
            ]
            dropped += len(pictures) - len(kept)
            splits[split][group] = kept
        seen |= set(owner)
    return Pool(source=pool.source, splits={s: splits[s] for s in SPLITS}), dropped
