"""A LLaVA in memory, as a run gets it, and what of it stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llava import opened, tiny_companion, tiny_llava, tiny_llava_next
from tiny_world import make_sets

import razor_cli
from razor_cli.contract.components import parameters
from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.llava import loaded
from razor_cli.families.llava.names import TOWER
from razor_cli.weights.checkpoint import find_layout
from razor_cli.weights.patch import verify, write_patch

NAME = f"{TOWER}encoder.layers.1.mlp.fc1.weight"


def both(folder: Path) -> tuple[Any, Any]:
    """Return model and processor of a folder, as a program loads them."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)
    return model, AutoProcessor.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tiny_llava(tmp_path_factory.mktemp("memory") / "plain", dtype=torch.float16)
    tiny_companion(place, place.with_name("plain_clip"))
    return place


def bits(model: Any) -> dict[str, bytes]:
    return {
        n: v.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for n, v in model.state_dict().items()
    }


def test_a_run_gets_a_copy_with_the_weights_and_answers_of_the_folder(folder: Path) -> None:
    model, processor = both(folder)
    flags = [p.requires_grad for p in model.parameters()]
    before = bits(model)
    ready = loaded.handed(model, {"processor": processor}, {})
    family: Any = ready.family
    theirs = opened(folder)
    assert family.stored.keys() == theirs.stored.keys()
    assert {family.storage_dtype(n) for n in family.stored} == {torch.float16}
    assert ready.settings["companion"] == str(folder.with_name("plain_clip"))
    assert ready.settings["weights"] == family.weights_hash()
    assert {v.dtype for v in parameters(family).values()} == {torch.float32}
    part = make_sets().forget.head(2)
    names = [c.name for c in family.tensors()]
    assert names == [c.name for c in theirs.tensors()]
    for loss in ("answer_nll", "cosine"):
        mine, other = (
            f.loss(loss, make_sets()).gradient(part, 2, names, lambda *_: None) for f in (family, theirs)
        )
        assert all(torch.equal(mine[n], other[n]) for n in names)
    for value in parameters(family).values():
        value.add_(1)
    assert bits(model) == before
    assert [p.requires_grad for p in model.parameters()] == flags


def test_its_patch_is_the_one_of_its_folder(folder: Path, tmp_path: Path) -> None:
    family: Any = loaded.handed(*_given(folder), {"name": "mine"}).family
    values = {NAME: family.stored[NAME] + 1}
    for name, base in (("a", family.stored), ("b", find_layout(folder).read())):
        write_patch(tmp_path / f"{name}.safetensors", values, base, method="razor", target="owl")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert verify(tmp_path / "a.safetensors", folder) == []
    assert family.label == "mine"


def _given(folder: Path) -> tuple[Any, dict[str, Any]]:
    model, processor = both(folder)
    return model, {"processor": processor}


def test_new_values_go_into_a_copy(folder: Path) -> None:
    model, _ = both(folder)
    before = bits(model)
    copy = loaded.copied(model)
    loaded.write(copy, {NAME: dict(model.named_parameters())[NAME] + 1})
    after = bits(copy)
    assert bits(model) == before
    assert {n for n in after if after[n] != before[n]} == {NAME}


def test_a_llava_next_is_served_and_others_are_not(tmp_path: Path) -> None:
    place = tiny_llava_next(tmp_path / "next")
    tiny_companion(place, tmp_path / "next_clip")
    model, beside = _given(place)
    assert loaded.serves(model)
    assert not loaded.serves(model.model.language_model)
    family: Any = loaded.handed(model, beside, {"candidates": "projector"}).family
    assert {c.tower for c in family.tensors()} == {"projector"}


def test_what_cannot_be_served_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, beside = _given(folder)
    with pytest.raises(ConfigError, match="processor is needed with this model"):
        razor_cli.unlearn(model, "Ada")
    with pytest.raises(ConfigError, match=r"model\.batch: there is no such setting"):
        loaded.handed(model, beside, {"batch": 3})
    with pytest.raises(ConfigError, match="companion has the wrong type"):
        loaded.handed(model, beside, {"companion": 3})
    with pytest.raises(WeightsError, match=r"model\.companion"):
        loaded.handed(model, beside, {"companion": tmp_path / "nowhere"})
    with pytest.raises(ConfigError, match=r"model\.dtype=float16 is for GPUs"):
        loaded.handed(model, beside, {"dtype": "float16"})
    with pytest.raises(ConfigError, match=r"model\.min_alignment is out of range"):
        loaded.handed(model, beside, {"min_alignment": 2.0})
    monkeypatch.setattr(loaded, "free_memory", lambda: 1000)
    with pytest.raises(ConfigError, match="bfloat16"):
        loaded.handed(model, beside, {})
    monkeypatch.undo()
    beside["processor"].image_token = "<s>"
    with pytest.raises(WeightsError, match="another picture token"):
        loaded.handed(model, beside, {})
    model.config.vision_feature_layer = -9
    with pytest.raises(WeightsError, match="vision_feature_layer"):
        loaded.handed(model, beside, {})
