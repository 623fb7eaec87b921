"""Checkpoints in the forms that other programs write: what is accepted does not depend on the file's ending,
and what is refused is named with an advice that fits it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from loading_cases import architectures, weights_of, written
from patch_cases import fill, refused, reseal, same
from torch import Tensor

from razor_cli.contract.components import parameters
from razor_cli.errors import PatchError, RunError, WeightsError
from razor_cli.families.clip.beside import CompanionFiles
from razor_cli.families.clip.companions import load_companions
from razor_cli.families.clip.open_clip_models import load_open_clip
from razor_cli.weights.checkpoint import combined_hash, find_layout, read_state, tensor_hash, tensor_hashes
from razor_cli.weights.files import MAX_HEADER_BYTES, WEIGHT_SUFFIXES
from razor_cli.weights.patch import apply, read_patch, revert, undo_path_for, verify, write_patch

__all__ = ["architectures"]  # a fixture
State = dict[str, Tensor]
FORMS: dict[str, Callable[[State], State]] = {
    "plain": lambda s: s,
    "parallel": lambda s: {f"module.{n}": v for n, v in s.items()},
    "sharded": lambda s: {**s, "logit_scale": s["logit_scale"].reshape(1)},
    "both": lambda s: {f"module.{n}": v.reshape(1) if v.ndim == 0 else v for n, v in s.items()},
    "masked": lambda s: {**s, "attn_mask": torch.full((4, 4), -torch.inf).triu(1)},
}


def saved(path: Path, state: State, *, wrapped: bool = False) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({n: v.clone() for n, v in state.items()}, path)
    else:
        torch.save({"state_dict": state} if wrapped else state, path)
    return path


def names_and_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    content: Any = (
        safetensors.torch.load_file(path)
        if path.suffix == ".safetensors"
        else torch.load(path, weights_only=True)
    )
    return {n: tuple(v.shape) for n, v in content.get("state_dict", content).items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("form", FORMS)
def test_forms_that_are_read_from_one_kind_of_file_are_read_from_all(
    architectures: None, tmp_path: Path, form: str, suffix: str
) -> None:
    state = weights_of("tiny")
    model = load_open_clip("x", "tiny", str(saved(tmp_path / f"w{suffix}", FORMS[form](state))))
    assert all(torch.equal(value, state[name]) for name, value in parameters(model).items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("form", FORMS)
def test_a_patch_keeps_the_names_and_shapes_of_its_file(
    architectures: None, tmp_path: Path, form: str, suffix: str
) -> None:
    base = saved(tmp_path / f"w{suffix}", FORMS[form](weights_of("tiny")))
    model = load_open_clip("x", "tiny", str(base))
    values = {n: parameters(model)[n] + 1 for n in ("visual.proj", "logit_scale")}
    write_patch(tmp_path / "p", values, model.stored, method="m", target=None)
    assert verify(tmp_path / "p", base) == []
    for ending in {suffix, ".safetensors"}:
        out = apply(tmp_path / "p", base, tmp_path / f"out{ending}")
        assert names_and_shapes(out) == names_and_shapes(base)
        again = load_open_clip("x", "tiny", str(out))
        assert all(torch.equal(parameters(again)[n], value) for n, value in values.items())
        back = revert(out, tmp_path / f"back{ending}", undo_path=undo_path_for(out))
        assert names_and_shapes(back) == names_and_shapes(base)
        assert same(read_state(back), read_state(base))


def test_shards_lose_and_keep_their_common_prefix_together(tmp_path: Path) -> None:
    shards = {"a.safetensors": {"module.w": torch.ones(2)}, "b.safetensors": {"module.v": torch.ones(3)}}
    folder = tmp_path / "f"
    folder.mkdir()
    for name, state in shards.items():
        saved(folder / name, state)
    homes = {name: shard for shard, state in shards.items() for name in state}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    base = read_state(folder)
    assert set(base) == {"w", "v"}
    write_patch(tmp_path / "p", {"w": torch.zeros(2)}, base, method="m", target=None)
    out = apply(tmp_path / "p", folder, tmp_path / "out")
    assert {n: names_and_shapes(out / n) for n in shards} == {n: names_and_shapes(folder / n) for n in shards}
    saved(folder / "b.safetensors", {"v": torch.ones(3)})  # not common to all of them
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"module.w": "a.safetensors", "v": "b.safetensors"}})
    )
    assert set(read_state(folder)) == {"module.w", "v"}


# ------------------------------------------------------------------ refused, with an advice that fits


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("prefix", ["model.", "clip.", "_orig_mod."])
def test_a_prefix_before_all_names_is_named_and_not_the_architecture(
    architectures: None, tmp_path: Path, prefix: str, suffix: str
) -> None:
    path = saved(tmp_path / f"w{suffix}", {f"{prefix}{n}": v for n, v in weights_of("tiny").items()})
    with pytest.raises(WeightsError) as caught:
        load_open_clip("x", "tiny", str(path))
    assert f"all begin with {prefix!r}" in str(caught.value.fix)
    assert "architecture" not in str(caught.value.fix)


def test_a_prefix_that_names_lack_is_named(architectures: None, tmp_path: Path) -> None:
    state = weights_of("tiny-custom-text")
    bare = {n.removeprefix("text."): v for n, v in state.items()}
    with pytest.raises(WeightsError) as caught:
        load_open_clip("x", "tiny-custom-text", str(saved(tmp_path / "w.pt", bare)))
    assert "all lack 'text.'" in str(caught.value.fix)


@pytest.mark.parametrize("key", ["model", "ema", "weights"])
def test_tensors_one_level_down_are_found_and_their_key_is_named(tmp_path: Path, key: str) -> None:
    torch.save({"epoch": 3, key: {"w": torch.ones(2)}, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    with pytest.raises(WeightsError) as caught:
        read_state(tmp_path / "w.pt")
    assert f"they lie under {key!r}" in str(caught.value) and f"[{key!r}]" in str(caught.value.fix)


def poisoned(value: float, dtype: torch.dtype = torch.float32) -> State:
    return {"w": torch.tensor([[1.0, value], [0.0, 2.0]]).to(dtype), "v": torch.ones(3)}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_named(
    tmp_path: Path, value: float, dtype: torch.dtype, suffix: str
) -> None:
    with pytest.raises(WeightsError, match=r"not finite\n  found: w: 1 of 4"):
        read_state(saved(tmp_path / f"w{suffix}", poisoned(value, dtype)))


def test_a_parameter_of_zeros_and_minus_infinity_is_no_mask(architectures: None, tmp_path: Path) -> None:
    state = weights_of("tiny")
    state["ln_final.bias"] = torch.zeros(32).index_fill(0, torch.tensor([3]), -torch.inf)
    with pytest.raises(WeightsError, match=r"not finite\n  found: ln_final\.bias"):
        load_open_clip("x", "tiny", str(saved(tmp_path / "w.pt", state)))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_dtypes_without_arithmetic_are_refused_when_read(
    tmp_path: Path, dtype: torch.dtype, suffix: str
) -> None:
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(WeightsError, match=f"stored as {kind}: save as float16"):
        read_state(saved(tmp_path / f"w{suffix}", {"w": torch.ones(2, 2).to(dtype)}))


def test_whole_numbers_are_no_weights(architectures: None, tmp_path: Path) -> None:
    state = weights_of("tiny")
    state["visual.proj"] = state["visual.proj"].to(torch.int8)
    with pytest.raises(WeightsError, match=r"torch\.int8 for a weight\n  found: visual\.proj"):
        load_open_clip("x", "tiny", str(saved(tmp_path / "w.pt", state)))


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
    saved(folder / "a.safetensors", {"w": torch.ones(2)})
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


# ------------------------------------------------------------------ patches, and models beside


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_patch_with_values_that_are_not_finite_neither_verifies_nor_applies(
    tmp_path: Path, value: float
) -> None:
    room = fill(tmp_path)
    header, values = read_patch(room / "p.safetensors")
    values["visual.proj"][0, 0] = value
    tensors = header.model_dump(mode="json")["tensors"]
    tensors["visual.proj"]["new_sha256"] = tensor_hash(values["visual.proj"])
    new = combined_hash(tensor_hashes(read_state(room / "base.safetensors") | values))
    reseal(room / "p.safetensors", {"tensors": tensors, "new_hash": new}, values)
    with pytest.raises(PatchError, match="not finite"):
        verify(room / "p.safetensors", room / "base.safetensors")
    refused(room, "visual.proj", "not finite")


def test_a_base_with_values_that_are_not_finite_is_not_patched(tmp_path: Path) -> None:
    room = fill(tmp_path)
    base = safetensors.torch.load_file(room / "base.safetensors")
    base["visual.proj"][0, 0] = torch.nan
    saved(room / "base.safetensors", base)
    refused(room, "visual.proj", "not finite", error=WeightsError)


def test_an_edit_with_values_that_are_not_finite_is_not_written(tmp_path: Path) -> None:
    base = {"w": torch.ones(2)}
    with pytest.raises(RunError, match="not finite"):
        write_patch(tmp_path / "p", {"w": torch.tensor([1.0, torch.nan])}, base, method="m", target=None)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("form", FORMS)
def test_models_beside_a_run_are_read_from_the_same_forms(
    architectures: None, tmp_path: Path, form: str
) -> None:
    state = weights_of("tiny")
    model = load_open_clip("x", "tiny", str(written(tmp_path / "w.pt", state)))
    oracle = saved(tmp_path / "oracle.safetensors", FORMS[form]({n: v + 1 for n, v in state.items()}))
    found = load_companions(model, "x", CompanionFiles(oracle=str(oracle))).states["oracle"].tensors()
    assert all(torch.equal(v, parameters(model)[n] + 1) for n, v in found.items())
    assert {n: v.shape for n, v in found.items()} == {n: v.shape for n, v in parameters(model).items()}


def test_a_model_beside_a_run_that_does_not_fit_says_which(architectures: None, tmp_path: Path) -> None:
    model = load_open_clip("x", "tiny", str(written(tmp_path / "w.pt", weights_of("tiny"))))
    saved(tmp_path / "o.pt", {"w": torch.ones(2)})
    with pytest.raises(WeightsError, match=r"model\.oracle='o\.pt'.*do not fit") as caught:
        load_companions(model, "x", CompanionFiles(oracle=str(tmp_path / "o.pt")))
    assert "model.weights" in str(caught.value.fix)
