"""SalUn: mask, restored weights, labels (sheet section 5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_clip, make_sets, run
from torch import Tensor
from tracing_worlds import traced

from razor_cli.contract.edit import Edit
from razor_cli.dual.choices import Ascended
from razor_cli.dual.desk import Desk
from razor_cli.dual.importance import summed_gradient
from razor_cli.dual.mask import saliency_mask, top_fraction
from razor_cli.dual.steps import forget_loss
from razor_cli.engine.lab import Lab
from razor_cli.engine.objective import Step
from razor_cli.engine.train import train
from razor_cli.engine.train_settings import Trained, trained_names
from razor_cli.methods.salun import Masked, Salun, random_labels
from razor_cli.methods.salun_tan_tutor import MaskedTutor

DECAYING: dict[str, Any] = {"weight_decay": 0.5, "decay_on": "all", "lr": 1e-3, "epochs": 2, "keep": "last"}


def edit_of(name: str = "salun", sets: Any = None, **changes: Any) -> Edit:
    model, sets = make_clip(torch.float32), sets or make_sets()
    return run(preset(name, **changes), model, sets)


def desk_of(settings: Trained | None = None) -> Desk:
    return Desk(Lab(family=make_clip(torch.float32), sets=make_sets()), settings or Trained())


def mask_of(method: Salun) -> dict[str, Tensor]:
    desk = desk_of(method)
    loss = forget_loss(desk, Ascended.CLASSIFIER_CE)
    return saliency_mask(desk, trained_names(desk.model, method), method.batch, loss, method.mask_fraction)


@pytest.mark.parametrize("inner", ["relabel", "gaft"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weights_outside_the_mask_keep_their_bits_with_decay_and_momentum(inner: str, optimizer: str) -> None:
    changes = DECAYING | {"inner": inner, "optimizer": optimizer, "batch": 4}
    edit, masks, stored = (
        edit_of(**changes),
        mask_of(preset("salun", **changes)),
        make_clip(torch.float32).stored,
    )
    moved = 0
    for name, value in edit.values.items():
        assert torch.equal(value[~masks[name]], stored[name][~masks[name]])
        moved += int((value != stored[name]).sum())
    assert moved > 0.4 * sum(int(m.sum()) for m in masks.values())
    assert any(bool(m.any()) and not bool(m.all()) for m in masks.values())


def test_a_full_mask_is_the_unmasked_method_and_an_empty_one_changes_nothing() -> None:
    method = preset("salun", mask_fraction=1.0, **DECAYING)
    desk = desk_of(method)

    class Unmasked(Masked):
        def before_step(self, params: Any) -> None:
            pass

        def after_step(self, params: Any, optimizer: Any) -> None:
            pass

    plain = train(desk.lab, method, Unmasked(desk, method, {}))
    masked = edit_of(mask_fraction=1.0, **DECAYING)
    assert plain.values.keys() == masked.values.keys() and plain.values
    assert all(torch.equal(plain.values[n], masked.values[n]) for n in plain.values)
    assert edit_of(mask_fraction=1e-9, **DECAYING).values == {}


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.333, 0.5, 1.0])
def test_the_mask_has_the_size_asked_for_also_among_ties(fraction: float) -> None:
    scores = {"a": torch.zeros(7, 3), "b": torch.arange(10.0), "c": torch.tensor(2.5)}
    masks = top_fraction(scores, fraction)
    assert sum(int(m.sum()) for m in masks.values()) == int(fraction * 32)
    assert {n: m.shape for n, m in masks.items()} == {n: s.shape for n, s in scores.items()}
    if fraction == 0.1:
        assert masks["b"].nonzero().flatten().tolist() == [7, 8, 9]


def test_the_mask_follows_the_gradient_of_the_whole_set_whatever_its_scale_and_sign() -> None:
    desk = desk_of()
    names = trained_names(desk.model, Trained())
    loss = forget_loss(desk, Ascended.CLASSIFIER_CE)
    whole = summed_gradient(desk, names, desk.forget, 64, loss)
    parts = summed_gradient(desk, names, desk.forget, 5, loss)
    for name in names:
        assert torch.allclose(whole[name], parts[name], atol=1e-4)  # summed, then made absolute
    scaled = summed_gradient(desk, names, desk.forget, 64, lambda d: -8 * loss(d))
    first, second = (top_fraction({n: g.abs() for n, g in found.items()}, 0.3) for found in (whole, scaled))
    assert all(torch.equal(first[n], second[n]) for n in names)
    ce, cosine = (
        saliency_mask(desk, names, 64, forget_loss(desk, k), 0.3)
        for k in (Ascended.CLASSIFIER_CE, Ascended.COSINE)
    )
    assert any(not torch.equal(ce[n], cosine[n]) for n in names)


def test_random_labels_exclude_the_true_one_only_when_asked() -> None:
    true = torch.tensor([2] * 2000)
    drawn = random_labels(true, 5, True, torch.Generator().manual_seed(0))
    assert sorted(set(drawn.tolist())) == [0, 1, 3, 4]
    assert drawn.bincount(minlength=5)[[0, 1, 3, 4]].min() > 400  # uniform over the others
    assert sorted(set(random_labels(true, 5, False, torch.Generator().manual_seed(0)).tolist())) == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_labels_are_drawn_anew_or_once() -> None:
    for redraw in (True, False):
        method = preset("salun", redraw=redraw)
        objective = Masked(desk_of(method), method, {})
        drawn = [objective._labels(torch.Generator().manual_seed(i)) for i in range(3)]
        assert (objective.fixed is None) is redraw
        assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("redraw", [True, False])
def test_epochs_train_on_new_labels_or_always_on_the_same(
    redraw: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = preset("salun", redraw=redraw, retain_pass=False)
    objective = Masked(desk_of(method), method, {})
    assigned = torch.full((2, len(objective.desk.forget)), -1)
    for epoch, row in enumerate(assigned):

        def noted(index: Tensor, labels: Tensor, row: Tensor = row) -> Step:
            row[index] = labels
            return Step(loss=row.sum, pictures=len(index))

        monkeypatch.setattr(objective, "_relabelled", noted)
        objective.epoch(epoch + 1, torch.Generator().manual_seed(epoch + 5))
    assert (assigned >= 0).all()  # every forget picture has a label in every epoch
    assert torch.equal(*assigned) is not redraw


def test_only_the_forget_pass_is_masked_when_asked() -> None:
    changes = DECAYING | {"mask_on": "forget", "weight_decay": 0.0}
    edit, masks, stored = (
        edit_of(**changes),
        mask_of(preset("salun", **changes)),
        make_clip(torch.float32).stored,
    )
    assert any(
        not torch.equal(edit.values[n][~m], stored[n][~m]) for n, m in masks.items() if n in edit.values
    )
    alone = edit_of(**(changes | {"retain_pass": False}))  # then nothing moves the rest
    for name, value in alone.values.items():
        assert torch.equal(value[~masks[name]], stored[name][~masks[name]])


def test_relabelling_raises_the_accuracy_on_the_assigned_labels_and_forgets() -> None:
    edit = edit_of("salun_tan", lr=1e-3, mask_fraction=0.5, keep="last", epochs=12)
    accuracy = [e.after["label_accuracy"] for e in edit.log]
    assert accuracy[-1] > accuracy[0]
    assert edit.log[-1].after["fa_top1"] < edit.log[0].before["fa_top1"]
    assert edit.log[-1].after["m2"] < edit.log[0].before["m2"]


def test_nothing_to_forget_changes_nothing_although_there_are_retain_pictures() -> None:
    sets = make_sets()
    assert edit_of(sets=replace(sets, forget=replace(sets.forget, pictures=()))).values == {}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_with_a_taxonomy_and_its_regularisers_weights_outside_the_mask_keep_their_bits(
    optimizer: str,
) -> None:
    model, sets = make_clip(torch.float32), traced()
    kl = {"alpha_coarse": 5.0, "alpha_fine": 20.0}
    method = preset("salun_tan", optimizer=optimizer, batch=4, exclude=[], **kl, **DECAYING)
    lab = Lab(family=model, sets=sets)
    masks = MaskedTutor(method, lab, method.mask_fraction).mask.masks
    assert sum(int(m.sum()) for m in masks.values()) == int(0.1 * sum(m.numel() for m in masks.values()))
    edit, moved = method.edit(lab), 0
    for name, value in edit.values.items():
        assert torch.equal(value[~masks[name]], model.stored[name][~masks[name]])
        moved += int((value != model.stored[name]).sum())
    assert moved > 0.4 * sum(int(m.sum()) for m in masks.values())


def test_the_mask_of_a_taxonomy_follows_all_templates() -> None:
    model, sets, method = make_clip(torch.float32), traced(), preset("salun_tan", mask_fraction=0.3)
    tutor = MaskedTutor(method, Lab(family=model, sets=sets), method.mask_fraction)
    names = trained_names(model, method)

    def loss(template: int | None) -> dict[str, Tensor]:
        images = tutor.desk.encode_image(tutor.desk.forget.pixels(torch.arange(len(sets.forget))))
        found = torch.nn.functional.cross_entropy(tutor.fine.logits(images, template), tutor.own)
        live = dict(model.module.named_parameters())
        for n in names:
            live[n].requires_grad_()
        grads = torch.autograd.grad(found, [live[n] for n in names], allow_unused=True)
        return {
            n: torch.zeros_like(live[n]) if g is None else g.abs() for n, g in zip(names, grads, strict=True)
        }

    def alike(template: int | None) -> float:
        wanted = top_fraction(loss(template), 0.3)
        hits = sum(int((wanted[n] & tutor.mask.masks[n]).sum()) for n in names)
        return hits / sum(int(m.sum()) for m in wanted.values())

    assert alike(None) > 0.99 > alike(0)
