"""Sets of pictures that the unedited model draws itself: of the target, of others, of neutral captions."""

from __future__ import annotations

from collections.abc import Sequence

from razor_cli.data.answer_sets import asked
from razor_cli.data.drawn_sets import Plan, assemble, pairs_of
from razor_cli.data.sampling import rng_for
from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets, Shot
from razor_cli.data.sources.generated import GeneratedPictures


def generated_sets(plan: Plan, source: GeneratedPictures, notes: Sequence[str]) -> DrawnSets:
    """Return the sets of one target. Half of the retain pictures show other names, the nearest first, half
    what neutral captions say.
    """
    scene, seeds, counts = plan.scene, plan.seeds, plan.counts
    forget = asked(scene, seeds, scene.own(), counts.forget, role="forget")
    others = asked(scene, seeds, scene.others(), (counts.retain + 1) // 2, role="retain")
    neutral = _neutral(plan, counts.retain - len(others))
    told = (
        f"data: {counts.forget} pictures to forget and {len(others) + len(neutral)} to retain are the "
        f"unedited model's own, {source.steps} steps at guidance {source.guidance:g}"
    )
    return assemble(plan, _pairs(source, forget), _pairs(source, [*others, *neutral]), [*notes, told])


def _neutral(plan: Plan, count: int) -> list[Shot]:
    words = plan.scene.words.neutral
    order = rng_for(plan.scene.seed, "neutral").sample(words, len(words))
    prompts = [order[i % len(order)] for i in range(count)]
    return [Shot(prompt=p, seed=plan.seeds.next(p, "retain"), labels=()) for p in prompts]


def _pairs(source: GeneratedPictures, shots: Sequence[Shot]) -> Pairs:
    return pairs_of([(source.of(shot), source) for shot in shots])
