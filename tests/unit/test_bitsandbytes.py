"""Quantization by bitsandbytes: weights in place, real modules, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch
from tiny_clip import TinyClip, gaussian
from torch import nn

from razor_cli.config.quantization import BACKENDS, Quantization
from razor_cli.dual.view import DualEncoder
from razor_cli.errors import RunError, UserError
from razor_cli.weights.bitsandbytes import naive_linear_walk_check, plain_linears, replaced_linears, round_bnb
from razor_cli.weights.quantization import quantized

BNB = [name for name, backend in BACKENDS.items() if backend == "bitsandbytes"]


@pytest.fixture
def model() -> DualEncoder:
    return TinyClip()  # type: ignore[return-value]


@pytest.fixture
def bnb() -> Iterator[None]:
    pytest.importorskip("bitsandbytes", minversion="0.49", reason="bitsandbytes is not installed")
    yield


def linears(module: nn.Module) -> list[str]:
    return [name for name, child in module.named_modules() if isinstance(child, nn.Linear)]


def test_naive_walk_over_linears_is_refused(model):
    walk = linears(model.module)
    assert any(name.endswith("attn.out_proj") for name in walk)
    with pytest.raises(RunError, match=r"attn\.out_proj belongs to nn\.MultiheadAttention"):
        naive_linear_walk_check(model.module, walk)
    before = {name: model.module.get_submodule(name) for name in walk}
    with pytest.raises(RunError, match="cannot become"), replaced_linears(model.module, walk, "nf4"):
        pass
    assert all(model.module.get_submodule(name) is child for name, child in before.items())
    plain = plain_linears(model.module, model.linear())
    naive_linear_walk_check(model.module, plain)
    assert sorted(plain) == sorted(name for name in walk if ".mlp." in name) and len(plain) == 8


def test_attention_is_excluded_by_its_parents_type_and_not_by_name():
    root = nn.Module()
    root.attn = nn.Module()
    root.attn.out_proj = nn.Linear(4, 4)
    assert plain_linears(root, ["attn.out_proj.weight"]) == ["attn.out_proj"]
    naive_linear_walk_check(root, ["attn.out_proj"])
    root.attn = nn.MultiheadAttention(4, 1)
    root.attn.out_proj = nn.Linear(4, 4)  # type: ignore[assignment]
    assert plain_linears(root, ["attn.out_proj.weight"]) == []


def test_missing_package_is_a_user_error_with_the_extras_name(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    before = model.bits()
    for attempt in (
        lambda: round_bnb(gaussian(4, 64), "nf4"),
        Quantization(schemes=["none", "nf4"]).check_available,
        lambda: quantized(model, "fp4", Quantization(), []).__enter__(),
    ):
        with pytest.raises(UserError, match=r'pip install "razor-cli\[bitsandbytes\]"') as caught:
            attempt()
        assert caught.value.exit_code == 2
    Quantization().check_available()  # own schemes need no package
    assert all(torch.equal(before[name], value) for name, value in model.bits().items())


@pytest.mark.parametrize("scheme", BNB)
def test_bitsandbytes_in_place_covers_in_proj_and_restores(bnb, model, scheme):
    before = model.bits()
    with quantized(model, scheme, Quantization(), edited=["text_projection"]) as record:
        held = model.bits()
        changed = {name for name in before if not torch.equal(before[name], held[name])}
        assert changed == {*model.linear(), "text_projection"}
        assert (record.n_tensors, record.n_modules, record.backend) == (17, 0, "bitsandbytes")
        for name in model.linear():
            assert torch.equal(held[name], round_bnb(before[name], scheme).values)
    assert all(torch.equal(before[name], value) for name, value in model.bits().items())


@pytest.mark.parametrize(
    ("scheme", "kind"), [("bnb_int8", "Linear8bitLt"), ("nf4", "Linear4bit"), ("fp4", "Linear4bit")]
)
def test_real_modules_agree_with_weights_in_place(bnb, scheme, kind, caplog):
    # With AVX-512 the library's 4-bit layers are right only where rows are whole blocks of 64 weights.
    model = TinyClip(width=64)
    before, children, rng = model.bits(), dict(model.module.named_modules()), torch.get_rng_state()
    pixels = gaussian(8, 3, 16, 16) * 50
    options = Quantization(schemes=[scheme], bnb_modules=True)
    with torch.no_grad():
        plain = model.encode_image(pixels)
        with quantized(model, scheme, Quantization(), edited=[]):
            in_place = model.encode_image(pixels)
        with quantized(model, scheme, options, edited=[]) as record:
            block = model.module.visual.transformer.resblocks[0]
            assert type(block.mlp.c_fc).__name__ == kind and not block.mlp.c_fc.training
            assert block.attn.out_proj.weight.dtype == torch.float32
            real = model.encode_image(pixels)
    assert (record.n_tensors, record.n_modules) == (16, 8)
    # int8 modules round activations too; with AVX512_BF16 those of 4 bit multiply in bfloat16
    tolerance = 0.02 if scheme == "bnb_int8" else 0.01
    assert (real - in_place).norm() / in_place.norm() < tolerance
    assert (real - plain).norm() / plain.norm() > 1e-3
    assert dict(model.module.named_modules()) == children and torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(before[name], value) for name, value in model.bits().items())
    assert not caplog.records


def test_what_is_hooked_to_a_layer_acts_on_its_stand_in(bnb):
    root = nn.Sequential(nn.Linear(64, 64))
    handle = root[0].register_forward_hook(lambda _, __, found: 0 * found)
    with torch.no_grad(), replaced_linears(root, ["0"], "bnb_int8"):
        assert not root(torch.ones(2, 64)).any()
    handle.remove()
    with torch.no_grad(), replaced_linears(root, ["0"], "bnb_int8"):
        assert bool(root(torch.ones(2, 64)).any())


def test_large_activations_stay_out_of_the_int8_grid(bnb):
    root = nn.Sequential(nn.Linear(256, 256))
    root[0].weight.data = gaussian(256, 256)
    x = gaussian(64, 256, seed=1) * 50
    x[:, :2] *= 30
    with torch.no_grad():
        exact = root(x)
        with replaced_linears(root, ["0"], "bnb_int8"):
            assert (root(x) - exact).norm() / exact.norm() < 0.02  # 0.05 and more when they share the grid


def test_modules_come_back_when_something_fails_inside(bnb, model):
    before, children = model.bits(), dict(model.module.named_modules())
    options = Quantization(schemes=["nf4"], bnb_modules=True)
    with pytest.raises(KeyError), quantized(model, "nf4", options, edited=[]):
        raise KeyError("evaluation")
    assert dict(model.module.named_modules()) == children
    assert all(torch.equal(before[name], value) for name, value in model.bits().items())
