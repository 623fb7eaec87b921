"""Checkpoints: read as stored, hashed by content, and written again in the layout the libraries know."""

from __future__ import annotations

import json
import os
from pathlib import Path

import open_clip
import pytest
import safetensors.torch
import torch
from patch_cases import make_base, raw, same
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from razor_cli.errors import PatchError, WeightsError
from razor_cli.weights.checkpoint import find_layout, read_state, state_hash, tensor_hash
from razor_cli.weights.patch import apply, revert, undo_path_for, verify, write_patch

SIDE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = {
    **SIDE,
    "vocab_size": 60,
    "max_position_embeddings": 8,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
VISION = {**SIDE, "image_size": 16, "patch_size": 8}
OPEN_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 60, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def hf() -> CLIPModel:
    torch.manual_seed(0)
    return CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8))


def edited(model: nn.Module) -> dict[str, Tensor]:
    """New values for one tensor of each tower, under the names the model itself uses."""
    names = [n for n, p in model.named_parameters() if p.ndim == 2 and ("fc1" in n or "in_proj_weight" in n)]
    assert len(names) == 2
    return {n: p.detach() * -2 for n, p in model.named_parameters() if n in names}


def patched(folder: Path, base: Path, values: dict[str, Tensor], out: str) -> Path:
    write_patch(folder / "p", values, read_state(base), method="m", target=None)
    return apply(folder / "p", base, folder / out)


# libraries load what apply wrote


@pytest.mark.parametrize("kind", ["one", "shards", "bin"])
def test_transformers_loads_a_patched_folder(tmp_path, hf, kind):
    base = tmp_path / "base"
    hf.save_pretrained(base, max_shard_size="10KB" if kind == "shards" else "1GB")
    if kind == "bin":
        (base / "model.safetensors").unlink()
        torch.save(hf.state_dict(), base / "pytorch_model.bin")
    assert (len(find_layout(base).files) > 1) == (kind == "shards")
    values = edited(hf)
    out = patched(tmp_path, base, values, "edited")
    loaded = CLIPModel.from_pretrained(out)
    assert same(dict(loaded.state_dict()), {**hf.state_dict(), **values})
    back = revert(out, tmp_path / "back", undo_path=undo_path_for(out))
    assert same(dict(CLIPModel.from_pretrained(back).state_dict()), dict(hf.state_dict()))
    assert same(read_state(revert(out, tmp_path / "again", base_path=base)), read_state(base))


@pytest.mark.parametrize(
    "name", ["base.pt", "base.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
)
def test_open_clip_loads_patched_weights(tmp_path, name):
    (tmp_path / "tiny-for-patches.json").write_text(json.dumps(OPEN_CLIP))
    open_clip.add_model_config(tmp_path / "tiny-for-patches.json")
    model = open_clip.create_model("tiny-for-patches").half()
    base = tmp_path / "base"
    base.mkdir()
    (base / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP, "preprocess_cfg": {}}))
    state = {n: t.contiguous() for n, t in model.state_dict().items()}
    safetensors.torch.save_file(state, base / name) if name.endswith("safetensors") else torch.save(
        state, base / name
    )
    values = edited(model)
    if name.startswith("open_clip"):
        out = patched(tmp_path, base, values, "edited")
        loaded = open_clip.create_model(f"local-dir:{out}", precision="pure_fp16")
    else:
        out = patched(tmp_path, base / name, values, f"edited{Path(name).suffix}")
        loaded = open_clip.create_model("tiny-for-patches", pretrained=str(out), precision="pure_fp16")
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, (state | values)[key]), key


# folders


def test_a_folder_is_copied_without_other_weights_and_histories(tmp_path, hf):
    base = tmp_path / "base"
    hf.save_pretrained(base)
    old = (base / "model.safetensors").read_bytes()
    for name in (
        "tf_model.h5",
        "flax_model.msgpack",
        "pytorch_model.BIN",
        "open_clip_model.safetensors",
        ".git/x",
        "onnx/model.onnx",
    ):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_bytes(old)
    (base / "vocab").mkdir()
    (base / "vocab" / "merges.txt").write_text("a b")
    out = patched(tmp_path, base, edited(hf), "edited")
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == {
        "config.json",
        "model.safetensors",
        "vocab/merges.txt",
    }
    assert find_layout(base).left_out([]) == [
        ".git",
        "flax_model.msgpack",
        "onnx/model.onnx",
        "open_clip_model.safetensors",
        "pytorch_model.BIN",
        "tf_model.h5",
    ]
    kept = [raw(t) for n, t in hf.state_dict().items() if n in edited(hf)]
    assert not any(piece in p.read_bytes() for piece in kept for p in out.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", ["file", "folder", "nowhere", "fifo"])
def test_links_out_of_a_folder_are_not_followed(tmp_path, hf, kind):
    base, secret = tmp_path / "base", tmp_path / "secret"
    hf.save_pretrained(base)
    secret.mkdir()
    (secret / "key").write_text("private")
    if kind == "fifo":
        os.mkfifo(base / "notes.txt")
    else:
        (base / "notes.txt").symlink_to(
            {"file": secret / "key", "folder": secret, "nowhere": secret / "none"}[kind]
        )
    before = sorted(tmp_path.rglob("*"))
    write_patch(tmp_path / "p", edited(hf), read_state(base), method="m", target=None)
    with pytest.raises(WeightsError, match=r"link|plain file"):
        apply(tmp_path / "p", base, tmp_path / "edited")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "p"])


def test_a_snapshot_of_the_hub_cache_is_copied_with_its_files(tmp_path, hf):
    hf.save_pretrained(tmp_path / "repo" / "blobs")
    snapshot = tmp_path / "repo" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for blob in (tmp_path / "repo" / "blobs").iterdir():
        (snapshot / blob.name).symlink_to(Path("../../blobs") / blob.name)
    out = patched(tmp_path, snapshot, edited(hf), "edited")
    assert not any(p.is_symlink() for p in out.iterdir())
    assert same(read_state(out), {**hf.state_dict(), **edited(hf)})


def test_output_over_or_inside_a_folder_is_refused(tmp_path, hf):
    base = tmp_path / "base"
    hf.save_pretrained(base)
    write_patch(tmp_path / "p", edited(hf), read_state(base), method="m", target=None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for out in ("base", "base/edited", "mine", "file", "edited.safetensors", "p"):
        with pytest.raises(PatchError):
            apply(tmp_path / "p", base, tmp_path / out, force=True)
    assert sorted(tmp_path.rglob("*")) == before


# reading


@pytest.mark.parametrize(
    "shard", ["../w.safetensors", "/w.safetensors", "a\\w.safetensors", "w.txt", "gone.safetensors"]
)
def test_shard_index_cannot_point_outside_its_folder(tmp_path, shard):
    folder = tmp_path / "f"
    folder.mkdir()
    safetensors.torch.save_file(make_base(), tmp_path / "w.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"visual.proj": shard}}))
    with pytest.raises(WeightsError, match="shard"):
        read_state(folder)


def test_shards_that_hold_a_tensor_twice_are_refused(tmp_path):
    for name in ("a.safetensors", "b.safetensors"):
        safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / name)
    index = {"weight_map": {"w": "a.safetensors", "v": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="two shards"):
        read_state(tmp_path)


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(
    "content",
    [[torch.ones(2)], {"w": 3}, {1: torch.ones(2)}, {"w": torch.ones(2, 2).to_sparse()}],
    ids=["list", "number", "key", "sparse"],
)
def test_torch_files_that_hold_more_than_named_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError):
        read_state(tmp_path / "w.pt")


def test_missing_empty_and_unknown_weights_say_what_is_allowed(tmp_path):
    (tmp_path / "w.txt").write_text("x")
    for path, part in (
        ("none", "no weights at"),
        ("w.txt", ".safetensors"),
        (".", "model.safetensors.index.json"),
    ):
        with pytest.raises(WeightsError) as caught:
            read_state(tmp_path / path)
        assert part in str(caught.value)


# hashes


def test_hashes_see_names_dtypes_shapes_and_bits_but_not_order_or_strides():
    base = make_base()
    assert state_hash(dict(reversed(base.items()))) == state_hash(base)
    assert tensor_hash(base["visual.proj"].t().contiguous().t()) == tensor_hash(base["visual.proj"])
    others = [
        {**base, "ids": base["ids"].view(torch.float64)},
        {**base, "ids": base["ids"].reshape(7, 1)},
        {("idz" if n == "ids" else n): t for n, t in base.items()},
        {**base, "ids": base["ids"].flip(0)},
        {n: t for n, t in base.items() if n != "ids"},
    ]
    assert len({state_hash(s) for s in [base, *others]}) == 6
    assert tensor_hash(torch.tensor(0.0)) != tensor_hash(torch.tensor(-0.0))


def test_verify_sees_the_same_base_in_another_file_format(tmp_path):
    base = make_base()
    safetensors.torch.save_file(base, tmp_path / "base.safetensors")
    torch.save({f"module.{n}": t for n, t in base.items()}, tmp_path / "base.pt")
    write_patch(tmp_path / "p", {"ids": base["ids"] + 1}, base, method="m", target=None)
    assert (
        verify(tmp_path / "p", tmp_path / "base.safetensors")
        == verify(tmp_path / "p", tmp_path / "base.pt")
        == []
    )
