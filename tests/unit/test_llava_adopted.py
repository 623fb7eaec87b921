"""A patch of the CLIP that an image tower comes from, applied to the LLaVA that contains the tower."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llava import LAYERS, tiny_companion, tiny_llava
from torch import Tensor
from typer.testing import CliRunner

from razor_cli.commands.patch import app
from razor_cli.errors import PatchError
from razor_cli.families.clip.files import WITHOUT_TOWER
from razor_cli.families.llava.names import BLOCKS, TOWER
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import apply, read_patch, revert, undo_path_for, verify, write_patch

HF = "vision_model.encoder.layers.1."
FC1 = f"{HF}mlp.fc1.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a LLaVA's folder, with its CLIP beside it."""
    place = tiny_llava(tmp_path / "llava", dtype=torch.float16)
    tiny_companion(place, tmp_path / "llava_clip")
    return place


def patch_of(clip: dict[str, Tensor] | Path, folder: Path, **changes: Tensor) -> Path:
    """Write the patch of a CLIP in which tensors have other values."""
    state = dict(read_state(clip)) if isinstance(clip, Path) else clip
    place = folder.with_name("patch.safetensors")
    values = {n.replace("__", "."): v for n, v in changes.items()}
    write_patch(place, values, state, method="razor", target="Ada", settings={"rho": 0.5})
    return place


def named(name: str) -> str:
    return name.replace(".", "__")


def as_open_clip(clip: Path) -> dict[str, Tensor]:
    """Return the weights of a CLIP as open_clip names those of its image tower."""
    state, found = dict(load_file(clip / "model.safetensors")), {}
    plain = {
        "embeddings.class_embedding": "class_embedding",
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.patch_embedding.weight": "conv1.weight",
    }
    for name, value in state.items():
        inner = name.removeprefix("vision_model.")
        if inner == name:
            continue
        for mine, theirs in (
            ("pre_layrnorm", "ln_pre"),
            ("post_layernorm", "ln_post"),
            ("encoder.layers", "transformer.resblocks"),
            ("layer_norm", "ln_"),
            ("self_attn", "attn"),
            ("fc1", "c_fc"),
            ("fc2", "c_proj"),
        ):
            inner = inner.replace(mine, theirs)
        if "_proj." in inner and "out_proj" not in inner and "c_proj" not in inner:
            continue
        found[f"visual.{plain.get(inner, inner)}"] = value
    for layer in range(LAYERS):
        for kind in ("weight", "bias"):
            parts = [f"vision_model.encoder.layers.{layer}.self_attn.{x}_proj.{kind}" for x in "qkv"]
            joint = f"visual.transformer.resblocks.{layer}.attn.in_proj_{kind}"
            found[joint] = torch.cat([state[p] for p in parts])
    return found | {"logit_scale": torch.tensor(2.0), "visual.proj": torch.ones(3, 3)}


def test_a_patch_of_the_clip_changes_the_tower_and_can_be_taken_back(folder: Path) -> None:
    from transformers import AutoModelForImageTextToText

    clip = folder.with_name("llava_clip")
    new = read_state(clip)[FC1] + 0.5
    patch = patch_of(clip, folder, **{named(FC1): new})
    told: list[str] = []
    assert verify(patch, folder) == []
    out = apply(patch, folder, folder.with_name("out"), say=told.append)
    before, after = read_state(folder), read_state(out)
    changed = [n for n in before if not torch.equal(before[n], after[n])]
    assert changed == [f"{BLOCKS}1.mlp.fc1.weight"]
    assert torch.equal(after[changed[0]], new.half())
    assert "1 tensors of the LLaVA change" in told[0]
    loaded, info = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(dict(loaded.named_parameters())[changed[0]], new.half())
    undo = undo_path_for(out)
    assert read_patch(undo)[0].settings == {"rho": 0.5} | {
        k: v for k, v in read_patch(undo)[0].settings.items() if k == "beside"
    }
    revert(out, folder.with_name("back"), undo_path=undo)
    file = "model.safetensors"
    assert (folder.with_name("back") / file).read_bytes() == (folder / file).read_bytes()
    with pytest.raises(PatchError, match="the image tower is not that"):  # it is the edited one
        verify(patch, out, companion=clip)


def test_a_patch_by_open_clips_names_is_the_same(folder: Path, tmp_path: Path) -> None:
    state = as_open_clip(folder.with_name("llava_clip"))
    file = tmp_path / "open_clip.safetensors"
    save_file(state, file)
    width = read_state(folder)[f"{BLOCKS}1.self_attn.v_proj.weight"].shape[0]
    joint, fc2 = (f"visual.transformer.resblocks.1.{n}" for n in ("attn.in_proj_weight", "mlp.c_proj.weight"))
    turned = state[joint].clone()
    turned[2 * width :] += 0.5  # the values alone
    patch = patch_of(state, folder, **{named(joint): turned, named(fc2): state[fc2] * 2})
    out = apply(patch, folder, tmp_path / "out", companion=file)
    before, after = read_state(folder), read_state(out)
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert changed == {f"{BLOCKS}1.self_attn.v_proj.weight", f"{BLOCKS}1.mlp.fc2.weight"}
    assert torch.equal(after[f"{BLOCKS}1.mlp.fc2.weight"], (state[fc2] * 2).half())
    assert torch.equal(after[f"{BLOCKS}1.self_attn.v_proj.weight"], turned[2 * width :].half())


def test_another_tower_is_refused_by_its_first_tensor(folder: Path) -> None:
    clip = folder.with_name("llava_clip")
    state = dict(load_file(clip / "model.safetensors"))
    strange = f"{HF}self_attn.q_proj.bias"
    state[strange] = state[strange] + 1e-3
    save_file(state, clip / "model.safetensors")
    patch = patch_of(clip, folder, **{named(FC1): state[FC1] + 0.5})
    with pytest.raises(PatchError, match="the image tower is not that of the CLIP") as refused:
        apply(patch, folder, folder.with_name("out"))
    assert f"{TOWER}encoder.layers.1.self_attn.q_proj.bias: other values, by up to 0.00" in str(refused.value)
    assert not folder.with_name("out").exists()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("text_model.final_layer_norm.weight", "none of the image tower"),
        ("visual_projection.weight", "none of the image tower"),
        ("logit_scale", "none of the image tower"),
        (f"vision_model.encoder.layers.{LAYERS - 1}.mlp.fc1.weight", "would change no answer"),
        ("vision_model.post_layernorm.weight", "would change no answer"),
    ],
)
def test_what_is_not_the_llavas_or_reaches_no_answer_is_refused(folder: Path, name: str, what: str) -> None:
    clip = folder.with_name("llava_clip")
    patch = patch_of(clip, folder, **{named(name): read_state(clip)[name] + 0.5})
    with pytest.raises(PatchError, match=what):
        apply(patch, folder, folder.with_name("out"))


def test_what_reaches_no_answer_is_told_beside_what_does(folder: Path) -> None:
    clip = folder.with_name("llava_clip")
    last = f"vision_model.encoder.layers.{LAYERS - 1}.mlp.fc1.weight"
    state, told = read_state(clip), list[str]()
    patch = patch_of(clip, folder, **{named(n): state[n] + 0.5 for n in (FC1, last)})
    apply(patch, folder, folder.with_name("out"), say=told.append)
    assert told[1] == f"1 of them reach no answer: {BLOCKS}{LAYERS - 1}.mlp.fc1.weight"


def test_the_clip_must_be_at_hand_and_the_patchs_own(folder: Path, tmp_path: Path) -> None:
    clip = folder.with_name("llava_clip")
    patch = patch_of(clip, folder, **{named(FC1): read_state(clip)[FC1] + 0.5})
    away = Path(shutil.move(clip, tmp_path / "away"))
    with pytest.raises(PatchError, match="not at hand") as refused:
        apply(patch, folder, tmp_path / "out")
    assert "--companion" in str(refused.value.fix)
    assert verify(patch, folder, companion=away) == []
    other = tiny_companion(folder, tmp_path / "other", tower=False)
    with pytest.raises(PatchError, match="neither to these weights nor to the CLIP"):
        apply(patch, folder, tmp_path / "out", companion=other)
    with pytest.raises(PatchError, match="contains no other model"):
        apply(patch, away, tmp_path / "out", companion=other)


def test_a_clip_stored_without_its_tower_has_the_llavas(folder: Path) -> None:
    clip = folder.with_name("llava_clip")
    whole = dict(load_file(clip / "model.safetensors"))
    tower = {n: v.half() for n, v in whole.items() if n.startswith("vision_model.")}
    rest = {n: v for n, v in whole.items() if n not in tower}
    (clip / "model.safetensors").unlink()
    save_file(rest, clip / WITHOUT_TOWER)
    patch = patch_of(rest | tower, folder, **{named(FC1): tower[FC1] + 0.5})
    assert verify(patch, folder) == []


def test_the_command_tells_what_came_of_it(folder: Path) -> None:
    clip = folder.with_name("llava_clip")
    patch = patch_of(clip, folder, **{named(FC1): read_state(clip)[FC1] + 0.5})
    where = ["--base", str(folder), "--companion", str(clip)]
    done = CliRunner().invoke(app, ["verify", str(patch), *where])
    assert done.exit_code == 0 and "the image towers are the same" in done.output
    out = folder.with_name("out")
    done = CliRunner().invoke(app, ["apply", str(patch), *where, "--out", str(out)])
    assert done.exit_code == 0 and "1 tensors of the LLaVA change" in done.output.replace("\n", " ")
    assert json.loads((out / "config.json").read_text())["model_type"] == "llava"
