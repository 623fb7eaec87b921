"""Quantization without a model: the grids, what survives of an edit, the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from omegaconf import OmegaConf
from torch import Tensor

from razor_cli.config.quantization import BACKENDS, Quantization, Scope
from razor_cli.errors import ConfigError, RunError, UserError
from razor_cli.weights.bitsandbytes import round_bnb
from razor_cli.weights.quantization import round_weight, weight_report
from razor_cli.weights.rounding import rtn_asymmetric, rtn_symmetric

CONF = Path(__file__).parents[2] / "conf" / "quantization"
BNB = [name for name, backend in BACKENDS.items() if backend == "bitsandbytes"]


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def rtn_int8(weight: Tensor) -> Tensor:
    """Return `weight` on the int8 grid."""
    return round_weight(weight, "int8").values


def rtn_int4(weight: Tensor, group: int = 64, symmetric: bool = False) -> Tensor:
    """Return `weight` on the int4 grid."""
    return round_weight(weight, "int4", Quantization(group=group, symmetric=symmetric)).values


def error(rounded: Tensor, weight: Tensor) -> float:
    return float((rounded - weight).norm() / weight.norm())


@pytest.fixture
def bnb() -> Iterator[None]:
    pytest.importorskip("bitsandbytes", minversion="0.49", reason="bitsandbytes is not installed")
    yield


# ---- the grids

weights = hnp.arrays(
    "float32", st.tuples(st.integers(1, 4), st.integers(1, 21)), elements=st.floats(-8, 8, width=32)
)


@settings(max_examples=150, deadline=None)
@given(weights, st.sampled_from([0, 8, 64]), st.booleans())
@example(np.array([[-2.0214844, -2.0]], dtype="float32"), 0, False)  # a narrow range far from zero
def test_quantizing_twice_is_quantizing_once(array, group, symmetric):
    w = torch.from_numpy(array)
    for once, twice in (
        (rtn_int8(w), rtn_int8(rtn_int8(w))),
        (rtn_int4(w, group, symmetric), rtn_int4(rtn_int4(w, group, symmetric), group, symmetric)),
    ):
        assert (once - twice).abs().max() <= 1e-6 * max(1.0, float(w.abs().max()))


@pytest.mark.parametrize("half_width", torch.linspace(0.1, 3, 300).tolist()[::7])
def test_range_centred_on_zero_is_a_tie_and_still_idempotent(half_width):
    w = torch.cat([torch.tensor([-half_width, half_width]), torch.linspace(-half_width, half_width, 14)])[
        None
    ]
    once = rtn_int4(w)
    assert set(rtn_asymmetric(w, 4, 64).codes[0].tolist()) >= {0, 15}
    torch.testing.assert_close(rtn_int4(once), once, rtol=1e-6, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(weights)
def test_int8_is_within_half_a_step_of_each_row(array):
    w = torch.from_numpy(array)
    step = w.abs().amax(1, keepdim=True) / 127
    assert ((rtn_int8(w) - w).abs() <= step * 0.5001 + 1e-30).all()


@settings(max_examples=100, deadline=None)
@given(weights)
def test_int4_is_within_half_a_step_inside_the_range(array):
    w = torch.from_numpy(array)
    step = (w.amax(1, keepdim=True) - w.amin(1, keepdim=True)) / 15
    noise = 1e-6 * w.abs().amax() + 1e-30  # of fp32, and subnormal rows become zeros
    inside = step * 0.501 + noise
    ends = step * 1.001 + noise  # the rounded zero point shifts the grid by up to half a step more
    gap = (rtn_int4(w) - w).abs()
    assert (gap <= ends).all()
    middle = (w - w.amin(1, keepdim=True) > step) & (w.amax(1, keepdim=True) - w > step)
    assert (gap[middle] <= inside.expand_as(w)[middle]).all()


def test_levels_per_row_and_group():
    w = gaussian(8, 512)
    assert max(row.unique().numel() for row in rtn_int8(w)) <= 255
    assert max(row.unique().numel() for row in rtn_int8(w)) > 150
    groups = rtn_int4(w, 64).reshape(-1, 64)
    assert max(g.unique().numel() for g in groups) <= 16
    assert max(row.unique().numel() for row in rtn_int4(w, 64)) > 16  # groups have scales of their own
    assert (rtn_symmetric(w, 8).codes.abs().amax(1) == 127).all()
    assert int(rtn_asymmetric(w, 4, 64).codes.min()) == 0 and int(rtn_asymmetric(w, 4, 64).codes.max()) == 15


def test_codes_by_hand():
    w = torch.tensor([[-1.27, 0.0, 0.634, 0.02]])
    assert rtn_symmetric(w, 8).codes.tolist() == [[-127, 0, 63, 2]]
    # s = 0.2, zero point = round(1 / 0.2) = 5
    w = torch.tensor([[-1.0, 2.0, 0.11, -0.31]])
    assert rtn_asymmetric(w, 4, 64).codes.tolist() == [[0, 15, 6, 3]]
    torch.testing.assert_close(rtn_int4(w), torch.tensor([[-1.0, 2.0, 0.2, -0.4]]))
    assert rtn_symmetric(torch.tensor([[-0.7, 0.31, 0.1]]), 4, 64).codes.tolist() == [[-7, 3, 1]]


def test_asymmetric_grid_follows_the_range_and_symmetric_does_not():
    w = gaussian(16, 64).abs()  # one-sided: half of a symmetric grid is wasted
    assert error(rtn_int4(w), w) < 0.6 * error(rtn_int4(w, symmetric=True), w)


@pytest.mark.parametrize("value", [0.0, 0.37, -2.5])
@pytest.mark.parametrize("quantize", [rtn_int8, rtn_int4, lambda w: rtn_int4(w, symmetric=True)])
def test_constant_and_zero_rows_stay(quantize, value):
    w = torch.full((3, 70), value)
    torch.testing.assert_close(quantize(w), w, rtol=1e-6, atol=0)


def test_shorter_last_group_has_its_own_scale():
    w = torch.cat([gaussian(4, 64), 100 * gaussian(4, 6, seed=1)], dim=1)
    assert torch.equal(rtn_int4(w, 64)[:, :64], rtn_int4(w[:, :64], 64))
    assert torch.equal(rtn_int4(w, 64)[:, 64:], rtn_int4(w[:, 64:], 64))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    w = gaussian(4, 8)
    w[2, 3] = bad
    for quantize in (rtn_int8, rtn_int4):
        with pytest.raises(RunError, match="1 of 32 values"):
            quantize(w)


def test_a_vector_is_no_weight():
    with pytest.raises(ValueError, match="rows and columns"):
        rtn_int8(torch.ones(4))


def test_dtype_shape_and_input_are_kept():
    w = gaussian(6, 3, 4, 4).half()
    before = w.clone()
    for quantize in (rtn_int8, rtn_int4):
        assert quantize(w).dtype == torch.float16 and quantize(w).shape == w.shape
    assert torch.equal(w, before)
    assert torch.equal(rtn_int8(w), rtn_int8(w.flatten(1)).reshape(w.shape))


def test_rows_of_in_proj_are_independent():
    w = gaussian(96, 32)
    for quantize in (rtn_int8, rtn_int4):
        assert torch.equal(quantize(w), torch.cat([quantize(part) for part in w.chunk(3)]))


def test_weight_errors_of_the_literature():
    w = gaussian(768, 768)
    assert error(rtn_int8(w), w) == pytest.approx(0.0077, rel=0.05)
    assert error(rtn_int4(w, 64), w) == pytest.approx(0.091, rel=0.05)
    assert error(rtn_int4(w, 128), w) == pytest.approx(0.100, rel=0.05)
    assert error(rtn_int4(w, 64, symmetric=True), w) == pytest.approx(0.108, rel=0.05)
    assert error(rtn_int4(w, 0, symmetric=True), w) == pytest.approx(0.139, rel=0.05)
    assert error(rtn_symmetric(w, 16).values, w) < 1e-4


@pytest.mark.parametrize(("scheme", "expected"), [("bnb_int8", 0.0077), ("nf4", 0.092), ("fp4", 0.122)])
def test_weight_errors_of_bitsandbytes(bnb, scheme, expected):
    w = gaussian(768, 768)
    assert error(round_weight(w, scheme).values, w) == pytest.approx(expected, rel=0.05)


# ---- what survives of an edit


def test_small_updates_change_few_codes_and_large_ones_many():
    w, noise = gaussian(512, 512), gaussian(512, 512, seed=1)
    noise *= w.norm() / noise.norm()
    rows = {r: weight_report({"w": w}, {"w": w + r * noise}, "int4")[0] for r in (1e-3, 0.3)}
    assert rows[1e-3].rel_update == pytest.approx(1e-3, rel=1e-2)
    assert rows[1e-3].codes_changed < 0.01 and rows[1e-3].cos_survive < 0.15
    assert rows[0.3].codes_changed > 0.4 and rows[0.3].cos_survive > 0.8
    # rounding adds noise and does not erase the mean
    assert rows[0.3].cos_survive * rows[0.3].norm_ratio == pytest.approx(1, abs=0.05)
    int8 = weight_report({"w": w}, {"w": w + 1e-2 * noise}, "int8")[0]
    assert int8.codes_changed == pytest.approx(0.31, abs=0.03) and int8.cos_survive == pytest.approx(
        0.68, abs=0.03
    )


def test_report_skips_vectors_and_unchanged_tensors():
    base = {"w": gaussian(8, 64), "same": gaussian(8, 64), "bias": gaussian(8)}
    edited = {"w": base["w"] + 0.1, "same": base["same"].clone(), "bias": base["bias"] + 1}
    assert [row.name for row in weight_report(base, edited, "int8")] == ["w"]
    assert weight_report(base, edited, "none") == []


def test_an_edit_below_the_step_survives_not_at_all():
    base = {"w": torch.tensor([[-1.27, 0.5, 0.1]])}
    row = weight_report(base, {"w": torch.tensor([[-1.27, 0.5, 0.102]])}, "int8")[0]
    assert (row.codes_changed, row.cos_survive, row.norm_ratio) == (0, 0, 0)


def test_report_of_bitsandbytes_codes(bnb):
    w = gaussian(16, 64)
    other = w.clone()
    other[0, 5] = -other[0, 5].sign() * w[0].abs().max() * 0.99
    for scheme in BNB:
        assert weight_report({"w": w}, {"w": other}, scheme)[0].codes_changed == pytest.approx(1 / 1024)


@pytest.mark.parametrize("scheme", BNB)
def test_bitsandbytes_zero_rows_and_odd_sizes(bnb, scheme):
    w = gaussian(3, 7)
    w[1] = 0
    codes, values = round_bnb(w, scheme)
    assert codes.shape == values.shape == w.shape and not values[1].any()
    assert error(values, w) < 0.25
    with pytest.raises(RunError, match="not finite"):
        round_bnb(w / 0, scheme)


def test_old_package_is_refused(bnb, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.43.0")
    with pytest.raises(UserError, match=r"0\.49 or newer"):
        Quantization(schemes=["nf4"]).check_available()


# ---- settings


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_choice_builds_and_comments_each_knob(path):
    node = OmegaConf.load(path)
    choice = instantiate(node)
    assert (
        isinstance(choice, Quantization) and type(choice.schemes) is list and isinstance(choice.scope, Scope)
    )
    assert set(node) == {"_target_"} | {f.name for f in fields(Quantization)}
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("#", "_target_"))]
    assert all("  # " in line for line in lines)
    expected = {"all": ["none", "int8", "int4"], "bitsandbytes": ["none", "bnb_int8", "nf4", "fp4"]}
    assert choice.schemes == expected.get(path.stem, [path.stem])


def test_there_is_a_choice_for_every_scheme():
    assert {p.stem for p in CONF.glob("*.yaml")} == {*BACKENDS, "all", "bitsandbytes"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schemes": ["int9"]}, r"quantization\.schemes[\s\S]*found: int9[\s\S]*did you mean int8"),
        ({"schemes": []}, r"quantization\.schemes"),
        ({"schemes": ["int8", "int8"]}, r"quantization\.schemes"),
        ({"scope": "everything"}, r"quantization\.scope[\s\S]*linear, vision, text, denoiser, edited_tower"),
        ({"group": 4}, r"quantization\.group"),
        ({"group": -64}, r"quantization\.group"),
        ({"bnb_modules": True}, r"quantization\.bnb_modules"),
        ({"scope": "text", "patch_conv": True}, r"quantization\.patch_conv"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Quantization(**options)
