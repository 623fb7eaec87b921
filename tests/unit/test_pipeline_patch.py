"""Patches of pipelines: folders of diffusers in either spelling, in shards, with other files; one file."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from ldm_names import one_file
from tiny_sd import tiny_sd3, tiny_sd15

from razor_cli.errors import PatchError, RunError, WeightsError
from razor_cli.families.diffusion import layouts
from razor_cli.families.diffusion.standins import STAND_INS, stand_in_folder
from razor_cli.weights import files
from razor_cli.weights.checkpoint import find_layout, read_state
from razor_cli.weights.parted import BESIDE
from razor_cli.weights.patch import apply, read_patch, revert, undo_path_for, verify, write_patch

TEXT = "text_encoder.encoder.layers.0.mlp.fc1.weight"
KEYS = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
OLD = "text_model."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tiny SD1.5 once, and what people have lying in such folders."""
    folder = tiny_sd15(tmp_path_factory.mktemp("sd") / "base")
    (folder / "safety_checker").mkdir()
    safetensors.torch.save_file({"x": torch.ones(3)}, folder / "safety_checker/model.safetensors")
    (folder / "text_encoder/model.fp16.safetensors").write_bytes(b"the old weights in half precision")
    (folder / "unet/diffusion_pytorch_model.non_ema.bin").write_bytes(b"a net that does not change")
    (folder / "v1-5-pruned.ckpt").write_bytes(b"all of it once more")
    (folder / ".git").mkdir()
    return folder


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "base"))


def patched(base: Path, *names: str, file: str = "p.safetensors") -> Path:
    """Write a patch that adds one to some tensors of a pipeline."""
    state = read_state(base)
    path = base.parent / file
    write_patch(path, {n: state[n] + 1 for n in names}, state, method="razor", target="Van Gogh")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def spelled_anew(folder: Path, part: str = "text_encoder") -> None:
    """Write an encoder as today's transformers does, without the prefix."""
    file = folder / part / "model.safetensors"
    state = safetensors.torch.load_file(file)
    plain = {n.removeprefix(OLD): v for n, v in state.items()}
    safetensors.torch.save_file(plain, file, metadata={"format": "pt"})


def test_apply_writes_a_pipeline_and_revert_gives_back_every_byte(base: Path, tmp_path: Path) -> None:
    patch, out, back = patched(base, TEXT), tmp_path / "out", tmp_path / "back"
    before = contents(base)
    apply(patch, base, out)
    after = contents(out)
    left = {"text_encoder/model.fp16.safetensors", "v1-5-pruned.ckpt"}
    assert before.keys() - after.keys() == left and after.keys() <= before.keys()
    assert {n for n in after if after[n] != before[n]} == {"text_encoder/model.safetensors"}
    assert torch.equal(read_state(out)[TEXT], read_state(base)[TEXT] + 1)
    assert set(find_layout(base).left_out([TEXT])) == {*left, ".git"}
    revert(out, back, undo_path=undo_path_for(out))
    assert contents(back) == {n: v for n, v in before.items() if n not in left}
    assert contents(base) == before
    revert(out, tmp_path / "again", base_path=base)
    assert contents(tmp_path / "again") == contents(back)


@pytest.mark.parametrize("anew", [False, True])
def test_one_patch_fits_both_spellings_and_diffusers_loads_them(
    base: Path, tmp_path: Path, anew: bool
) -> None:
    from diffusers import StableDiffusionPipeline

    patch = patched(base, TEXT)
    if anew:
        spelled_anew(base)
    assert verify(patch, base) == []
    out = apply(patch, base, tmp_path / "out")
    stored = safetensors.torch.load_file(out / "text_encoder/model.safetensors")
    assert all(n.startswith(OLD) != anew for n in stored)
    pipe = StableDiffusionPipeline.from_pretrained(out, safety_checker=None, local_files_only=True)
    live = pipe.text_encoder.get_parameter(TEXT.removeprefix("text_encoder."))
    assert torch.equal(live, read_state(base)[TEXT] + 1)


def test_both_encoders_and_the_transformer_of_sd3(tmp_path: Path) -> None:
    from diffusers import StableDiffusion3Pipeline

    base = tiny_sd3(tmp_path / "base")
    names = [
        "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.weight",
        "text_encoder_2.text_projection.weight",
        "transformer.transformer_blocks.0.attn.add_k_proj.weight",
    ]
    patch = patched(base, *names)
    assert set(read_patch(patch)[0].settings[BESIDE]) == {"vae"}  # type: ignore[arg-type]
    out = apply(patch, base, tmp_path / "out")
    pipe = StableDiffusion3Pipeline.from_pretrained(
        out, text_encoder_3=None, tokenizer_3=None, local_files_only=True
    )
    for name in names:
        part, _, rest = name.partition(".")
        assert torch.equal(getattr(pipe, part).get_parameter(rest), read_state(base)[name] + 1)


def test_shards_keep_their_places(base: Path, tmp_path: Path) -> None:
    folder = base / "unet"
    whole = folder / "diffusion_pytorch_model.safetensors"
    state = safetensors.torch.load_file(whole)
    whole.unlink()
    homes: dict[str, str] = {}
    for i in range(2):
        shard = f"diffusion_pytorch_model-0000{i + 1}-of-00002.safetensors"
        part = {n: v for k, (n, v) in enumerate(sorted(state.items())) if k % 2 == i}
        safetensors.torch.save_file(part, folder / shard)
        homes |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": homes}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    out = apply(patched(base, KEYS), base, tmp_path / "out")
    before, after = contents(base), contents(out)
    assert {n for n in after if after[n] != before[n]} == {f"unet/{homes[KEYS.removeprefix('unet.')]}"}
    assert {n for n in after if n.startswith("unet/") and "index" in n}
    assert torch.equal(read_state(out)[KEYS], read_state(base)[KEYS] + 1)


def test_half_precision_stays(base: Path, tmp_path: Path) -> None:
    file = base / "text_encoder/model.safetensors"
    safetensors.torch.save_file({n: v.half() for n, v in safetensors.torch.load_file(file).items()}, file)
    out = apply(patched(base, TEXT), base, tmp_path / "out")
    assert read_state(out)[TEXT].dtype == torch.float16
    assert read_patch(base.parent / "p.safetensors")[1][TEXT].dtype == torch.float16


@pytest.mark.parametrize(
    ("file", "name", "said"),
    [
        ("text_encoder/model.safetensors", f"{OLD}final_layer_norm.bias", "differ from those of the weights"),
        ("text_encoder/model.safetensors", f"{OLD}encoder.layers.0.mlp.fc1.weight", "other values than"),
        ("unet/diffusion_pytorch_model.safetensors", "conv_in.bias", "unet: another one than in the run"),
        ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.bias", "vae: another one than in the"),
    ],
)
def test_another_base_is_refused(base: Path, tmp_path: Path, file: str, name: str, said: str) -> None:
    patch = patched(base, TEXT)
    state = safetensors.torch.load_file(base / file)
    safetensors.torch.save_file(state | {name: state[name] - 1}, base / file)
    assert any(said in problem for problem in verify(patch, base))
    before = contents(tmp_path)
    with pytest.raises(PatchError, match="does not belong"):
        apply(patch, base, tmp_path / "out")
    assert contents(tmp_path) == before


def test_linked_files_are_the_same_and_changed_ones_are_not(base: Path, tmp_path: Path) -> None:
    out = apply(patched(base, TEXT), base, tmp_path / "out", link=True)
    same = {n for n in contents(out) if (out / n).samefile(base / n)}
    assert contents(out).keys() - same == {"text_encoder/model.safetensors"}


def test_a_link_over_file_systems_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    patch, before = patched(base, TEXT), sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(WeightsError, match="--link"):
        apply(patch, base, tmp_path / "out", link=True)
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_nothing(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, before = patched(base, TEXT), sorted(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(layouts, "overwrite", full)
    with pytest.raises(RunError, match="No space left"):
        apply(patch, base, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_a_part_that_lies_beside_the_folder_comes_along(base: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.move(base / "vae", tmp_path / "other/vae")
    (base / "shared.json").write_text(json.dumps({"vae": "other"}))
    out = apply(patched(base, TEXT), base, tmp_path / "out")
    assert (out / "vae/config.json").is_file() and not (out / "shared.json").exists()


@pytest.mark.parametrize("name", STAND_INS)
def test_an_embedded_stand_in_takes_patches_whatever_it_shares(name: str, tmp_path: Path) -> None:
    base = stand_in_folder(name)
    changed = next(n for n in read_state(base) if n.endswith("layers.0.mlp.fc1.weight"))
    path, state = tmp_path / "p.safetensors", read_state(base)
    write_patch(path, {changed: state[changed] + 1}, state, method="razor", target="Noto")
    out = apply(path, base, tmp_path / "out")
    assert not [p for p in out.rglob("*") if p.is_symlink()]
    revert(out, tmp_path / "back", undo_path=undo_path_for(out))
    assert contents(tmp_path / "back") == contents(base)


def test_an_edit_of_nothing_is_a_patch_too(base: Path) -> None:
    patch = patched(base)
    assert verify(patch, base) == []


def test_one_file_takes_the_patch_of_the_folder(base: Path, tmp_path: Path) -> None:
    file = one_file(base, tmp_path / "model.safetensors")
    patch = patched(base, TEXT)
    assert verify(patch, file) == []
    out = apply(patch, file, tmp_path / "edited.safetensors")
    before, after = safetensors.torch.load_file(file), safetensors.torch.load_file(out)
    different = [n for n in before if not torch.equal(before[n], after[n])]
    assert before.keys() == after.keys()
    assert different == [f"cond_stage_model.transformer.text_model.{TEXT.removeprefix('text_encoder.')}"]
    back = revert(out, tmp_path / "back.safetensors", undo_path=undo_path_for(out))
    assert back.read_bytes() == file.read_bytes()


def test_one_file_takes_an_edit_of_the_unet_too_but_for_averages(base: Path, tmp_path: Path) -> None:
    file = one_file(base, tmp_path / "model.safetensors")
    patch = patched(base, KEYS)
    out = apply(patch, file, tmp_path / "edited.safetensors")
    assert torch.equal(read_state(out)[KEYS], read_state(base)[KEYS] + 1)
    state = safetensors.torch.load_file(file) | {"model_ema.decay": torch.ones(1)}
    safetensors.torch.save_file(state, file)
    with pytest.raises(WeightsError, match="averages"):
        apply(patch, file, tmp_path / "again.safetensors")


def test_only_the_changed_bytes_of_a_file_are_written(tmp_path: Path) -> None:
    file, state = tmp_path / "a.safetensors", {"b": torch.ones(3, 2), "a": torch.zeros(5).half()}
    safetensors.torch.save_file(state, file, metadata={"made": "elsewhere"})
    files.overwrite(file, tmp_path / "b.safetensors", {"b": torch.full((3, 2), 2.0)})
    assert torch.equal(safetensors.torch.load_file(tmp_path / "b.safetensors")["b"], torch.full((3, 2), 2.0))
    files.overwrite(tmp_path / "b.safetensors", tmp_path / "c.safetensors", {"b": state["b"]})
    assert (tmp_path / "c.safetensors").read_bytes() == file.read_bytes()
