"""A gradient pass that ends once two halves of it agree: what it sees, what it keeps, what it tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from presets import preset
from test_gradients import assert_close
from tiny_world import OTHERS, TARGET, Noise, make_sets, pairs, run

from razor_cli.config.pairings import method_serves_model
from razor_cli.contract.family import Named
from razor_cli.contract.method import GradientPlan
from razor_cli.contract.strata import Adaptive, Agreement, InBatches, ListedBatch
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.lab import Lab
from razor_cli.engine.strata import draw
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.families.diffusion.spec import DiffusionSpec
from razor_cli.families.llava.spec import LlavaSpec

SETS = make_sets()
FULL = GradientPlan(forget_batch=2, retain_batch=4)  # 6 and 8 batches
PLAN = replace(FULL, adaptive=Adaptive(agreement=0.5, floor=8))
ADAPTIVE: dict[str, Any] = {"gradient": "adaptive", "forget_batch": 2, "retain_batch": 4, "gradient_floor": 8}


def always(first: Sequence[Named], second: Sequence[Named]) -> Agreement:
    """Agree, but only halves that differ: those of a set that was seen whole would be the same object."""
    assert all(a is not b for a, b in zip(first, second, strict=True))
    return Agreement(same=True, cosine=0.9)


def never(first: Sequence[Named], second: Sequence[Named]) -> Agreement:
    return Agreement(same=True, cosine=0.5)


@pytest.mark.parametrize("forget_loss", ["cosine", "concept_ce"])
def test_a_pass_whose_bound_is_out_of_reach_is_the_full_one(clip32: Clip, forget_loss: str) -> None:
    names = (TARGET, "Ben")
    joint = {"joint": names, "forget": pairs(Noise(), [names[i % 3 == 0] for i in range(12)], "train")}
    sets = replace(SETS, **joint) if forget_loss == "concept_ce" else SETS  # 8 and 4 pictures
    full, adaptive = (replace(p, forget_loss=forget_loss) for p in (FULL, PLAN))
    lab = Lab(family=clip32, sets=sets)
    found = lab.gradients(adaptive, agree=never)
    for mine, whole in zip(found, Lab(family=clip32, sets=sets).gradients(full), strict=True):
        assert_close(mine, whole, 1e-6)
    (taken,) = lab.cost.passes
    assert taken.used == taken.there == {"forget": 12, "retain": 32}
    assert not taken.stopped_early and taken.looks > 0 and taken.cosine == 0.5
    assert lab.cost.backwards == 12 + 32


def test_it_ends_at_the_floor_and_tells_what_it_used(clip: Clip, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    lab, again = (Lab(family=clip, sets=SETS, cache=cache) for _ in range(2))
    for floor in (8, 1):
        lab.cost.passes, lab.cost.backwards = (), 0
        plan = replace(PLAN, adaptive=Adaptive(agreement=0.5, floor=floor))
        found = lab.gradients(plan, agree=always)
        (taken,) = lab.cost.passes
        assert taken.stopped_early and taken.looks == 1 and taken.same and taken.cosine == 0.9
        assert sum(taken.used.values()) == lab.cost.backwards < 12 + 32
        assert min(taken.used.values()) >= floor
    assert taken.used == {"forget": 4, "retain": 8}  # a batch of each half
    kept = again.gradients(plan, agree=never)  # from the disk, with what it says of itself
    assert again.cost.passes == (taken,) and again.cost.backwards == 0
    assert all(torch.equal(a[n], b[n]) for a, b in zip(found, kept, strict=True) for n in a)
    whole = again.gradients(FULL)
    assert again.cost.backwards == 12 + 32 and not torch.equal(
        whole[0]["visual.proj"], kept[0]["visual.proj"]
    )
    for other in (replace(PLAN.adaptive, floor=4), replace(PLAN.adaptive, agreement=0.4, floor=1)):  # type: ignore[type-var]
        before = again.cost.backwards
        again.gradients(replace(PLAN, adaptive=other), agree=always)
        assert again.cost.backwards > before


def test_halves_are_disjoint_and_balanced() -> None:
    order = [OTHERS[i // 16] for i in range(80)]  # one concept after the other: every batch is of one alone
    cut = [order[i : i + 4] for i in range(0, 80, 4)]
    batches = [ListedBatch(part=i, weight=1 / 20, concepts=c) for i, c in enumerate(cut)]
    drawn = draw(batches, 0, "retain")
    assert sorted(drawn) == list(range(20)) and drawn == draw(batches, 0, "retain")
    assert drawn != draw(batches, 1, "retain")
    for until in (10, 20):  # after one round of the concepts in each half, and after two
        halves = [Counter(c for i in drawn[half:until:2] for c in batches[i].concepts) for half in (0, 1)]
        assert halves == [Counter({c: 4 * until // 10 for c in OTHERS})] * 2


def test_an_edit_is_the_same_by_the_same_seed_and_tells_what_its_pass_used(clip: Clip) -> None:
    method = preset("razor", gradient_agreement=0.0, retries=[], **ADAPTIVE)
    edits = [run(method, clip, SETS, seed=seed) for seed in (0, 0, 1)]
    assert all(torch.equal(v, edits[1].values[n]) for n, v in edits[0].values.items())
    assert any(not torch.equal(v, edits[2].values.get(n, -v)) for n, v in edits[0].values.items())
    (taken,) = edits[0].cost.passes
    assert taken.same and taken.stopped_early and sum(taken.used.values()) < 44
    spent = edits[0].cost.backwards - sum(taken.used.values())
    assert spent % 44 == 0  # refreshed gradients see their sample of each set, here all of it
    whole = run(preset("razor", gradient_agreement=1.0, retries=[], **ADAPTIVE), clip, SETS)
    assert [p.used for p in whole.cost.passes] == [{"forget": 12, "retain": 32}]
    assert run(preset("razor", retries=[], **ADAPTIVE | {"gradient": "full"}), clip, SETS).cost.passes == ()


def test_a_further_attempt_is_the_same_whether_gradients_are_kept_or_not(clip: Clip, tmp_path: Path) -> None:
    bare = {"max_components": 2, "grow_rounds": 0, "trim_steps": 0, "search_steps": 2, "step_size": 0.02}
    retries = [{"forget_loss": "concept_uniform"}]
    method = preset("razor", retries=retries, target={"m1": 0.0, "m5": 100.0}, **bare, **ADAPTIVE)
    edits = []
    for cache in (TensorCache(tmp_path), None):
        edits.append(method.edit(Lab(family=clip, sets=SETS, cache=cache)))
    kept, plain = edits
    assert [e.action for e in plain.log if e.action == "retry"] == ["retry"] and plain.values
    assert kept.components == plain.components and kept.cost.passes == plain.cost.passes
    assert set(plain.cost.passes[1].used) == {"forget"}
    assert all(torch.equal(v, kept.values[n]) for n, v in plain.values.items())


def test_what_cannot_be_taken_in_parts_is_refused(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"method\.retain_batch"):
        preset("razor_paper", gradient="adaptive")
    for family, spec, wrong in (
        ("llava", LlavaSpec, "answer_generic"),
        ("diffusion", DiffusionSpec, "drift"),
    ):
        (problem,) = method_serves_model(preset("razor", family, gradient="adaptive"), spec())
        assert wrong in problem.what and problem.fix == "method.gradient=full"
    assert method_serves_model(preset("razor", gradient="adaptive"), ClipSpec()) == []
    assert all(isinstance(clip.loss(name, SETS), InBatches) for name in ClipSpec.in_batches)

    class Whole:
        """A loss without batches."""

        key = None

    monkeypatch.setattr(Clip, "loss", lambda *_: Whole())
    with pytest.raises(ConfigError, match=r"method\.gradient: the loss 'cosine' of the forget set"):
        Lab(family=clip, sets=SETS).gradients(PLAN, agree=always)
