"""Gradients are taken of the parameters that may be edited, in memory and on disk; edits stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from presets import preset
from safetensors.torch import load_file
from tiny_world import TARGET, make_sets, run
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.contract.method import GradientPlan
from razor_cli.dual import named_losses
from razor_cli.dual.choices import FORGET_LOSSES
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip

SETS = make_sets()


def owned(model: Clip) -> set[str]:
    """Return the parameters of all components of the family."""
    every = [c for g in Granularity for c in model.components(g, Towers.BOTH, include_projections=True)]
    return {p for c in every for p in c.params}


def entries(cache: TensorCache) -> list[dict[str, Tensor]]:
    return [load_file(p) for p in sorted(cache.folder.glob("*.safetensors"))]


def test_the_editable_parameters_are_those_of_all_components(clip: Clip) -> None:
    editable = Lab(family=clip, sets=SETS).editable
    assert set(editable) == owned(clip) and len(set(editable)) == len(editable)
    rest = set(parameters(clip)) - set(editable)
    assert {"logit_scale", "token_embedding.weight", "positional_embedding", "visual.ln_pre.bias"} <= rest


@pytest.mark.parametrize("forget_loss", FORGET_LOSSES)
def test_gradients_are_of_the_editable_parameters_only(clip: Clip, tmp_path: Path, forget_loss: str) -> None:
    plan, cache = GradientPlan(forget_loss=forget_loss, forget_batch=8, chunk=4), TensorCache(tmp_path)
    for lab in (Lab(family=clip, sets=SETS), *(Lab(family=clip, sets=SETS, cache=cache) for _ in range(2))):
        for found in (*lab.gradients(plan), lab.forget_gradient(plan)):
            assert found.keys() == set(lab.editable)
            assert all(found[n].shape == parameters(clip)[n].shape for n in found)
    assert [e.keys() for e in entries(cache)] == [owned(clip)] * 2


@pytest.mark.parametrize("chunk", [128, 5])
@pytest.mark.parametrize("forget_loss", FORGET_LOSSES)
def test_a_gradient_of_some_parameters_is_that_part_of_the_gradient_of_all(
    clip32: Clip, forget_loss: str, chunk: int
) -> None:
    every = [n for n in parameters(clip32) if n != "logit_scale"]
    some = ["visual.proj", "transformer.resblocks.1.mlp.c_fc.weight"]
    for name in (forget_loss, "retain"):
        loss, part = clip32.loss(name, SETS), SETS.forget if name == forget_loss else SETS.retain
        whole = loss.gradient(part, 128, every, lambda *_: None, chunk=chunk)
        found = loss.gradient(part, 128, some, lambda *_: None, chunk=chunk)
        assert found.keys() == set(some)
        for n in some:
            assert float(whole[n].norm()) > 0
            torch.testing.assert_close(found[n], whole[n], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["razor", "razor_anchor", "slug"])
def test_the_edit_is_the_one_that_gradients_of_all_parameters_give(
    clip: Clip, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restricted = run(preset(name), clip, SETS)
    real = named_losses.set_gradient
    taken: list[int] = []

    def of_all(*args: object, only: object = None, **keywords: object) -> dict[str, Tensor]:
        found = real(*args, only=None, **keywords)
        taken.append(len(found))
        return found

    monkeypatch.setattr(named_losses, "set_gradient", of_all)
    whole = run(preset(name), clip, SETS)
    assert set(taken) == {len(parameters(clip)) - 1}
    assert whole.components == restricted.components and whole.components
    assert [(e.action, e.component, e.step_size) for e in whole.log] == [
        (e.action, e.component, e.step_size) for e in restricted.log
    ]
    assert all(torch.equal(v, restricted.values[n]) for n, v in whole.values.items())


def test_towers_granularities_and_methods_share_the_gradients_on_disk(clip: Clip, tmp_path: Path) -> None:
    cache, brief = TensorCache(tmp_path), {"step": "fixed", "step_size": 0.0, "grow_rounds": 0}
    first = run(preset("razor_bounded", towers="vision", **brief), clip, SETS, cache=cache)
    assert first.cost.gradient_cache_hits == 0
    for changes in ({"towers": "text"}, {"granularity": "tensor"}, {"include_projections": True}):
        again = run(preset("razor_bounded", **brief | changes), clip, SETS, cache=cache)
        assert again.cost.gradient_cache_hits == 2 and again.cost.backwards == 0, changes
    slug = run(preset("slug", search_steps=1, forget_batch=128, retain_batch=128), clip, SETS, cache=cache)
    assert slug.cost.gradient_cache_hits == 2
    assert len(entries(cache)) == 2 and SETS.target == TARGET
