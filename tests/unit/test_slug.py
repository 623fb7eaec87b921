"""SLUG: one tensor, found on the Pareto front, moved up the forget gradient by a bracketed step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import changed, make_clip, make_sets, random_module, run, view
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.method import GradientPlan
from razor_cli.dual.board import DualBoard
from razor_cli.dual.view import Tower
from razor_cli.engine.lab import Lab
from razor_cli.errors import UserError
from razor_cli.families.clip.family import Clip

SETS = make_sets()
NAMES = ["slug", "slug_code"]


def trials(edit: Edit) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in edit.log:
        if event.action == "search":
            found.setdefault(event.component, []).append(event)
    return found


def slug(model: Clip, base: str = "slug", lab: dict[str, Any] | None = None, **settings: Any) -> Edit:
    return run(preset(base, **settings), model, SETS, **(lab or {}))


@pytest.mark.parametrize("base", NAMES)
@pytest.mark.parametrize("towers", ["both", "vision", "text"])
def test_exactly_one_tensor_differs(clip: Clip, base: str, towers: str) -> None:
    edit = slug(clip, base, towers=towers, search_steps=8, criterion="m1_mean", criterion_value=90.0)
    assert len(edit.values) == 1 and set(edit.values) == set(edit.components) == changed(edit, clip)
    if towers != "both":
        assert ("visual" in edit.components[0]) is (towers == "vision")


def test_trials_start_at_a_tenth_of_the_norm_and_are_ten_at_most(
    clip32: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, float]] = []
    real = DualBoard.trial

    def spy(self: DualBoard, values: Mapping[str, Tensor], components: Any, **keywords: Any) -> Any:
        ((name, new),) = values.items()
        old = parameters(clip32)[name]
        assert torch.equal(old, clip32.stored[name])  # every trial starts from the pretrained weights
        tried.append((name, float((new.double() - old.double()).norm() / old.double().norm())))
        return real(self, values, components, **keywords)

    monkeypatch.setattr(DualBoard, "trial", spy)
    edit = slug(clip32, "slug_code")
    assert len(trials(edit)) >= 2
    for name, found in trials(edit).items():
        assert len(found) == 10
        sizes = [size for n, size in tried if n == name]
        assert sizes[0] == pytest.approx(0.1, rel=1e-4)
        assert sizes == pytest.approx([e.relative_step for e in found], rel=1e-3)
    assert edit.cost.evaluations == len(tried) == 10 * len(trials(edit))


@pytest.mark.parametrize("base", NAMES)
def test_step_sizes_double_until_forgotten_and_then_bisect(clip: Clip, base: str) -> None:
    edit, brackets = slug(clip, base), 0
    for found in trials(edit).values():
        low, high, size = 0.0, None, found[0].step_size
        for event in found:
            assert event.step_size == pytest.approx(size, rel=1e-12)
            assert (event.note == "forgotten") is (
                event.after["fa_top5" if preset(base).criterion == "fa_top5" else "m1"] == 0
            )
            low, high = (low, size) if event.note else (size, high)
            size = 2 * size if high is None else (low + high) / 2
        brackets += high is not None
    assert brackets >= 1


@pytest.mark.parametrize("base", NAMES)
def test_a_step_of_zero_changes_no_bit(clip: Clip, base: str) -> None:
    edit = slug(clip, base, init_rel=0.0, criterion="m1_mean", criterion_value=100.0, search_steps=2)
    assert len(edit.components) == 1 and changed(edit, clip) == set()


@pytest.mark.parametrize("pick", ["best_utility", "deepest"])
@pytest.mark.parametrize("criterion", ["m1_mean", "fa_top1", "fa_top5"])
def test_the_fast_search_chooses_the_tensor_and_step_of_the_published_one(
    clip: Clip, pick: str, criterion: str
) -> None:
    chosen = [slug(clip, base, pick=pick, criterion=criterion, search_steps=6) for base in NAMES]
    chosen.append(slug(clip, lab={"fast": False}, pick=pick, criterion=criterion, search_steps=6))
    first, *others = chosen
    assert criterion == "fa_top5" or first.components
    for other in others:
        assert other.components == first.components and other.notes == first.notes
        assert all(torch.equal(other.values[n], first.values[n]) for n in first.values)
        assert [e.step_size for e in other.log] == [e.step_size for e in first.log]


def test_the_pick_is_the_forgotten_trial_of_highest_utility(clip: Clip) -> None:
    edit = slug(clip, "slug_code", criterion="fa_top1")
    forgotten = [e for found in trials(edit).values() for e in found if e.note == "forgotten"]
    base = Lab(family=clip, sets=SETS).board.base

    def utility(event: Event) -> float:  # a gain of retrieval is no harm, and no merit
        return 100 - max(0.0, base["util"] - event.after["util"]) + event.after["m4_generic"]

    best = max(forgotten, key=lambda e: (utility(e), -e.relative_step))
    assert len(forgotten) > 3 and edit.components == [best.component]
    (value,) = edit.values.values()
    with swapped(clip, {best.component: value.float()}):
        board = DualBoard(clip, SETS, Lab(family=clip, sets=SETS).cost, fast=False)
    assert {k: v for k, v in board.base.items() if k != "m5"} == pytest.approx(
        {k: v for k, v in best.after.items() if k != "m5"}, abs=1e-4
    )


def test_the_front_is_what_nobody_beats_in_each_tower(clip: Clip) -> None:
    lab = Lab(family=clip, sets=SETS)
    forget, retain = lab.gradients(GradientPlan(forget_batch=16, retain_batch=16))
    for align in ("abs", "signed"):
        found = {s.component.name for s in preset("slug", align=align)._front(clip, forget, retain)}
        expected = set()
        for tower in Tower:
            points = {}
            for c in clip.components(Granularity.TENSOR, Towers(tower.value), include_projections=True):
                g_f, g_r, theta = (c.vector(x).double() for x in (forget, retain, parameters(clip)))
                cosine = float(g_f @ g_r / (g_f.norm() * g_r.norm()))
                points[c.name] = (float(g_f.norm() / theta.norm()), abs(cosine) if align == "abs" else cosine)
            assert any(p in found for p in points)
            expected |= {
                n for n, (i, a) in points.items() if not any(j > i and b < a for j, b in points.values())
            }
        assert found == expected


def test_a_tensor_without_gradient_is_no_candidate(clip: Clip) -> None:
    lab = Lab(family=clip, sets=SETS)
    forget, retain = lab.gradients(GradientPlan(forget_batch=16, retain_batch=16))
    dead = "visual.proj"
    assert dead in {s.component.name for s in preset("slug")._front(clip, forget, retain)}
    forget = forget | {dead: torch.zeros_like(forget[dead])}
    assert dead not in {s.component.name for s in preset("slug")._front(clip, forget, retain)}


def test_candidates_can_be_attention_and_mlp_only(clip: Clip) -> None:
    edit = slug(clip, candidates="attn_mlp_only", search_steps=2)
    assert set(trials(edit)) <= {n for names in clip.quantizable().linear.values() for n in names}


def test_a_small_step_on_any_tensor_of_the_front_lowers_similarity(clip32: Clip) -> None:
    edit = slug(clip32, init_rel=1e-3, search_steps=1)
    assert len(trials(edit)) >= 2
    for found in trials(edit).values():
        assert found[0].after["m2"] < found[0].before["m2"]


@pytest.mark.parametrize("towers", ["vision", "text"])
def test_an_edit_of_one_tower_leaves_the_other_tower_bit_equal(clip: Clip, towers: str) -> None:
    edit = slug(clip, towers=towers, criterion="m1_mean", search_steps=5)
    pixels, tokens = clip.preprocess(SETS.forget.load(0, 4)), clip.tokenize(list(SETS.prompts.values()))
    with torch.no_grad():
        before = {"vision": clip.encode_image(pixels), "text": clip.encode_text(tokens)}
        with swapped(clip, {n: v.float() for n, v in edit.values.items()}):
            after = {"vision": clip.encode_image(pixels), "text": clip.encode_text(tokens)}
    for tower, embeddings in before.items():
        assert torch.equal(embeddings, after[tower]) is (tower != towers)


def test_nothing_that_forgets_gives_no_edit_and_says_so(clip: Clip) -> None:
    edit = slug(clip, criterion="m1_mean", criterion_value=0.0, init_rel=1e-6, search_steps=1)
    assert edit.values == {} and edit.components == [] and "no trial" in edit.notes[0]


@pytest.mark.parametrize(("criterion", "others"), [("fa_top5", 4), ("fa_top1", 0)])
def test_a_criterion_that_needs_more_classes_is_refused_with_its_key(
    clip: Clip, criterion: str, others: int
) -> None:
    small = replace(SETS, class_names=SETS.class_names[: others + 1])
    with pytest.raises(UserError, match=r"method\.criterion"):
        run(preset("slug", criterion=criterion, search_steps=1), clip, small)


def deep_clip() -> Clip:
    module = random_module(layers=12)
    return view(module, dict(module.state_dict()))


@pytest.mark.parametrize(
    "name", ["attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"]
)
@pytest.mark.parametrize("block", [1, 10])
def test_siblings_are_the_tensor_itself_and_others_of_its_block(name: str, block: int) -> None:
    model = deep_clip()
    every = {c.name: c for c in model.components(Granularity.TENSOR, Towers.BOTH)}
    stem = f"visual.transformer.resblocks.{block}."
    group = {c.name for c in preset("slug", siblings=True)._group(every[stem + name], model)}
    assert stem + name in group
    assert all(n.startswith(stem) for n in group)
    if name.startswith("mlp."):
        assert group == {stem + "mlp.c_fc.weight", stem + "mlp.c_proj.weight"}
    assert {c.name for c in preset("slug")._group(every[stem + name], model)} == {stem + name}


def test_siblings_move_together(clip: Clip) -> None:
    alone, together = (
        slug(clip, criterion="m1_mean", candidates="attn_mlp_only", siblings=s) for s in (False, True)
    )
    assert alone.components and together.components
    assert changed(together, clip) == set(together.components)
    assert make_clip().weights_hash() == clip.weights_hash()
