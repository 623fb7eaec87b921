"""Quantization of a model: scope, count, real modules, and that everything is the same to the bit
afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from razor_cli.config.quantization import BACKENDS, Quantization, Scope
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice, parameters
from razor_cli.dual.quantizable import expected_count
from razor_cli.dual.view import DualEncoder, Tower
from razor_cli.errors import ConfigError, RunError, UserError
from razor_cli.weights.bitsandbytes import naive_linear_walk_check, plain_linears, replaced_linears, round_bnb
from razor_cli.weights.quantization import quantized
from razor_cli.weights.rounding import rtn_int4, rtn_int8
from razor_cli.weights.scope import quantized_names, transposed_weights

VISION = {"layers": 2, "width": 32, "head_width": 8, "patch_size": 8, "image_size": 16}
TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 4, "layers": 2}
SUFFIXES = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
PROJECTIONS = {"visual.proj": Tower.VISION, "text_projection": Tower.TEXT}
BNB = [name for name, backend in BACKENDS.items() if backend == "bitsandbytes"]


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


class TinyClip:
    """As much of a dual encoder as quantization asks for, around open_clip's own class."""

    family, label, stand_in, scale = "clip", "tiny", True, 100.0

    def __init__(self, names: Sequence[str] | None = None) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = CLIP(16, dict(VISION), dict(TEXT)).eval()
            for parameter in self.module.parameters():
                parameter.data.normal_(0, 0.2)  # no zeros, no constant tensors: every restored bit is visible
        self.names = names

    def blocks(self, tower: Tower) -> list[nn.Module]:
        owner = self.module.visual.transformer if tower is Tower.VISION else self.module.transformer
        return list(owner.resblocks)

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        assert granularity is Granularity.TENSOR and towers is Towers.BOTH
        found = [(n, Tower.VISION if n.startswith("visual") else Tower.TEXT, 0) for n in self.quantizable()]
        if include_projections:
            found += [
                ("token_embedding.weight", Tower.TEXT, -1),
                *((n, tower, 2) for n, tower in PROJECTIONS.items()),
            ]
        return [Component(n, "tensor", tower, layer, (Slice(n),)) for n, tower, layer in found]

    def quantizable(self) -> list[str]:
        return (
            list(self.names)
            if self.names is not None
            else [n for n in parameters(self) if n.endswith(SUFFIXES)]
        )

    def encode_image(self, pixels: Tensor) -> Tensor:
        return self.module.encode_image(pixels, normalize=True)

    def bits(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in parameters(self).items()}


@pytest.fixture
def model() -> DualEncoder:
    return TinyClip()  # type: ignore[return-value]


@pytest.fixture
def bnb() -> Iterator[None]:
    pytest.importorskip("bitsandbytes", minversion="0.49", reason="bitsandbytes is not installed")
    yield


def test_default_covers_every_attention_and_mlp_weight_and_restores(model):
    before = model.bits()
    pixels = gaussian(2, 3, 16, 16) * 50
    plain = model.encode_image(pixels)
    with quantized(model, "int8", Quantization(), edited=[]) as record:
        held = model.bits()
        changed = {name for name in before if not torch.equal(before[name], held[name])}
        assert changed == set(model.quantizable()) and record.n_tensors == len(changed) == 16
        assert any(name.endswith("in_proj_weight") for name in changed)
        assert not torch.equal(model.encode_image(pixels), plain)
        for name in changed:
            assert torch.equal(held[name], rtn_int8(before[name]))
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
    name = model.quantizable()[0]
    before = parameters(model)[name].clone()
    for options in ({"group": 8}, {"group": 0}, {"symmetric": True}):
        with quantized(model, "int4", Quantization(**options), edited=[]):
            expected = rtn_int4(before, options.get("group", 64), options.get("symmetric", False))
            assert torch.equal(parameters(model)[name], expected)
            assert not torch.equal(expected, rtn_int4(before, 16))


@pytest.mark.parametrize("scope", [Scope.VISION, Scope.TEXT, Scope.EDITED_TOWER])
def test_scope_and_an_edit_outside_it(model, scope):
    edited = [
        "visual.transformer.resblocks.1.mlp.c_fc.weight",
        "visual.transformer.resblocks.1.mlp.c_fc.bias",
    ]
    names = quantized_names(model, edited, scope)
    inside = [n for n in model.quantizable() if n.startswith("visual") == (scope is not Scope.TEXT)]
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
    assert set(names) - set(model.quantizable()) == {
        "visual.proj",
        "token_embedding.weight",
        "visual.conv1.weight",
    }
    before = model.bits()
    with quantized(model, "int8", Quantization(), edited) as record:
        held = parameters(model)
        assert record.n_tensors == 19
        assert torch.equal(
            held["visual.proj"], rtn_int8(before["visual.proj"].T).T
        )  # x @ proj: outputs are columns
        assert torch.equal(held["visual.conv1.weight"], rtn_int8(before["visual.conv1.weight"]))
        assert torch.equal(held["logit_scale"], before["logit_scale"])


def test_options_add_patch_convolution_and_projections(model):
    added = set(quantized_names(model, [], Scope.LINEAR, patch_conv=True, projections=True)) - set(
        model.quantizable()
    )
    assert added == {"visual.conv1.weight", *PROJECTIONS}
    assert "text_projection" not in quantized_names(
        model, [], Scope.VISION, patch_conv=True, projections=True
    )
    assert transposed_weights(model) == set(PROJECTIONS)
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
    assert [expected_count(whole, tower) for tower in Tower] == [8, 8]  # type: ignore[arg-type]
    complete, extra = whole.quantizable(), "transformer.resblocks.0.ln_1.weight"
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
    name = model.quantizable()[3]
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
    assert expected_count(other, Tower.TEXT) == 4  # type: ignore[arg-type]


# ---- bitsandbytes


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
    plain = plain_linears(model.module, model.quantizable())
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
        assert changed == {*model.quantizable(), "text_projection"}
        assert (record.n_tensors, record.n_modules, record.backend) == (17, 0, "bitsandbytes")
        for name in model.quantizable():
            assert torch.equal(held[name], round_bnb(before[name], scheme).values)
    assert all(torch.equal(before[name], value) for name, value in model.bits().items())


@pytest.mark.parametrize(
    ("scheme", "kind"), [("bnb_int8", "Linear8bitLt"), ("nf4", "Linear4bit"), ("fp4", "Linear4bit")]
)
def test_real_modules_agree_with_weights_in_place(bnb, model, scheme, kind, caplog):
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
    tolerance = 0.02 if scheme == "bnb_int8" else 2e-3  # int8 modules round activations too
    assert (real - in_place).norm() / in_place.norm() < tolerance
    assert (real - plain).norm() / plain.norm() > 1e-3
    assert dict(model.module.named_modules()) == children and torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(before[name], value) for name, value in model.bits().items())
    assert not caplog.records


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


def test_an_unknown_scheme_is_refused_before_anything_changes(model):
    with pytest.raises(ConfigError, match="int3"), quantized(model, "int3", Quantization(), []):
        pass
