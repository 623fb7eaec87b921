"""Checkpoints that are refused: named, with an advice that fits what was found, and before they take memory
or time.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from loading_cases import architectures, in_form, weights_of
from torch import Tensor

from razor_cli.errors import PatchError, WeightsError
from razor_cli.families.clip.open_clip_models import load_open_clip
from razor_cli.weights.checkpoint import find_layout, read_state
from razor_cli.weights.files import MAX_HEADER_BYTES, WEIGHT_SUFFIXES
from razor_cli.weights.patch import read_patch

__all__ = ["architectures"]  # a fixture


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("prefix", ["model.", "clip.", "_orig_mod."])
def test_a_prefix_before_all_names_is_named_and_not_the_architecture(
    architectures: None, tmp_path: Path, prefix: str, suffix: str
) -> None:
    path = in_form(tmp_path / f"w{suffix}", {f"{prefix}{n}": v for n, v in weights_of("tiny").items()})
    with pytest.raises(WeightsError) as caught:
        load_open_clip("x", "tiny", str(path))
    assert f"all begin with {prefix!r}" in str(caught.value.fix)
    assert "architecture" not in str(caught.value.fix)


def test_a_prefix_that_names_lack_is_named(architectures: None, tmp_path: Path) -> None:
    state = weights_of("tiny-custom-text")
    bare = {n.removeprefix("text."): v for n, v in state.items()}
    with pytest.raises(WeightsError) as caught:
        load_open_clip("x", "tiny-custom-text", str(in_form(tmp_path / "w.pt", bare)))
    assert "all lack 'text.'" in str(caught.value.fix)


@pytest.mark.parametrize("key", ["model", "ema", "weights"])
def test_tensors_one_level_down_are_found_and_their_key_is_named(tmp_path: Path, key: str) -> None:
    torch.save({"epoch": 3, key: {"w": torch.ones(2)}, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    with pytest.raises(WeightsError) as caught:
        read_state(tmp_path / "w.pt")
    assert f"they lie under {key!r}" in str(caught.value) and f"[{key!r}]" in str(caught.value.fix)


def poisoned(value: float, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {"w": torch.tensor([[1.0, value], [0.0, 2.0]]).to(dtype), "v": torch.ones(3)}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_named(
    tmp_path: Path, value: float, dtype: torch.dtype, suffix: str
) -> None:
    with pytest.raises(WeightsError, match=r"not finite\n  found: w: 1 of 4"):
        read_state(in_form(tmp_path / f"w{suffix}", poisoned(value, dtype)))


def test_a_parameter_of_zeros_and_minus_infinity_is_no_mask(architectures: None, tmp_path: Path) -> None:
    state = weights_of("tiny")
    state["ln_final.bias"] = torch.zeros(32).index_fill(0, torch.tensor([3]), -torch.inf)
    with pytest.raises(WeightsError, match=r"not finite\n  found: ln_final\.bias"):
        load_open_clip("x", "tiny", str(in_form(tmp_path / "w.pt", state)))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_dtypes_without_arithmetic_are_refused_when_read(
    tmp_path: Path, dtype: torch.dtype, suffix: str
) -> None:
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(WeightsError, match=f"stored as {kind}: save as float16"):
        read_state(in_form(tmp_path / f"w{suffix}", {"w": torch.ones(2, 2).to(dtype)}))


def test_whole_numbers_are_no_weights(architectures: None, tmp_path: Path) -> None:
    state = weights_of("tiny")
    state["visual.proj"] = state["visual.proj"].to(torch.int8)
    with pytest.raises(WeightsError, match=r"torch\.int8 for a weight\n  found: visual\.proj"):
        load_open_clip("x", "tiny", str(in_form(tmp_path / "w.pt", state)))


def test_tensors_without_their_values_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2, device="meta")}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="device meta"):
        read_state(tmp_path / "w.pt")
    torch.save({"w": torch.ones(1).expand(10**6, 10**7)}, tmp_path / "w.pt")  # 40 TB from four bytes
    assert (tmp_path / "w.pt").stat().st_size < 5000
    with pytest.raises(WeightsError, match="larger than its own values"):
        read_state(tmp_path / "w.pt")


def test_an_archive_that_unfolds_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(500_000)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "w.pt", "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="unfolds to more"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", WEIGHT_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"PK\x03\x04" + bytes(80), b"{}", b"\x80\x02}q\x00."])
def test_files_that_are_no_weights_are_worded(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / f"w{suffix}").write_bytes(content)
    with pytest.raises(WeightsError, match=r"damaged|plain weights|archive"):
        read_state(tmp_path / f"w{suffix}")


# ------------------------------------------------------------------ headers and indices


def long_header(path: Path, size: int) -> None:
    """Write a safetensors file whose header is valid and `size` bytes long."""
    entry = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    header = entry.encode().ljust(size)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def test_a_long_header_is_refused_by_its_size_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    long_header(path, MAX_HEADER_BYTES)
    assert set(read_state(path)) == {"w"}
    long_header(path, 15 * 10**6)

    def parsed(*_: Any, **__: Any) -> None:
        raise AssertionError("the header was parsed")

    monkeypatch.setattr(safetensors, "safe_open", parsed)
    monkeypatch.setattr(safetensors.torch, "load_file", parsed)
    with pytest.raises(WeightsError, match="header is too large"):
        read_state(path)
    with pytest.raises(PatchError, match=r"header .* too large"):
        read_patch(path)


def sharded(folder: Path, index: str) -> Path:
    folder.mkdir(exist_ok=True)
    in_form(folder / "a.safetensors", {"w": torch.ones(2)})
    (folder / "model.safetensors.index.json").write_text(index)
    return folder


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ("{}", "not a shard index"),
        ('{"weight_map": {"w": 3}}', "not a shard index"),
        ('{"weight_map": ["a.safetensors"]}', "not a shard index"),
        ('{"weight_map": {}}', "names no shards"),
        ('{"weight_map": {"w": "a.safetensors", "w": "b.safetensors"}}', "'w' is named twice"),
        ('{"weight_map": {"w": "b.safetensors"}}', "missing"),
        ('{"weight_map": {"v": "a.safetensors"}}', "its shard does not hold"),
        ('{"weight_map": {"w": "../a.safetensors"}}', "not a weights file of its folder"),
    ],
)
def test_indices_of_shards_that_are_none_are_named(tmp_path: Path, index: str, says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        read_state(sharded(tmp_path / "f", index))


def test_a_shard_that_is_a_link_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "f", '{"weight_map": {"w": "a.safetensors"}}')
    (folder / "a.safetensors").rename(tmp_path / "a.safetensors")
    (folder / "a.safetensors").symlink_to(tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="link leads out"):
        read_state(folder)


def test_a_giant_index_is_refused_by_its_size(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "f", "{}")
    with (folder / "model.safetensors.index.json").open("wb") as file:
        file.truncate(10**10)  # sparse
    with pytest.raises(WeightsError, match="too large"):
        find_layout(folder)
