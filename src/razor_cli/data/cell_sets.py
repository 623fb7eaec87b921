"""Sets from pictures of objects in styles that lie in files: the target's cells, and others to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from razor_cli.data.answer_sets import Scene
from razor_cli.data.drawn_sets import Plan, assemble, pairs_of
from razor_cli.data.sampling import rng_for
from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets
from razor_cli.data.sources.base import Picture, Source
from razor_cli.data.sources.unlearncanvas import UnlearnCanvas
from razor_cli.data.wording import Subject
from razor_cli.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When there are too few pictures, and too many that cannot be read."""

    min_forget: int
    max_corrupt: float


def cell_sets(plan: Plan, source: UnlearnCanvas, limits: Limits, notes: Sequence[str]) -> DrawnSets:
    """Return the sets of one style or object of UnlearnCanvas."""
    scene = plan.scene
    forget = cell_pairs(scene, source, scene.own(), plan.counts.forget)
    source.tally.check(limits.max_corrupt)
    if len(forget) < limits.min_forget:
        raise too_few(scene.target, str(source.root), len(forget), limits.min_forget, source.tally.notes())
    retain = cell_pairs(scene, source, scene.others(), plan.counts.retain)
    source.tally.check(limits.max_corrupt)
    missing = _missing(source)
    return assemble(plan, forget, retain, [*notes, *missing, *source.tally.notes()])


def cell_pairs(scene: Scene, source: UnlearnCanvas, subjects: Sequence[Subject], count: int) -> Pairs:
    """Return up to `count` pictures of cells that have any, as many of each, with captions."""
    there = set(source.concepts())
    cells = [(s, c) for s in subjects if (c := "/".join(name for _, name in s)) in there]
    rng = rng_for(scene.seed, "cells " + ("forget" if scene.own() == list(subjects) else "retain"))
    each = math.ceil(count / max(1, len(cells)))
    drawn: list[list[tuple[Picture, Source]]] = []
    for subject, cell in cells:
        caption = scene.words.prompt(subject, scene.words.frame(subject).benchmark)
        drawn.append([(replace(p, caption=caption), source) for p in source.draw(cell, each, rng)])
    turns = [row[i] for i in range(each) for row in drawn if i < len(row)]
    return pairs_of(turns[:count])


def too_few(target: str, root: str, found: int, least: int, notes: Sequence[str]) -> DataError:
    """Return the refusal of a target that hardly any picture shows."""
    return DataError(
        f"data.root='{root}': too few pictures of target='{target}'",
        allowed=f"data.min_forget={least} or more",
        found="; ".join([f"{found} usable", *notes]),
        fix="add pictures, or data=generated, which draws them with the model",
    )


def _missing(source: UnlearnCanvas) -> list[str]:
    empty = [f"{style}/{shown}" for (style, shown), n in source.counts().items() if not n]
    return [f"data.root: {len(empty)} cells have no picture, such as {', '.join(empty[:3])}"] if empty else []
