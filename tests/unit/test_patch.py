"""Patches are exact to the bit, one way, deterministic, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_cases import fill, make_base, make_values, raw, refused, same
from torch import Tensor

from razor_cli.errors import PatchError, RazorError, RunError
from razor_cli.weights import patch_format
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import apply, read_patch, revert, undo_path_for, verify, write_patch


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return fill(tmp_path)


# round trips

DTYPES = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.bool,
)


@st.composite
def bits(draw: st.DrawFn, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Any bit pattern of finite values: negative zeros, subnormals, the largest there are."""
    numel = torch.Size(shape).numel()
    if dtype is torch.bool:
        return torch.tensor(
            draw(st.lists(st.booleans(), min_size=numel, max_size=numel)), dtype=dtype
        ).reshape(shape)
    size = numel * torch.empty(0, dtype=dtype).element_size()
    drawn = torch.tensor(list(draw(st.binary(min_size=size, max_size=size))), dtype=torch.uint8).view(dtype)
    if dtype.is_floating_point:
        drawn = torch.where(drawn.isfinite(), drawn, torch.zeros((), dtype=dtype))
    return drawn.reshape(shape)


@st.composite
def edits(draw: st.DrawFn) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    name = st.text("abcXYZ_09é", min_size=1, max_size=8)
    base, values = {}, {}
    for n in draw(st.lists(st.builds("{}.{}".format, name, name), unique=True, max_size=5)):
        dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
        base[n] = draw(bits(dtype, shape))
        if draw(st.booleans()):
            values[n] = draw(bits(dtype, shape))
    return base, values


@given(
    edit=edits(),
    suffix=st.sampled_from([".safetensors", ".pt"]),
    out_suffix=st.sampled_from([".safetensors", ".pt"]),
)
@settings(max_examples=60, deadline=None)
def test_apply_then_revert_gives_the_base_bit_for_bit(tmp_path_factory, edit, suffix, out_suffix):
    base, values = edit
    out_suffix = ".safetensors" if suffix == ".safetensors" else out_suffix
    folder = tmp_path_factory.mktemp("round")
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(base, folder / f"base{suffix}")
    header = write_patch(folder / "p", values, base, method="m", target=None)
    assert set(header.tensors) == {n for n in values if raw(values[n]) != raw(base[n])}
    assert verify(folder / "p", folder / f"base{suffix}") == []
    out = apply(folder / "p", folder / f"base{suffix}", folder / f"out{out_suffix}")
    assert same(read_state(out), base | values)
    back = revert(out, folder / f"back{out_suffix}", undo_path=undo_path_for(out))
    assert same(read_state(back), base)
    again = revert(out, folder / f"again{out_suffix}", base_path=folder / f"base{suffix}")
    assert same(read_state(again), base)


def test_safetensors_metadata_survives(room):
    out = apply(room / "p.safetensors", room / "base.safetensors", room / "out.safetensors")
    with safetensors.safe_open(out, framework="pt") as opened:
        assert opened.metadata() == {"format": "pt", "origin": "test"}


def test_torch_file_keeps_its_wrapping_and_loses_its_optimizer(tmp_path):
    base = make_base()
    named = {f"module.{n}": t for n, t in base.items()}
    torch.save(
        {"epoch": 3, "state_dict": named, "optimizer": {"ema": base["visual.proj"]}}, tmp_path / "base.pt"
    )
    write_patch(tmp_path / "p", make_values(base), read_state(tmp_path / "base.pt"), method="m", target=None)
    out = apply(tmp_path / "p", tmp_path / "base.pt", tmp_path / "out.pt")
    content = torch.load(out, weights_only=True)
    assert content.keys() == {"state_dict"} and content["state_dict"].keys() == named.keys()
    assert same(read_state(out), base | make_values(base))
    assert raw(base["visual.proj"]) not in out.read_bytes()


def test_views_of_one_buffer_do_not_carry_old_values_into_a_torch_file(tmp_path):
    flat = torch.randn(40, generator=torch.Generator().manual_seed(1))
    torch.save({"a": flat[:20], "b": flat[20:]}, tmp_path / "base.pt")
    base = read_state(tmp_path / "base.pt")
    write_patch(tmp_path / "p", {"a": torch.zeros(20)}, base, method="m", target=None)
    out = apply(tmp_path / "p", tmp_path / "base.pt", tmp_path / "out.pt")
    assert raw(flat[:20]) not in out.read_bytes()
    assert raw(flat[20:]) in out.read_bytes()


def test_tied_names_are_edited_together_so_that_loading_does_not_bring_the_old_values_back(tmp_path):
    tied = torch.ones(3, 3)
    torch.save({"emb.weight": tied, "head.weight": tied, "other": torch.ones(3, 3)}, tmp_path / "base.pt")
    base = read_state(tmp_path / "base.pt")
    header = write_patch(tmp_path / "p", {"emb.weight": tied * 2}, base, method="m", target=None)
    assert set(header.tensors) == {"emb.weight", "head.weight"}
    out = apply(tmp_path / "p", tmp_path / "base.pt", tmp_path / "out.safetensors")
    assert torch.equal(read_state(out)["head.weight"], tied * 2)
    with pytest.raises(PatchError, match="tied"):
        write_patch(
            tmp_path / "q", {"emb.weight": tied * 2, "head.weight": tied * 3}, base, method="m", target=None
        )


# what a patch holds


def test_patch_bytes_are_deterministic_and_free_of_the_name(room):
    base = make_base()
    values = dict(reversed(make_values(base).items()))
    base = dict(reversed(base.items()))
    write_patch(room / "q", values, base, method="razor", target="Conan O'Brien", settings={"rho": 0.1})
    assert (room / "q").read_bytes() == (room / "p.safetensors").read_bytes()
    assert b"Conan" not in (room / "q").read_bytes()
    header, _ = read_patch(room / "q")
    assert header.target is None and header.target_sha256 == patch_format.target_hash("Conan O'Brien")


def test_target_is_named_by_choice(room):
    base = make_base()
    write_patch(room / "q", make_values(base), base, method="razor", target="Beyoncé", name_target=True)
    assert read_patch(room / "q")[0].target == "Beyoncé"
    assert patch_format.target_hash("Beyonce\u0301") == patch_format.target_hash("Beyoncé")


def test_patch_is_one_way(room):
    content = (room / "p.safetensors").read_bytes()
    base = make_base()
    for name in ("visual.proj", "text.h.0.attn.in_proj_weight"):
        assert raw(base[name]) not in content
        assert raw(make_values(base)[name]) in content
        assert raw(make_values(base)[name] - base[name]) not in content
    out = apply(room / "p.safetensors", room / "base.safetensors", room / "out.safetensors")
    assert raw(base["visual.proj"]) not in out.read_bytes()
    assert raw(base["visual.proj"]) in undo_path_for(out).read_bytes()


def test_unchanged_tensors_are_left_out(tmp_path):
    base = make_base()
    header = write_patch(
        tmp_path / "p", {**make_values(base), "ids": base["ids"].clone()}, base, method="m", target=None
    )
    assert "ids" not in header.tensors


@pytest.mark.parametrize("undo", [True, False])
def test_undo_file_is_written_unless_told_not_to(room, undo):
    out = apply(
        room / "p.safetensors", room / "base.safetensors", room / "new" / "out.safetensors", undo=undo
    )
    expected = {"out.safetensors", "out.safetensors.undo.safetensors"} if undo else {"out.safetensors"}
    assert {p.name for p in out.parent.iterdir()} == expected


def test_force_without_undo_leaves_no_way_back(room):
    for undo in (True, False):
        out = apply(
            room / "p.safetensors",
            room / "base.safetensors",
            room / "out.safetensors",
            undo=undo,
            force=not undo,
        )
    assert not undo_path_for(out).exists()


# values and dtypes


def test_values_computed_in_float32_are_stored_in_the_dtype_of_the_base(tmp_path):
    base = {"w": torch.randn(4, 4).half()}
    value = (base["w"] * 2).float()
    write_patch(tmp_path / "p", {"w": value}, base, method="m", target=None)
    assert read_patch(tmp_path / "p")[1]["w"].dtype is torch.float16
    with pytest.raises(PatchError, match="exactly"):
        write_patch(tmp_path / "q", {"w": value + 1e-6}, base, method="m", target=None)
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"stray": torch.ones(2)}, "do not hold"),
        ({"visual.proj": torch.ones(5, 6)}, "another shape"),
        ({"ids": torch.ones(7)}, "exactly"),
        ({"../visual": torch.ones(7)}, "path"),
    ],
)
def test_write_refuses_values_that_do_not_fit_the_base(tmp_path, values, part):
    with pytest.raises(PatchError, match=part):
        write_patch(tmp_path / "p", values, make_base(), method="m", target=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [{"x": float("nan")}, {"x": object()}, {"x": "y" * 70_000}])
def test_write_refuses_settings_that_cannot_be_recorded(tmp_path, bad):
    with pytest.raises(PatchError, match="header"):
        write_patch(tmp_path / "p", {}, make_base(), method="m", target=None, settings=bad)
    assert list(tmp_path.iterdir()) == []


# atomicity


@pytest.mark.parametrize("unlucky", ["out.safetensors", "out.safetensors.undo.safetensors"])
def test_failing_move_leaves_neither_weights_nor_undo_file(room, monkeypatch, unlucky):
    real = Path.replace

    def fail(self, target):
        if Path(target).name == unlucky:
            raise OSError("no space left")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    refused(room, "no space left", error=OSError)


def test_failing_write_leaves_nothing(room, monkeypatch):
    def half_written(tensors, filename, metadata=None):
        Path(filename).write_bytes(b"half")
        raise OSError("disk gone")

    monkeypatch.setattr(safetensors.torch, "save_file", half_written)
    refused(room, "disk gone", "nothing was kept", error=RunError)


def test_weights_that_come_out_wrong_are_not_kept(room, monkeypatch):
    real = safetensors.torch.save_file
    monkeypatch.setattr(
        safetensors.torch,
        "save_file",
        lambda t, f, metadata=None: real({n: v * 0 for n, v in t.items()}, f, metadata=metadata),
    )
    refused(room, "not what the header promises", error=RazorError)
