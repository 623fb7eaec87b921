"""How folders of pictures to keep are cut into those that train, validate and evaluate."""

from __future__ import annotations

from collections.abc import Sequence

from razor_cli.data.sampling import Pool
from razor_cli.data.sources.base import SPLITS
from razor_cli.data.sources.folder import Folder

BY_CONCEPT = "cut by concept, as no concept has enough pictures to be cut"


def cut(pools: Sequence[Pool], notes: list[str]) -> list[Pool]:
    """Return retain pools, those of folders with pictures in every split: whole concepts go to a split where
    they have too few pictures each to be cut (celebrities, often one); `notes` says so, and where there are
    too few concepts for that.
    """
    told: list[str] = []
    found = [_cut_one(pool, told) for pool in pools]
    if not all(any(split not in _without(pool) for pool in found) for split in SPLITS):
        told = [f"{pool.source.setting}: {BY_CONCEPT}" for pool in pools if isinstance(pool.source, Folder)]
        found = [pool.by_concept() if isinstance(pool.source, Folder) else pool for pool in pools]
    notes += told
    return found


def _cut_one(pool: Pool, notes: list[str]) -> Pool:
    folder = pool.source
    if not isinstance(folder, Folder) or not pool.count() or not _without(pool):
        return pool
    whole = pool.by_concept()
    if not _without(whole):
        notes.append(f"{folder.setting}: {BY_CONCEPT}")
        return whole
    roles = {"train": "retain", "validation": "validation_retain", "evaluation": "evaluation_retain"}
    empty = " and ".join(roles.get(split, split) for split in _without(pool))
    notes.append(f"{folder.setting}: too few pictures to be cut, {empty} has none of them")
    return pool


def _without(pool: Pool) -> list[str]:
    """Return the splits that have no picture of a pool."""
    return [split for split in SPLITS if not any(pool.splits[split].values())]
