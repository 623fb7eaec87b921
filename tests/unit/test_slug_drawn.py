"""SLUG on text encoders: the published script's search, its pitfalls as switches, and the paper's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits, family, make_sets

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice, parameters, swapped
from razor_cli.contract.edit import Edit
from razor_cli.engine.saliency import Saliency, pareto_front
from razor_cli.engine.search import stepped
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.settings import DrawnMetrics
from razor_cli.methods.slug import Slug
from razor_cli.methods.slug_choices import Align, Candidates, Searched
from razor_cli.methods.slug_front import front_of, searched
from razor_cli.methods.slug_search import Trial, bounded

NO_PICTURES = DrawnMetrics(search_pictures=0)
ON_TEXT: dict[str, Any] = {
    "criterion": "text_gone",
    "criterion_value": 1000.0,  # any step: the tiny encoders are random
    "utility": ["text_kept"],
    "retain_loss": "retain_nce",
    "candidates": "attn_mlp_only",
    "searched": "deepest",
    "bracket": "bounded",
    "siblings": True,
    "init_rel": 0.4,
    "search_steps": 11,
}


@pytest.fixture(params=list(Kind), ids=str)
def model(request: pytest.FixtureRequest) -> Diffusion:
    return family(request.param)


def slug(model: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    method = preset("slug", **ON_TEXT | changes)
    assert isinstance(method, Slug)
    return method.edit(lab_of(model, settings=NO_PICTURES, **lab or {}))


def test_a_criterion_without_pictures_is_answered_with_one_that_there_is() -> None:
    with pytest.raises(ConfigError, match=r"method\.criterion=recognised") as error:
        slug(family(Kind.SD15), criterion="recognised")
    told = str(error.value)
    assert "no judge" in told and "method.criterion=text_gone" in told and "class_names" not in told


def lead(layer: int = 0, name: str = "t") -> Saliency:
    component = Component(name, "tensor", "text", layer, (Slice(name),))
    return Saliency(component=component, weight_norm=2.0, forget_norm=1.0, retain_norm=1.0, cosine=0, phi=0.5)


def tried(forgotten_from: float, kept_until: float, steps: int = 11) -> list[float]:
    """Return the steps of a search on a stub: forgotten from one size on, and ruined beyond another."""

    def trial(size: float) -> Trial:
        kept = 0.0 if size <= kept_until else -100.0
        metrics = {"kept": kept}
        return Trial(
            leads=(lead(),),
            step_size=size,
            relative=size,
            metrics=metrics,
            forgotten=size >= forgotten_from,
        )

    kept: Callable[[Trial], float] = lambda t: t.metrics["kept"]  # noqa: E731
    return [t.step_size for t in bounded(trial, 0.4, steps, 10.0, kept)]


def test_the_front_of_four_points_is_that_by_hand() -> None:
    importance, alignment = [3.0, 2.0, 1.0, 0.5], [0.9, 0.2, 0.5, 0.1]
    assert pareto_front(importance, alignment) == [0, 1, 3]


def test_the_bounded_search_goes_up_down_and_shrinks_where_the_script_stands_still() -> None:
    assert tried(0.1, 5.0) == [0.4]  # forgotten at no cost: it ends
    up = tried(3.0, 5.0)
    assert up[:3] == [0.4, 2.2, 3.1] and len(up) == 3
    down = tried(0.05, 0.1)
    assert down[:3] == [0.4, 0.2, 0.1] and len(down) == 3
    stuck = tried(9.0, 0.1)  # not forgotten, and it has cost: neither branch of the script
    assert stuck[:4] == [0.4, 0.2, 0.1, pytest.approx(0.15)]
    assert all(len(tried(f, k)) <= 11 for f in (0.01, 0.5, 9.0) for k in (0.0, 0.3, 5.0))


def test_the_deepest_of_the_front_is_searched_and_the_scripts_comparison_misses_block_0() -> None:
    model = family(Kind.SD15)
    lab = lab_of(model)
    forget, retain = lab.gradients(preset("slug", **ON_TEXT)._plan(lab))
    shallow, deep = lead(0, "a"), lead(2, "b")
    assert searched(model, [shallow, deep], Searched.FRONT, forget, retain) == [(shallow,), (deep,)]
    assert searched(model, [shallow, deep], Searched.DEEPEST, forget, retain) == [(deep,)]
    assert searched(model, [shallow], Searched.DEEPEST, forget, retain) == [(shallow,)]
    ((usual,),) = searched(model, [shallow], Searched.DEEPEST_CODE, forget, retain)
    assert usual.component.name.endswith("layers.2.self_attn.out_proj.weight")


def test_exactly_the_tensors_that_belong_together_change_in_each_encoder(model: Diffusion) -> None:
    before, edit = bits(model), slug(model)
    assert same(before, bits(model)) and edit.values
    towers = dict.fromkeys(c.tower for c in model.components(Granularity.TENSOR, Towers.BOTH))
    every = {c.name: c for c in model.components(Granularity.TENSOR, Towers.BOTH)}
    for tower in towers:
        own = [every[n] for n in edit.values if every[n].tower == tower]
        assert own and set(own) == set(model.siblings(own[0]))
    assert all(not torch.equal(v, before[n]) for n, v in edit.values.items())
    assert model.without_effect(edit.change, make_sets()) is None
    assert same(edit.values, slug(model).values)
    assert len([e for e in edit.log if e.action == "search"]) <= 11 * len(towers)


@pytest.mark.parametrize(("sign", "falls"), [("paper", True), ("reference", False)])
def test_a_small_step_lowers_or_raises_the_similarity_of_pairs(
    model: Diffusion, sign: str, falls: bool
) -> None:
    method = preset("slug", **ON_TEXT | {"sign": sign})
    lab = lab_of(model)
    forget, retain = lab.gradients(method._plan(lab))
    front = front_of(model, forget, retain, method.towers, Candidates.ATTN_MLP_ONLY, Align.ABS)
    chosen = [s.component for s in front[:1]]
    size = 1e-3 * front[0].weight_norm / front[0].forget_norm
    pair = model.dual(next(iter(model.paired)))
    if not chosen[0].name.startswith(f"{next(iter(model.paired))}."):
        pytest.skip("the front begins in another encoder")

    def similarity() -> float:
        part = lab.sets.forget
        with torch.no_grad():
            images = pair.encode_image(pair.preprocess(part.load()))
            texts = pair.encode_text(pair.tokenize(part.captions))
        return float((images * texts).sum(-1).double().mean())

    before = similarity()
    with swapped(model, stepped(model, chosen, method._directions(chosen, forget, lab), [size])):
        assert (similarity() < before) is falls


def test_captions_of_what_stays_are_overwritten_where_the_script_does_so(model: Diffusion) -> None:
    lab = lab_of(model)
    own, named = (
        lab.gradients(preset("slug", **ON_TEXT | {"retain_text": text})._plan(lab))[1]
        for text in ("caption", "concept")
    )
    texts = lab.sets.retain.captioned(lab.sets.target)
    assert set(texts.captions) == {lab.sets.target} and texts.keys == lab.sets.retain.keys
    assert texts.fingerprint() != lab.sets.retain.fingerprint()
    assert not same(own, named)


def test_captions_of_the_target_are_overwritten_where_the_script_does_so(model: Diffusion) -> None:
    lab = lab_of(model)
    own, named = (
        lab.gradients(preset("slug", **ON_TEXT | {"forget_text": text})._plan(lab))[0]
        for text in ("caption", "concept")
    )
    assert not same(own, named)
    assert preset("slug_code", _family="diffusion").forget_text == "concept"


def test_both_encoders_move_by_one_share_of_their_norm() -> None:
    model = family(Kind.SD3)
    edit = slug(model, siblings=False)
    live = parameters(model)
    shares = [float((v - live[n]).norm() / live[n].norm()) for n, v in edit.values.items()]
    assert len(shares) == 2 and shares[0] == pytest.approx(shares[1], rel=1e-3)
