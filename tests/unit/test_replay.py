"""The replay of a tower's tail: the same bits as a full pass, and only the tail is computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_world import bits, make_clip, make_sets
from torch import Tensor

from razor_cli.contract.components import parameters, swapped
from razor_cli.dual.replay import run_prefix, run_suffix
from razor_cli.dual.view import Tower
from razor_cli.families.clip.family import Clip

SETS = make_sets()


@pytest.fixture(scope="module")
def model(taught: Any) -> Clip:
    return make_clip(torch.float32)


DEPTHS = [(Tower.VISION, layer) for layer in (1, 2, 3)] + [(Tower.TEXT, layer) for layer in (1, 2)]


def inputs_of(model: Clip, tower: Tower) -> Tensor:
    if tower is Tower.VISION:
        return model.preprocess(SETS.retain.load(0, 6))
    return model.tokenize(list(SETS.prompts.values()))


@torch.no_grad()
@pytest.mark.parametrize(("tower", "layer"), DEPTHS)
def test_replay_equals_the_full_forward_to_the_bit(model: Clip, tower: Tower, layer: int) -> None:
    inputs = inputs_of(model, tower)
    encode = model.encode_image if tower is Tower.VISION else model.encode_text
    saved = run_prefix(model, tower, inputs, layer)
    assert torch.equal(run_suffix(model, tower, inputs, layer, saved), encode(inputs))
    values = {
        n: v * 1.2
        for n, v in parameters(model).items()
        if n.startswith(model.layouts[tower is Tower.TEXT].block(1))
    }
    if layer <= 1:  # the prefix holds for whatever changes from its block on
        with swapped(model, values):
            assert torch.equal(run_suffix(model, tower, inputs, layer, saved), encode(inputs))
            assert not torch.equal(
                run_suffix(model, tower, inputs, layer, saved),
                run_suffix(model, tower, inputs, layer, saved * 2),
            )


@torch.no_grad()
@pytest.mark.parametrize(("tower", "layer"), DEPTHS)
def test_replay_puts_the_modules_back_even_after_a_failure(
    model: Clip, tower: Tower, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = inputs_of(model, tower)
    before, original = bits(model), [type(b).forward for b in model.blocks(tower)]
    saved = run_prefix(model, tower, inputs, layer)
    run_suffix(model, tower, inputs, layer, saved)
    with monkeypatch.context() as patch:
        patch.setattr(model, "image_features" if tower is Tower.VISION else "text_features", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_suffix(model, tower, inputs, layer, saved)
        with pytest.raises(ZeroDivisionError):
            run_prefix(model, tower, inputs, layer)
    assert [type(b).forward for b in model.blocks(tower)] == original
    assert not any("forward" in vars(b) or b._forward_hooks for b in model.blocks(tower))
    assert bits(model) == before


@torch.no_grad()
def test_replay_computes_only_the_tail(model: Clip) -> None:
    inputs, calls = inputs_of(model, Tower.VISION), []
    saved = run_prefix(model, Tower.VISION, inputs, 2)
    handles = [
        b.mlp.register_forward_hook(lambda *_, i=i: calls.append(i))
        for i, b in enumerate(model.blocks(Tower.VISION))
    ]
    run_suffix(model, Tower.VISION, inputs, 2, saved)
    assert calls == [2]
    calls.clear()
    run_prefix(model, Tower.VISION, inputs, 2)
    assert calls == [0, 1]
    for handle in handles:
        handle.remove()
