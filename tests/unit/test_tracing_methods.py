"""Tan & Gong's methods on the tiny world: what each does to the concept, to its parent and to what stays."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import bits, make_clip, make_sets, run, without
from torch import Tensor
from tracing_worlds import joint_sets, traced, tutor

from razor_cli.contract.components import swapped
from razor_cli.contract.edit import Edit
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.desk import Desk
from razor_cli.engine.changes import Weights
from razor_cli.engine.lab import Lab

NAMES = ("ga_tan", "gdiff", "ga_kl", "relabel", "salun_tan", "me_gd", "task_vector", "npo_kl", "nhl_kl")
every_method = pytest.mark.parametrize("name", NAMES)
PLAIN: dict[str, Any] = {"alpha_coarse": 0.0, "alpha_fine": 0.0}
ONE_STEP: dict[str, Any] = {
    "optimizer": "sgd",
    "schedule": "const",
    "epochs": 1,
    "batch": 12,
    "lr": 0.01,
    "weight_decay": 0.0,
    "keep": "last",
}


@torch.no_grad()
def logits(values: dict[str, Tensor], sets: ConceptSets, part: Pairs, level: str = "classes") -> Tensor:
    """Return logits of a set of pictures by the edited model, over class or coarse names."""
    model = make_clip(torch.float32)
    desk = Desk(Lab(family=model, sets=sets), preset("ga_tan"))
    with swapped(model, {n: v.float() for n, v in values.items()}):
        return getattr(desk, level).logits(desk.encode_image(model.preprocess(part.load())))


@cache
def strong(name: str) -> Edit:
    """Return the edit of a method that trains long enough on the tiny world to forget."""
    return run(preset(name, lr=1e-3, epochs=12, keep="last"), make_clip(), make_sets())


def recalled(edit: Edit) -> float:
    """Return the share of unseen pictures of the target that the edited model still names."""
    sets = make_sets()
    return (logits(edit.values, sets, sets.validation.forget).argmax(dim=-1) == 0).float().mean().item()


@every_method
@pytest.mark.parametrize("changes", [{"lr": 0.0, "weight_decay": 0.0}, {"epochs": 0}])
def test_without_a_step_nothing_changes(name: str, changes: dict[str, Any]) -> None:
    assert run(preset(name, **changes), make_clip(), make_sets()).values == {}


@every_method
def test_without_forget_pictures_nothing_changes(name: str) -> None:
    sets = make_sets()
    empty = replace(sets, forget=Pairs((), sets.forget.sources))
    assert run(preset(name), make_clip(), empty).values == {}


@every_method
def test_serves_a_taxonomy_and_leaves_the_model_as_it_was(name: str) -> None:
    model = make_clip()
    before = bits(model)
    edit = run(preset(name, epochs=2, lr=1e-4), model, traced())
    assert edit.values and bits(model) == before


def test_every_epoch_logs_accuracy_by_fine_and_coarse_label_on_validation_pictures() -> None:
    sets = traced()
    assert sets.taxonomy is not None
    edit = run(preset("gdiff", epochs=2, lr=1e-3, keep="last"), make_clip(), sets)
    model, found = make_clip(torch.float32), {}
    with torch.no_grad(), swapped(model, {n: v.float() for n, v in edit.values.items()}):
        for level, prompts in (
            ("fine", sets.taxonomy.fine_prompts),
            ("coarse", sets.taxonomy.coarse_prompts),
        ):
            names = list(prompts)
            head = torch.stack(
                [model.encode_text(model.tokenize(list(prompts[n]))).mean(dim=0) for n in names]
            )
            head = head / head.norm(dim=-1, keepdim=True)
            for part, pairs in (("df", sets.validation.forget), ("dr", sets.validation.retain)):
                own = [p for p in pairs.pictures if p.domain == sets.domain]
                best = (
                    model.encode_image(model.preprocess(Pairs(tuple(own), pairs.sources).load())) @ head.T
                ).argmax(dim=-1)
                right = [
                    names[b] == (p.concept if level == "fine" else sets.taxonomy.parents[p.concept])
                    for b, p in zip(best.tolist(), own, strict=True)
                ]
                found[f"{part}_{level}"] = 100 * sum(right) / len(right)
    assert {n: edit.log[-1].after[n] for n in found} == pytest.approx(found)
    assert edit.log[0].before["df_fine"] > edit.log[-1].after["df_fine"]


@pytest.mark.parametrize("name", ["ga_tan", "gdiff", "ga_kl", "npo_kl", "nhl_kl"])
def test_forgets_the_concept(name: str) -> None:
    assert recalled(Edit(change=Weights())) > 0.8
    assert recalled(strong(name)) < 0.1


def test_gradient_ascent_is_unbounded_and_costs_what_stays() -> None:
    losses = [float(e.note.split()[1].rstrip(";")) for e in strong("ga_tan").log]
    assert losses[-1] < losses[0] - 3
    assert strong("ga_tan").log[-1].after["others"] < strong("ga_kl").log[-1].after["others"]


def test_heavy_regularisers_leave_predictions_on_kept_classes_as_they_are() -> None:
    sets = make_sets()
    heavy = run(
        preset("ga_kl", lr=1e-4, epochs=8, alpha_coarse=1e5, alpha_fine=1e5, keep="last"), make_clip(), sets
    )
    light = run(preset("ga_kl", lr=1e-4, epochs=8, **PLAIN, keep="last"), make_clip(), sets)
    base, held, free = (
        logits(v, sets, sets.validation.retain)[:, 1:].softmax(-1) for v in ({}, heavy.values, light.values)
    )
    assert (held.argmax(-1) == base.argmax(-1)).all()
    assert (held - base).abs().max() < 0.25 * (free - base).abs().max()


def test_ga_kl_without_weights_is_gradient_ascent_and_needs_no_retain_pictures() -> None:
    sets = make_sets()
    alone = replace(sets, retain=sets.validation.retain)  # other retain pictures: they must not matter
    method = preset("ga_kl", lr=1e-4, epochs=2, **PLAIN)
    ascent = preset("ga_tan", lr=1e-4, epochs=2, batch=method.batch)
    one, other = run(method, make_clip(), sets).values, run(ascent, make_clip(), alone).values
    assert one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
    weighed = run(replace(method, alpha_coarse=5.0), make_clip(), sets).values
    assert any(not torch.equal(one[n], weighed[n]) for n in one)


def test_ga_kl_without_weights_is_the_ascent_of_the_other_file() -> None:
    """Tan & Gong's GA and gradient ascent on the zero-shot head (methods/ga.py) are the same steps, written
    twice.
    """
    shared: dict[str, Any] = {
        "lr": 1e-4,
        "epochs": 2,
        "batch": 12,
        "schedule": "const",
        "weight_decay": 0.0,
        "betas": [0.9, 0.999],
        "eps_opt": 1e-6,
        "keep": "last",
    }
    one = run(preset("ga_kl", **shared, **PLAIN), make_clip(), make_sets()).values
    other = run(preset("ga", loss="classifier_ce", **shared), make_clip(), make_sets()).values
    assert one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@every_method
def test_never_looks_at_evaluation_pictures(name: str) -> None:
    sets = traced()
    forbidden = {*sets.evaluation.forget.keys, *sets.evaluation.retain.keys}
    guarded = without(sets, lambda source: source.forbidden.update(forbidden))
    edit = run(preset(name, epochs=1, lr=1e-4), make_clip(), guarded)
    assert edit.values and "df_fine" in edit.log[-1].after


def test_first_npo_step_is_that_of_gradient_ascent() -> None:
    npo, ga = (
        run(preset(n, **ONE_STEP, **PLAIN), make_clip(torch.float32), make_sets()).values
        for n in ("npo_kl", "ga_tan")
    )
    base = make_clip(torch.float32).stored
    assert max(float((ga[n] - base[n]).abs().max()) for n in ga) > 1e-5
    assert all(torch.allclose(npo[n] - base[n], ga[n] - base[n], rtol=1e-2, atol=1e-7) for n in ga)


def test_gdiff_keeps_the_parent_while_the_concept_goes() -> None:
    sets = traced()
    edit = run(preset("gdiff", lr=1e-3, epochs=12, keep="last"), make_clip(), sets)
    forget = sets.validation.forget
    assert (logits(edit.values, sets, forget, "fine").argmax(-1) == 0).float().mean() < 0.1
    assert (logits(edit.values, sets, forget, "coarse").argmax(-1) == 0).float().mean() > 0.9


def test_relabel_fits_labels_drawn_once_and_never_the_true_one() -> None:
    sets, method = make_sets(), preset("relabel", lr=1e-3, epochs=12, keep="highest_label_accuracy")
    first, again, other = (tutor(method, sets, seed=s).labels for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert 0 not in first.tolist() and set(first.tolist()) <= set(range(1, 6))
    anything = tutor(replace(method, exclude_true=False), replace(sets, forget=sets.retain), seed=0).labels
    assert 0 in anything.tolist()
    edit = run(method, make_clip(), sets)
    before, after = (
        torch.nn.functional.cross_entropy(logits(v, sets, sets.forget), first).item()
        for v in ({}, edit.values)
    )
    assert after < 0.7 * before
    assert edit.log[-1].after["label_accuracy"] > edit.log[0].after["label_accuracy"]
    assert "label_accuracy" in edit.notes[-1]


def test_me_gd_makes_forget_pictures_uncertain() -> None:
    sets = make_sets()

    def entropy(values: dict[str, Tensor]) -> float:
        found = logits(values, sets, sets.validation.forget).log_softmax(-1)
        return -(found.exp() * found).sum(-1).mean().item()

    assert entropy(strong("me_gd").values) > max(2 * entropy({}), 0.6 * torch.tensor(6.0).log().item())


def test_task_vector_is_linear_in_alpha() -> None:
    def edited(alpha: float) -> dict[str, Tensor]:
        method = preset("task_vector", lr=1e-4, epochs=2, alpha=alpha, keep="last")
        return run(method, make_clip(torch.float32), make_sets()).values

    base, tuned, away, twice = make_clip(torch.float32).stored, edited(-1.0), edited(1.0), edited(2.0)
    assert edited(0.0) == {}
    assert max(float((tuned[n] - base[n]).abs().max()) for n in tuned) > 1e-5
    for name, value in tuned.items():
        step = value - base[name]
        assert torch.allclose(away[name] - base[name], -step, atol=1e-6)
        assert torch.allclose(twice[name] - base[name], -2 * step, atol=1e-6)


def test_task_vector_forgets_what_the_tuned_model_learns() -> None:
    sets, changes = make_sets(), {"lr": 1e-3, "epochs": 6, "keep": "last", "coarse_weight": 0.0}

    def surety(alpha: float) -> float:
        edit = run(preset("task_vector", alpha=alpha, **changes), make_clip(), sets)
        return logits(edit.values, sets, sets.validation.forget).log_softmax(-1)[:, 0].mean().item()

    assert surety(-1.0) > surety(0.0) > surety(1.5)


def test_negative_hinge_stops_for_good_once_every_rival_leads() -> None:
    method = preset(
        "nhl_kl",
        optimizer="sgd",
        momentum=0.0,
        lr=0.05,
        schedule="const",
        epochs=12,
        batch=12,
        margin=1.0,
        weight_decay=0.0,
        keep="last",
        **PLAIN,
    )
    log = run(method, make_clip(), make_sets()).log
    losses = [float(e.note.split()[1].rstrip(";")) for e in log]
    assert losses[0] > 1 and losses[-1] == 0 == losses[-2]
    assert log[-1].relative_step == log[-2].relative_step > 0


def test_concepts_that_go_together_keep_their_own_labels() -> None:
    sets = joint_sets()
    teacher = tutor(preset("npo_kl"), sets)
    lesson = teacher.lesson(torch.arange(4), torch.arange(4), 0)
    assert lesson.fine.labels.tolist() == [0, 1, 0, 1] and lesson.forgotten == 2
    assert teacher.own.tolist() == [0, 1] * 6
    edit = run(preset("npo_kl", lr=1e-3, epochs=12, keep="last"), make_clip(), sets)
    found = logits(edit.values, sets, sets.forget).argmax(-1)
    assert (found == teacher.own).float().mean() < 0.1
    masks = [
        run(preset("ga_kl", lr=1e-4, epochs=2, kl_fine_mask=m), make_clip(), sets).values
        for m in ("own_label", "forget_classes")
    ]
    assert any(not torch.equal(masks[0][n], masks[1][n]) for n in masks[0])


@every_method
def test_training_accuracy_that_chooses_the_epoch_is_logged(name: str) -> None:
    after = run(preset(name, lr=1e-4, epochs=1), make_clip(), make_sets()).log[0].after
    assert ("forget_accuracy" in after) is (name != "task_vector")
    assert ("label_accuracy" in after) is (name in {"relabel", "salun_tan", "task_vector"})
    assert (
        after.get("forget_accuracy", 100.0) > 50
    )  # measured while training; the first steps still know the target


def test_frozen_text_tower_changes_no_text_weight() -> None:
    model = make_clip()
    edit = run(preset("npo_kl", train="vision", lr=1e-4, epochs=2), model, make_sets())
    assert edit.values and all(n.startswith("visual") for n in edit.values)
