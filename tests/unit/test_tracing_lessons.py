"""What a step of Tan & Gong's methods sees: logits, labels, templates, the frozen reference, the retain
signal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import TARGET, make_clip, make_sets, run
from torch import Tensor
from tracing_worlds import CLASSES, joint_sets, traced, tutor

from razor_cli.data.sets import ConceptSets
from razor_cli.dual.losses_tracing import fine_kl, reference_kl
from razor_cli.errors import ConfigError, DataError
from razor_cli.methods import tracing_tutor
from razor_cli.methods.tracing_tutor import own_classes


@pytest.mark.parametrize(
    "sets", [make_sets(), traced(1), joint_sets()], ids=["retain_set", "coarse", "joint"]
)
def test_regularisers_and_their_gradients_vanish_at_the_unedited_weights(sets: ConceptSets) -> None:
    method, model = preset("npo_kl"), make_clip(torch.float32)
    teacher = tutor(method, sets, model)
    names = [p.requires_grad_() for n, p in model.module.named_parameters() if n != "logit_scale"]
    lesson = teacher.lesson(torch.arange(6), torch.arange(8), 0)
    fine = {"forgotten": lesson.forgotten, "mask": method.kl_fine_mask, "reduction": method.kl_reduction}
    kept, own = lesson.kept, lesson.fine
    terms = (
        lambda reference: reference_kl(kept.logits, reference, method.kl_reduction),
        lambda reference: fine_kl(own.logits, reference, own.labels, **fine),
    )

    def steepest(term: Tensor) -> float:
        found = torch.autograd.grad(term, names, retain_graph=True, allow_unused=True)
        return max(float(g.abs().max()) for g in found if g is not None)

    for term, reference in zip(terms, (kept.reference, own.reference), strict=True):
        assert abs(term(reference).item()) < 1e-6
        # Logits are computed in two orders, so they differ by rounding, and so do the gradients: relative to
        # the pull of a reference that prefers no name. One that is off by 1 % pulls with 3e-4 of that.
        assert steepest(term(reference)) < 3e-6 * steepest(term(torch.zeros_like(reference)))


def test_students_see_one_template_and_the_frozen_model_the_mean_of_all() -> None:
    sets, model = traced(), make_clip(torch.float32)
    teacher = tutor(preset("npo_kl"), sets, model)
    with torch.no_grad():
        lessons = [teacher.lesson(torch.arange(4), torch.empty(0, dtype=torch.long), t) for t in range(3)]
        rows = [
            model.encode_text(model.tokenize([p[t] for p in sets.taxonomy.fine_prompts.values()]))
            for t in range(3)
        ]  # type: ignore[union-attr]
        images = model.encode_image(model.preprocess(sets.forget.load(0, 4)))
    mean = torch.nn.functional.normalize(torch.stack(rows).mean(0), dim=-1)
    for lesson, own in zip(lessons, rows, strict=True):
        assert torch.allclose(lesson.fine.logits, model.scale * images @ own.T, atol=1e-4)
        assert torch.allclose(lesson.fine.reference, model.scale * images @ mean.T, atol=1e-4)
    assert not torch.allclose(lessons[0].fine.logits, lessons[1].fine.logits, atol=1e-2)
    assert [lesson.kept.labels.tolist() for lesson in lessons] == [
        [0] * 4
    ] * 3  # Ada's parent is the first coarse name


def test_every_epoch_draws_templates_and_walks_once_through_the_forget_pictures() -> None:
    teacher = tutor(preset("gdiff", batch=5), traced())
    seen: list[tuple[list[int], int]] = []
    teacher._loss = lambda forget, retain, template: seen.append((forget.tolist(), template))  # type: ignore[method-assign, assignment, func-returns-value]
    for number in range(1, 9):
        for step in teacher.epoch(number, torch.Generator().manual_seed(number)):
            step.loss()
    assert sorted(i for rows, _ in seen for i in rows) == sorted(list(range(12)) * 8)
    assert {template for _, template in seen} == {0, 1, 2}


def test_retain_pictures_are_as_many_as_forget_pictures_and_have_their_own_class() -> None:
    sets = make_sets()
    teacher = tutor(preset("gdiff", batch=5), sets)
    steps = teacher.epoch(1, torch.Generator().manual_seed(0))
    assert sum(s.pictures for s in steps) == 24
    lesson = teacher.lesson(torch.arange(3), torch.arange(7), 0)
    assert [CLASSES[i] for i in lesson.kept.labels.tolist()] == list(sets.retain.concepts[:7])
    assert lesson.fine.labels.tolist() == [0, 0, 0]


def test_an_epoch_walks_through_all_retain_pictures_or_a_sample_of_them() -> None:
    def drawn(**changes: Any) -> list[int]:
        teacher = tutor(preset("gdiff", batch=5, **changes), replace(make_sets(), forget=make_sets().retain))
        seen: list[int] = []
        teacher._loss = lambda forget, retain, template: seen.extend(retain.tolist())  # type: ignore[method-assign, assignment, return-value]
        for step in teacher.epoch(1, torch.Generator().manual_seed(0)):
            step.loss()
        return seen

    assert sorted(drawn()) == list(range(32))
    few = drawn(retain_sample=3)
    assert len(few) == 32 and len(set(few)) == 3 and max(few.count(i) for i in set(few)) <= 11


def test_a_large_retain_label_space_is_cut_to_classes_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = make_sets()
    few = replace(sets, class_names=(TARGET, "Ben"))  # Cleo, Dan, Eve and Fay now have prompts of their own
    whole = (
        tutor(preset("npo_kl"), few).lesson(torch.arange(3), torch.tensor([1, 2, 6]), 0).kept
    )  # Cleo, Dan, Cleo
    monkeypatch.setattr(tracing_tutor, "JOINT_LIMIT", 3)
    cut = tutor(preset("npo_kl"), few).lesson(torch.arange(3), torch.tensor([1, 2, 6]), 0).kept
    assert whole.logits.shape == (3, 6) and cut.logits.shape == cut.reference.shape == (3, 4)
    assert cut.labels.tolist() == [2, 3, 2]
    assert torch.allclose(
        cut.logits.gather(1, cut.labels[:, None]), whole.logits.gather(1, whole.labels[:, None]), atol=1e-4
    )
    assert torch.allclose(cut.reference, cut.logits, atol=1e-4)


def test_joint_forget_pictures_of_other_concepts_are_refused() -> None:
    sets = joint_sets()
    with pytest.raises(DataError, match="none of the concepts"):
        own_classes(torch.tensor([0, 1, 4]), sets)
    assert own_classes(torch.tensor([-1, 0]), make_sets()).tolist() == [
        0,
        0,
    ]  # alone, a picture of an alias is the target's


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="retain_signal=coarse needs a taxonomy"):
        run(preset("gdiff", retain_signal="coarse"), make_clip(), make_sets())
    lonely = make_sets()
    with pytest.raises(ConfigError, match="a class that stays"):
        run(preset("nhl_kl"), make_clip(), replace(lonely, class_names=(TARGET,)))
    for name, changes in {
        "npo_kl": {"beta": 0.0},
        "nhl_kl": {"margin": -1.0},
        "ga_kl": {"alpha_fine": -1.0},
    }.items():
        with pytest.raises(ConfigError, match=next(iter(changes))):
            preset(name, **changes)


def test_retain_set_may_be_asked_for_beside_a_taxonomy() -> None:
    lesson = tutor(preset("gdiff", retain_signal="retain_set"), traced()).lesson(
        torch.arange(3), torch.arange(5), 0
    )
    assert lesson.kept.logits.shape == (5, 6)
    assert tutor(preset("gdiff"), traced()).lesson(torch.arange(3), torch.arange(5), 0).kept.logits.shape == (
        3,
        2,
    )
