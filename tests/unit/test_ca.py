"""CA: the target's prompt learns to mean what the anchor's means, and the anchor's stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets
from torch import Tensor

from razor_cli.contract.components import swapped
from razor_cli.contract.edit import Edit
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.noised import noised
from razor_cli.methods.diffusion.ca import Ca
from razor_cli.methods.diffusion.ca_ablation import Ablation

SHORT = {"lr": 2e-3, "epochs": 2, "steps": 3, "batch": 4, "sampler_steps": 3, "pictures": 6}
LATER: dict[str, Any] = {"anchor_weight": 1.0, "steps": 10}


@pytest.fixture(scope="module", params=list(Kind))
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def sets() -> Any:
    """Return sets with an anchor for each prompt of the target."""
    found = drawn_sets()
    return replace(found, anchor_prompts=tuple(p.replace("Noto", "Mono") for p in found.target_prompts))


def method(**changes: Any) -> Ca:
    found = preset("ca", **SHORT | changes)
    assert isinstance(found, Ca)
    return found


def ca(family: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    return method(**changes).edit(lab_of(family, **{"sets": sets()} | (lab or {})))


def state(ablation: Ablation, n: int = 6) -> tuple[Any, list[int]]:
    rows = [i % len(ablation.own) for i in range(n)]
    return noised(ablation.denoiser, ablation.latents[:n], torch.Generator().manual_seed(3)), rows


@pytest.mark.parametrize("anchor_by", ["student", "teacher"])
def test_a_target_that_is_its_own_anchor_costs_nothing_and_moves_nothing(
    family: Diffusion, anchor_by: str
) -> None:
    own = replace(drawn_sets(), anchor_prompts=drawn_sets().target_prompts)
    settings = method(anchor_by=anchor_by)
    ablation = Ablation(lab_of(family, sets=own), settings)
    noisy, rows = state(ablation)
    with family.denoiser.asking(settings.trained(family)) as live:
        loss = ablation.ablated(noisy, rows)
        loss.backward()
        found = [p.grad for p in live.values()]
    for parameter in live.values():
        parameter.grad = None
    assert float(loss.detach()) == 0 and all(g is not None and not g.any() for g in found)


def said(family: Diffusion, text: str) -> Tensor:
    """Return the net's answer to half-noised latents under a prompt."""
    latents = torch.randn(6, *family.denoiser.shape, generator=torch.Generator().manual_seed(9))
    at = torch.full((6,), 0.6) if family.denoiser.kind is Kind.SD3 else torch.full((6,), 600)
    with torch.no_grad():
        return family.denoiser.predict(latents, at, family.denoiser.encode([text]).expand(6))


def test_what_is_said_of_the_target_drifts_to_the_anchors(family: Diffusion) -> None:
    before = bits(family)
    edit = ca(family, steps=12, lr=1e-3)
    assert same(before, bits(family))
    own, instead = sets().target_prompts[0], sets().anchors[0]
    wanted, first = said(family, instead), said(family, own)
    with swapped(family, edit.values):
        then = said(family, own)
    assert float((then - wanted).norm()) < 0.8 * float((first - wanted).norm())
    assert family.without_effect(edit.change, sets()) is None


@pytest.mark.parametrize("anchor_by", ["student", "teacher"])
def test_the_anchors_answer_is_the_models_in_training_or_the_unedited_ones(
    family: Diffusion, anchor_by: str
) -> None:
    ablation = Ablation(lab_of(family, sets=sets()), method(anchor_by=anchor_by))
    noisy, rows = state(ablation)
    first = ablation.wanted(noisy, rows)
    moved = {n: p.detach() + 0.1 for n, p in ablation.weights.live.items()}
    with swapped(family, moved):
        assert torch.equal(first, ablation.wanted(noisy, rows)) is (anchor_by == "teacher")


def test_the_loss_on_the_anchors_own_pictures_does_not_rise(family: Diffusion) -> None:
    settings = method(**LATER)
    ablation = Ablation(lab_of(family, sets=sets()), settings)
    noisy, rows = state(ablation)
    edit = ca(family, **LATER)
    with torch.no_grad():
        before = float(ablation.kept(noisy, rows))
        with swapped(family, edit.values):
            after = float(ablation.kept(noisy, rows))
    assert after <= before


def test_only_keys_and_values_that_read_the_prompt_change(family: Diffusion) -> None:
    edit = ca(family, epochs=1)
    added = tuple(f"add_{x}_proj.{kind}" for x in "kv" for kind in ("weight", "bias"))
    assert edit.values and all(n.endswith(("to_k.weight", "to_v.weight", *added)) for n in edit.values)
    assert not any("attn1" in n for n in edit.values)
    assert set(edit.values) <= set(family.groups("xattn_kv"))


def test_noise_is_what_is_learnt_where_that_is_asked_for(family: Diffusion) -> None:
    ablation = Ablation(lab_of(family, sets=sets()), method(learnt="noise"))
    noisy, rows = state(ablation)
    assert torch.equal(ablation.wanted(noisy, rows), noisy.target)


def test_words_of_the_target_alone_move_in_the_tables_of_the_encoders(family: Diffusion) -> None:
    edit = ca(family, group="embedding", epochs=1)
    assert len(edit.values) == len(family.denoiser.encoders)
    tokenizer = family.denoiser.pipeline.tokenizer
    words = set(tokenizer("Noto", add_special_tokens=False).input_ids)
    for name, value in edit.values.items():
        live = dict(family.module.named_parameters())[name]
        assert set((value != live).any(dim=1).nonzero()[:, 0].tolist()) == words


def test_the_anchor_takes_the_targets_place_in_templates(family: Diffusion) -> None:
    settings = method(prompts={"style": ["A cats image in {} style.", "{}"]}, anchor="Cubism")
    ablation = Ablation(lab_of(family), settings)
    assert ablation.own == ["A cats image in Noto style.", "Noto"]
    assert ablation.instead == ["A cats image in Cubism style.", "Cubism"]
    assert Ablation(lab_of(family), method(prompts={"style": ["{}"]})).instead == ["An image."]


def test_seeds_decide_and_the_unedited_model_may_be_asked(family: Diffusion) -> None:
    one = ca(family)
    assert same(one.values, ca(family).values)
    assert not same(one.values, ca(family, {"seed": 1}).values)
    assert not same(one.values, ca(family, anchor_by="student").values)


def test_published_settings() -> None:
    for name, pictures, steps in (
        ("paper", 1000, 200),
        ("canvas_style", 200, 1000),
        ("canvas_object", 80, 1000),
    ):
        found = preset(f"ca_{name}")
        assert (found.group, found.pictures, found.epochs * found.steps) == ("xattn_kv", pictures, steps)
        assert (found.lr, found.batch, found.weight_decay) == (4 * 2e-6, 4, 0.01)
        assert (found.anchor_weight, found.anchor_by, found.learnt) == (0.0, "student", "model")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"pictures": 0}, r"method\.pictures"),
        ({"anchor_weight": -1.0}, r"method\.anchor_weight"),
        ({"steps": 0}, r"method\.steps"),
        ({"prompts": {"style": ["no name"]}}, r"method\.prompts\.style"),
        ({"learnt": "both"}, r"method\.learnt"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        method(**changes)
