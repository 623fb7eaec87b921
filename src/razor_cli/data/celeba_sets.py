"""Sets from CelebA alone: the photographs of one name against those of the hundred most frequent others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from razor_cli.data.assemble import Draft, assemble
from razor_cli.data.sampling import Pool, Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.celeba import CelebA
from razor_cli.errors import DataError

ALL = 10**9  # photographs of a name: there are 35 at most


@dataclass(frozen=True, kw_only=True)
class CelebARequest:
    """What `data=celeba` asks for; names are those of the settings."""

    target: str
    aliases: tuple[str, ...]
    root: Path
    sizes: Sizes
    max_corrupt: float
    min_forget: int
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The target and its other names, as the list may have them."""
        return (self.target, *self.aliases)


def celeba_sets(ask: CelebARequest) -> ConceptSets:
    """Return the sets of one name: its photographs are cut by content hash into 25 % forget, 25 % validation
    and 50 % evaluation, those of the other names likewise.

    Raises DataError for a name that is not in the list, and for too few photographs.
    """
    celeba = CelebA(ask.root)
    mine, others = celeba.find(ask.names), celeba.frequent(ask.names)
    if not mine:
        raise celeba.unknown(ask.target, judging=False)
    own = celeba.draw(mine, ALL, random.Random(0))
    retain = celeba.draw(others, ALL, random.Random(0))
    celeba.tally.check(ask.max_corrupt)
    shown = [replace(p, concept=ask.target) for name in mine for p in own[name]]
    _enough(shown, ask, celeba)
    draft = Draft(
        target=ask.target,
        aliases=ask.aliases,
        keywords=ask.names,
        domain=celeba.domain,
        own=_pool(celeba, {ask.target: shown}),
        retain=[_pool(celeba, retain)],
        classes=dict.fromkeys(others, celeba.domain),
        sizes=ask.sizes,
        seed=ask.seed,
        notes=[
            f"celeba: {len(shown)} photographs of the target",
            f"celeba: kept are the {len(others)} most frequent names {celeba.ranking()}",
            *celeba.tally.notes(),
        ],
    )
    return assemble(draft)


def _pool(celeba: CelebA, by_name: dict[str, list[Picture]]) -> Pool:
    """Cut every name's photographs by the order of their hashes, the same in every run."""
    splits: dict[str, dict[str, list[Picture]]] = {split: {} for split in SPLITS}
    for name, pictures in by_name.items():
        ordered = sorted(pictures, key=lambda p: p.key)
        first, second = borders(len(ordered))
        parts = (ordered[:first], ordered[first:second], ordered[second:])
        for split, part in zip(SPLITS, parts, strict=True):
            splits[split][name] = part
    return Pool(source=celeba, splits=splits)


def borders(count: int) -> tuple[int, int]:
    """Return where `count` photographs are cut. Half are judged: thirty of a name at five questions each are
    as few as can show that at most 5 % of the answers tell it.
    """
    second = count - count // 2
    return (second + 1) // 2, second


def _enough(shown: Sequence[Picture], ask: CelebARequest, celeba: CelebA) -> None:
    if len(shown) < ask.min_forget:
        raise DataError(
            f"{celeba.setting}='{ask.root}': too few photographs of target='{ask.target}'",
            allowed=f"data.min_forget={ask.min_forget} or more (a quarter each to forget and to "
            "search with, half to judge with)",
            found="; ".join([f"{len(shown)} usable", *celeba.tally.notes()]),
            fix="another target, other spellings in data.aliases, or photographs of your own: data=folder",
        )
