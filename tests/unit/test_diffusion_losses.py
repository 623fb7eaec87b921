"""Losses of a model that draws: what they depend on, which way they go, and that gradients of some parameters
are those of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_drawn import bits, family, make_sets
from torch import Tensor

from razor_cli.contract.choices import Direction, Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.family import RETAIN
from razor_cli.engine.changes import Weights
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.files import T5
from razor_cli.families.diffusion.head import CONCEPT, fit_head
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.losses import FORGET, KEEP
from razor_cli.families.diffusion.losses_text import distances

SETS = make_sets()


@pytest.fixture(params=list(Kind), ids=str)
def model(request: pytest.FixtureRequest) -> Iterator[Diffusion]:
    """A tiny pipeline, whose weights a test must leave to the bit."""
    found = family(request.param)
    before = bits(found)
    yield found
    assert all(torch.equal(before[n], p) for n, p in found.module.named_parameters())


def editable(model: Diffusion) -> list[str]:
    every = (c for g in Granularity for c in model.components(g, Towers.BOTH, True))
    return list(dict.fromkeys(p for c in every for p in c.params))


def gradient(model: Diffusion, name: str, params: Any = None, **more: Any) -> dict[str, Tensor]:
    part = SETS.retain if name in KEEP else SETS.forget
    size = more.pop("size", 4)
    loss = model.loss(name, SETS)
    return loss.gradient(part, size, editable(model) if params is None else params, lambda *_: None, **more)


def length(found: dict[str, Tensor]) -> float:
    return float(sum(g.double().square().sum() for g in found.values())) ** 0.5


def moved(model: Diffusion, found: dict[str, Tensor], by: float) -> dict[str, Tensor]:
    live = parameters(model)
    return {n: live[n] + by * g / length(found) for n, g in found.items()}


@pytest.mark.parametrize("name", [*FORGET, *KEEP])
def test_a_gradient_of_some_parameters_is_that_of_all(model: Diffusion, name: str) -> None:
    every, wanted = gradient(model, name), editable(model)
    some = wanted[3:9]
    few = gradient(model, name, some)
    assert list(every) == [n for n, _ in model.module.named_parameters() if n in wanted]
    assert set(few) == set(some)
    for n, g in few.items():
        torch.testing.assert_close(g, every[n], rtol=1e-4, atol=1e-7)
    assert (length(every) > 0) is (name != "drift")


def test_the_error_of_the_net_is_differentiated_down_to_the_text_encoder(model: Diffusion) -> None:
    found = gradient(model, RETAIN)
    d, part = model.denoiser, SETS.retain
    latents, at = model.latents_of(part), d.steps(len(part), 2, 0)
    name = max(found, key=lambda n: float(found[n].norm()))
    with torch.enable_grad():
        total = torch.zeros(())
        for draw in range(2):
            noise = d.noise(latents, [f"0/{i}/{draw}" for i in range(len(part))])
            noised = d.noised(latents, noise, at[:, draw])
            said = d.predict(noised, at[:, draw], d.encode(part.captions))
            total = total + F.mse_loss(said, d.target(latents, noise, at[:, draw])) / 2
        plain = torch.autograd.grad(total, [dict(d.module.named_parameters())[name]])[0]
    torch.testing.assert_close(found[name], plain, rtol=1e-3, atol=1e-6)


def test_pictures_at_once_and_batches_play_no_part(model: Diffusion) -> None:
    whole = gradient(model, RETAIN, size=12)
    one = gradient(model, RETAIN, size=5, chunk=1)
    apart = length({n: whole[n] - one[n] for n in whole})
    assert apart < 1e-4 * length(whole)


def test_the_noise_of_a_picture_depends_on_its_place_alone(model: Diffusion) -> None:
    d = model.denoiser
    assert torch.equal(d.steps(3, 4, 0), d.steps(6, 4, 0)[:3])
    assert not torch.equal(d.steps(3, 4, 0), d.steps(3, 4, 1))
    at = d.steps(200, 4, 0).float()
    if model.denoiser.kind is Kind.SD15:
        assert (at // 250 == torch.arange(4)).all()  # one in every quarter
    else:
        shifted = 3 * 0.5 / (1 + 2 * 0.5)
        assert (at[:, 1] <= shifted).all() and (at[:, 2] >= shifted).all()


def test_the_core_has_a_gradient_where_it_is_asked_for(model: Diffusion) -> None:
    names = model.groups("xattn")[:4]
    found = gradient(model, RETAIN, names)
    assert list(found) == names and all(g.abs().sum() > 0 for g in found.values())
    assert not any(p.requires_grad for p in model.denoiser.core.parameters())


def mean_cosine(model: Diffusion) -> float:
    rows = []
    for pair in model.paired.values():
        images = pair.encode_image(pair.preprocess(SETS.forget.load()))
        texts = pair.encode_text(pair.tokenize(SETS.forget.captions))
        rows.append((images * texts).sum(dim=-1).mean())
    return float(torch.stack(rows).mean())


def test_a_step_the_way_that_forgets_parts_pictures_from_texts(model: Diffusion) -> None:
    loss = model.loss("cosine", SETS)
    found = gradient(model, "cosine")
    assert loss.direction is Direction.UP
    with torch.no_grad():
        before = mean_cosine(model)
        with swapped(model, moved(model, found, 0.05)):
            assert mean_cosine(model) < before - 1e-4


def test_the_head_of_a_concept_descends(model: Diffusion) -> None:
    loss = model.loss("concept_head", SETS)
    assert loss.direction is Direction.DOWN
    head = fit_head(model.unedited_pooled(SETS.target_prompts), model.unedited_pooled(SETS.retain_prompts))

    def seen() -> float:
        logits = head(model.denoiser.pooled(SETS.target_prompts))
        return float(logits.softmax(-1)[:, CONCEPT].mean())

    with torch.no_grad():
        before = seen()
        assert before > 0.9
        with swapped(model, moved(model, gradient(model, "concept_head"), -0.5)):
            assert seen() < before - 1e-3  # eq. 9 ascended, as eq. 7 has it, would raise it
        assert float(head(model.unedited_pooled(SETS.retain_prompts)).argmax(-1).float().mean()) == 1.0


def test_a_step_down_the_anchor_loss_brings_prompts_nearer(model: Diffusion) -> None:
    found, anchor = gradient(model, "anchor"), model.unedited([SETS.anchor])

    def apart() -> float:
        now = model.denoiser.encode(SETS.target_prompts)
        return float(distances(now, anchor.expand(len(now))).mean())

    with torch.no_grad():
        before = apart()
        with swapped(model, moved(model, found, -0.1)):
            assert apart() < before


def test_drift_begins_at_nothing_and_restores(model: Diffusion) -> None:
    assert length(gradient(model, "drift")) == 0
    away = moved(model, gradient(model, "cosine"), 0.3)
    with swapped(model, away):
        found = gradient(model, "drift")
        assert length(found) > 0
        far = distances(
            model.denoiser.encode(SETS.retain_prompts), model.unedited(SETS.retain_prompts)
        ).mean()
        with swapped(model, moved(model, found, -0.05)):
            now = model.denoiser.encode(SETS.retain_prompts)
            assert distances(now, model.unedited(SETS.retain_prompts)).mean() < far


def test_what_the_unedited_encoder_said_is_known_in_the_midst_of_an_edit(model: Diffusion) -> None:
    with torch.no_grad():
        before = model.denoiser.encode(["a photo of zed"])
        with swapped(model, moved(model, gradient(model, "cosine"), 0.3)):
            model._unedited.clear()
            then, now = model.unedited(["a photo of zed"]), model.denoiser.encode(["a photo of zed"])
    assert torch.equal(then.tokens, before.tokens) and not torch.equal(now.tokens, before.tokens)


@pytest.mark.parametrize("form", ["squared", "signed"])
def test_the_mismatch_at_the_unedited_weights(model: Diffusion, form: str) -> None:
    loss = model.loss(f"mismatch_{form}", SETS)
    with pytest.raises(RuntimeError, match="anchored"):
        loss.gradient(SETS.forget, 4, editable(model), lambda *_: None)
    anchored = loss.anchored(Weights())
    params, seen = editable(model), []
    found = anchored.gradient(SETS.forget, 4, params, lambda *counts: seen.append(counts))
    assert (length(found) == 0) is (form == "squared")  # exactly: a one-shot edit does not feel it
    assert sum(back for _, back in seen) > 0
    with swapped(model, moved(model, gradient(model, "cosine"), 0.3)):
        assert length(anchored.gradient(SETS.forget, 4, params, lambda *_: None)) > 0


def test_a_mismatch_in_the_midst_of_an_edit_compares_with_its_beginning(model: Diffusion) -> None:
    live, params = parameters(model), editable(model)
    away = moved(model, gradient(model, "cosine"), 0.3)
    base = Weights(values={n: live[n].clone() for n in away})
    early = model.loss("mismatch_squared", SETS).anchored(Weights())
    early.gradient(SETS.forget, 4, params, lambda *_: None)
    with swapped(model, away):
        late = model.loss("mismatch_squared", SETS).anchored(base)
        one, two = (x.gradient(SETS.forget, 4, params, lambda *_: None) for x in (early, late))
    assert all(torch.equal(one[n], two[n]) for n in one)


def test_keys_tell_questions_apart(model: Diffusion) -> None:
    keys = [dict(model.loss(name, SETS).key) for name in (*FORGET, *KEEP)]
    assert len({str(k) for k in keys}) == len(keys)
    other = replace(SETS, anchor="a painting")
    assert model.loss("anchor", SETS).key != model.loss("anchor", other).key


def test_a_loss_that_is_not_there_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError) as caught:
        family(Kind.SD15).loss("cosin", SETS)
    assert "cosine" in str(caught.value) and "drift" in str(caught.value)


def test_losses_of_two_towers_name_what_they_lack() -> None:
    bare = replace(family(Kind.SD15), paired={})
    for name in ("cosine", "retain_nce"):
        with pytest.raises(ConfigError, match="no CLIP beside it"):
            bare.loss(name, SETS)
    assert length(gradient(bare, "anchor")) > 0


def test_t5_is_not_read_again_for_what_prompts_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    model, t5 = family(Kind.SD3), torch.nn.Linear(2, 2)
    monkeypatch.setitem(model.denoiser.encoders, T5, t5)
    monkeypatch.setitem(model.module._modules, T5, t5)
    with model.at_base():  # its values are in no file of this model
        assert model.denoiser.encode(["zed"]).tokens.isfinite().all()
