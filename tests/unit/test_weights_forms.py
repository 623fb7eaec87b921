"""Checkpoints in the forms that other programs write: what is accepted does not depend on the file's ending,
and a patch keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from loading_cases import architectures, in_form, weights_of, written
from patch_cases import fill, refused, reseal, same
from torch import Tensor

from razor_cli.contract.components import parameters
from razor_cli.errors import PatchError, RunError, WeightsError
from razor_cli.families.clip.companions import load_companions
from razor_cli.families.clip.open_clip_models import load_open_clip
from razor_cli.weights.adapter import write_adapter
from razor_cli.weights.beside import CompanionFiles
from razor_cli.weights.checkpoint import combined_hash, read_state, tensor_hash, tensor_hashes
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
    model = load_open_clip("x", "tiny", str(in_form(tmp_path / f"w{suffix}", FORMS[form](state))))
    assert all(torch.equal(value, state[name]) for name, value in parameters(model).items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("form", FORMS)
def test_a_patch_keeps_the_names_and_shapes_of_its_file(
    architectures: None, tmp_path: Path, form: str, suffix: str
) -> None:
    base = in_form(tmp_path / f"w{suffix}", FORMS[form](weights_of("tiny")))
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
        in_form(folder / name, state)
    homes = {name: shard for shard, state in shards.items() for name in state}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    base = read_state(folder)
    assert set(base) == {"w", "v"}
    write_patch(tmp_path / "p", {"w": torch.zeros(2)}, base, method="m", target=None)
    out = apply(tmp_path / "p", folder, tmp_path / "out")
    assert {n: names_and_shapes(out / n) for n in shards} == {n: names_and_shapes(folder / n) for n in shards}
    in_form(folder / "b.safetensors", {"v": torch.ones(3)})  # not common to all of them
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"module.w": "a.safetensors", "v": "b.safetensors"}})
    )
    assert set(read_state(folder)) == {"module.w", "v"}


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
    in_form(room / "base.safetensors", base)
    refused(room, "visual.proj", "not finite", error=WeightsError)


def test_an_edit_with_values_that_are_not_finite_is_not_written(tmp_path: Path) -> None:
    base = {"w": torch.ones(2)}
    with pytest.raises(RunError, match="not finite"):
        write_patch(tmp_path / "p", {"w": torch.tensor([1.0, torch.nan])}, base, method="m", target=None)
    with pytest.raises(RunError, match="not finite"):
        write_adapter(tmp_path / "p", {"w": torch.tensor([torch.inf])}, kind="lora", weights_hash="0")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("form", FORMS)
def test_models_beside_a_run_are_read_from_the_same_forms(
    architectures: None, tmp_path: Path, form: str
) -> None:
    state = weights_of("tiny")
    model = load_open_clip("x", "tiny", str(written(tmp_path / "w.pt", state)))
    oracle = in_form(tmp_path / "oracle.safetensors", FORMS[form]({n: v + 1 for n, v in state.items()}))
    found = load_companions(model, "x", CompanionFiles(oracle=str(oracle))).states["oracle"].tensors()
    assert all(torch.equal(v, parameters(model)[n] + 1) for n, v in found.items())
    assert {n: v.shape for n, v in found.items()} == {n: v.shape for n, v in parameters(model).items()}


def test_a_model_beside_a_run_that_does_not_fit_says_which(architectures: None, tmp_path: Path) -> None:
    model = load_open_clip("x", "tiny", str(written(tmp_path / "w.pt", weights_of("tiny"))))
    in_form(tmp_path / "o.pt", {"w": torch.ones(2)})
    with pytest.raises(WeightsError, match=r"model\.oracle='o\.pt'.*do not fit") as caught:
        load_companions(model, "x", CompanionFiles(oracle=str(tmp_path / "o.pt")))
    assert "model.weights" in str(caught.value.fix)
