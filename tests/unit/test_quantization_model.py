"""Quantization of a model: scope, count, real modules, and that everything is the same to the bit
afterwards.
"""

from __future__ import annotations

import pytest
import torch
from tiny_clip import PROJECTIONS, TinyClip, gaussian
from torch import nn

from razor_cli.config.quantization import Quantization, Scope
from razor_cli.contract.components import parameters
from razor_cli.dual.quantizable import expected_count
from razor_cli.dual.view import DualEncoder, Tower
from razor_cli.errors import ConfigError, RunError
from razor_cli.weights.quantization import quantized
from razor_cli.weights.rounding import rtn_asymmetric, rtn_symmetric
from razor_cli.weights.scope import quantized_names


@pytest.fixture
def model() -> DualEncoder:
    return TinyClip()  # type: ignore[return-value]


def test_default_covers_every_attention_and_mlp_weight_and_restores(model):
    before = model.bits()
    pixels = gaussian(2, 3, 16, 16) * 50
    plain = model.encode_image(pixels)
    with quantized(model, "int8", Quantization(), edited=[]) as record:
        held = model.bits()
        changed = {name for name in before if not torch.equal(before[name], held[name])}
        assert changed == set(model.linear()) and record.n_tensors == len(changed) == 16
        assert any(name.endswith("in_proj_weight") for name in changed)
        assert not torch.equal(model.encode_image(pixels), plain)
        for name in changed:
            assert torch.equal(held[name], rtn_symmetric(before[name], 8).values)
    assert all(torch.equal(before[name], value) for name, value in model.bits().items())
    assert torch.equal(model.encode_image(pixels), plain)
    assert record.n_weights == sum(before[name].numel() for name in changed)
    assert record.bytes_before == 4 * record.n_weights
    assert record.bytes_after == record.n_weights + 4 * sum(before[name].shape[0] for name in changed)


def test_base_is_untouched_when_something_fails_inside(model):
    before = model.bits()
    with pytest.raises(KeyError), quantized(model, "int4", Quantization(), edited=[]):
        raise KeyError("evaluation")
    assert all(torch.equal(before[name], value) for name, value in model.bits().items())


def test_none_changes_nothing(model):
    before = model.bits()
    with quantized(model, "none", Quantization(), edited=["visual.proj"]) as record:
        assert all(torch.equal(before[name], value) for name, value in model.bits().items())
    assert (record.n_tensors, record.backend, record.bytes_after) == (0, "none", 0)


def test_group_and_symmetric_reach_the_weights(model):
    name = model.linear()[0]
    before = parameters(model)[name].clone()
    for options in ({"group": 8}, {"group": 0}, {"symmetric": True}):
        with quantized(model, "int4", Quantization(**options), edited=[]):
            rounded = rtn_symmetric if options.get("symmetric") else rtn_asymmetric
            expected = rounded(before, 4, options.get("group", 64)).values
            assert torch.equal(parameters(model)[name], expected)
            assert not torch.equal(expected, rtn_asymmetric(before, 4, 16).values)


@pytest.mark.parametrize("scope", [Scope.VISION, Scope.TEXT, Scope.EDITED_TOWER])
def test_scope_and_an_edit_outside_it(model, scope):
    edited = [
        "visual.transformer.resblocks.1.mlp.c_fc.weight",
        "visual.transformer.resblocks.1.mlp.c_fc.bias",
    ]
    names = quantized_names(model, edited, scope)
    inside = [n for n in model.linear() if n.startswith("visual") == (scope is not Scope.TEXT)]
    extra = edited[:1] if scope is Scope.TEXT else []
    assert names == inside + extra and len(names) == 8 + len(extra)
    before = model.bits()
    with quantized(model, "int4", Quantization(scope=scope), edited):
        held = parameters(model)
        assert {name for name in before if not torch.equal(before[name], held[name])} == set(names)


def test_edited_matrices_are_always_quantized_and_vectors_never(model):
    edited = [
        "visual.proj",
        "token_embedding.weight",
        "logit_scale",
        "ln_final.weight",
        "visual.conv1.weight",
    ]
    names = quantized_names(model, edited, Scope.LINEAR)
    assert set(names) - set(model.linear()) == {
        "visual.proj",
        "token_embedding.weight",
        "visual.conv1.weight",
    }
    before = model.bits()
    with quantized(model, "int8", Quantization(), edited) as record:
        held = parameters(model)
        assert record.n_tensors == 19
        assert torch.equal(
            held["visual.proj"], rtn_symmetric(before["visual.proj"].T, 8).values.T
        )  # x @ proj: outputs are columns
        assert torch.equal(
            held["visual.conv1.weight"], rtn_symmetric(before["visual.conv1.weight"], 8).values
        )
        assert torch.equal(held["logit_scale"], before["logit_scale"])


def test_options_add_patch_convolution_and_projections(model):
    added = set(quantized_names(model, [], Scope.LINEAR, patch_conv=True, projections=True)) - set(
        model.linear()
    )
    assert added == {"visual.conv1.weight", *PROJECTIONS}
    assert "text_projection" not in quantized_names(
        model, [], Scope.VISION, patch_conv=True, projections=True
    )
    assert model.quantizable().transposed == set(PROJECTIONS)
    with quantized(model, "int8", Quantization(patch_conv=True, projections=True), []) as record:
        assert record.n_tensors == 19


def test_edited_tower_without_an_edit_is_refused(model):
    with pytest.raises(ConfigError, match=r"quantization\.scope=edited_tower"):
        quantized_names(model, ["logit_scale"], Scope.EDITED_TOWER)
    for edited in ("text_projection", "transformer.resblocks.0.mlp.c_fc.bias"):
        names = quantized_names(model, [edited], Scope.EDITED_TOWER)
        assert len(names) >= 8 and all("visual" not in n for n in names)


def test_count_is_checked_against_the_architecture():
    whole = TinyClip()
    assert [expected_count(whole.blocks(tower)) for tower in Tower] == [8, 8]
    complete, extra = whole.linear(), "transformer.resblocks.0.ln_1.weight"
    without_in_proj = [n for n in complete if not n.endswith("in_proj_weight")]
    for names in (
        without_in_proj,
        complete[1:],
        [],
        ["ln_final.weight"],
        [*complete[1:], complete[1]],
        [*complete, extra],
    ):
        broken = TinyClip(names)
        with pytest.raises(RunError, match="does not cover"), quantized(broken, "int8", Quantization(), []):  # type: ignore[arg-type]
            pass
        assert all(torch.equal(value, parameters(whole)[name]) for name, value in broken.bits().items())  # type: ignore[arg-type]


def test_unknown_parameter_and_nan_in_a_model_are_named(model):
    with pytest.raises(RunError, match=r"visual\.nope"):
        quantized_names(model, ["visual.nope"], Scope.LINEAR)
    name = model.linear()[3]
    parameters(model)[name][0, 0] = float("nan")
    with (
        pytest.raises(RunError, match=name.replace(".", r"\.")),
        quantized(model, "int8", Quantization(), []),
    ):
        pass


def test_separate_query_key_value_weights_are_counted():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = nn.MultiheadAttention(8, 2, kdim=4, vdim=4)

    other = TinyClip()
    other.blocks = lambda tower: [Block()]  # type: ignore[method-assign]
    assert expected_count(other.blocks(Tower.TEXT)) == 4


def test_an_unknown_scheme_is_refused_before_anything_changes(model):
    with pytest.raises(ConfigError, match="int3"), quantized(model, "int3", Quantization(), []):
        pass
