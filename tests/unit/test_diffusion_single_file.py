"""Stable Diffusion 1.x in one file of the LDM layout: recognised by its header, converted, and refused where
it is something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import open_clip
import pytest
import torch
from ldm_file import TEXT, UNET, VAE, WIDTHS, WORDS, State, state
from safetensors.torch import save_file

from razor_cli.contract.choices import Device
from razor_cli.families.diffusion.kinds import Sampler
from razor_cli.families.diffusion.single_file import (
    renames,
    text_config,
    unet_config,
    vae_config,
)
from razor_cli.families.diffusion.spec import DiffusionSpec
from razor_cli.weights.header import Entry

__all__ = ["state"]  # a fixture


@pytest.fixture(scope="module")
def file(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("one") / "model.safetensors"
    save_file(state, path)
    return path


def spec_of(path: Path) -> DiffusionSpec:
    return DiffusionSpec(name="mine", stand_in=False, weights=str(path), device=Device.CPU)


def written(folder: Path, state: State) -> DiffusionSpec:
    save_file(state, folder / "model.safetensors")
    return spec_of(folder / "model.safetensors")


def test_a_file_is_opened_like_a_folder(file: Path, state: State) -> None:
    spec = spec_of(file)
    assert spec.problems() == []
    family = spec.open()
    assert spec.weights_hash() == family.weights_hash()
    assert family.denoiser.draw(["a cat"], [0], Sampler(steps=1, side=32)).shape == (1, 3, 32, 32)
    places = family.stored.places  # type: ignore[attr-defined]
    assert set(dict(family.module.named_parameters())) <= places.keys()
    used = {p.key for p in places.values()}
    assert used == {
        n for n in state if n.startswith((UNET, VAE, TEXT)) and "position_ids" not in n and ".loss." not in n
    }
    name = next(n for n in places if n.endswith("layers.1.mlp.fc1.weight"))
    assert places[name].key == f"{TEXT}text_model.encoder.layers.1.mlp.fc1.weight"
    assert family.storage_dtype(name) is torch.float16
    live = dict(family.module.named_parameters())
    assert all(torch.equal(live[n].reshape(-1), state[places[n].key].float().reshape(-1)) for n in live)


def test_the_librarys_own_conversion_gives_the_same_nets(file: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    ours = spec_of(file).open().denoiser.pipeline
    ours.save_pretrained(tmp_path / "config")  # what the library would fetch from the hub
    theirs = StableDiffusionPipeline.from_single_file(
        str(file), config=str(tmp_path / "config"), local_files_only=True, torch_dtype=torch.float32
    )
    for name in ("unet", "vae", "text_encoder"):
        mine, other = (getattr(p, name).state_dict() for p in (ours, theirs))
        assert mine.keys() == other.keys(), name
        assert all(torch.equal(mine[n], other[n]) for n in mine), name


def test_a_patched_encoder_goes_back_into_the_file(file: Path, state: State, tmp_path: Path) -> None:
    family = spec_of(file).open()
    places = family.stored.places  # type: ignore[attr-defined]
    names = [n for n in places if n.startswith("text_encoder.")]
    changed = {places[n].key: (family.stored[n].float() + 1).half() for n in names}
    assert changed.keys() < state.keys()
    again = written(tmp_path, state | changed).open()
    for name in names:
        assert torch.equal(again.stored[name], changed[places[name].key])
    kept = [n for n in places if n not in names]
    assert kept and all(torch.equal(again.stored[n], family.stored[n]) for n in kept)


def test_the_words_are_clips(file: Path) -> None:
    tokenizer = spec_of(file).open().denoiser.pipeline.tokenizer
    texts = ["a photo of a cat", "A  Watercolor image of Zoë's naïve owl!", "", "東京 in neon, 1999"]
    ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    published = open_clip.get_tokenizer("ViT-L-14")(texts)
    for mine, theirs in zip(ids.tolist(), published.tolist(), strict=True):
        end = theirs.index(WORDS - 1) + 1
        assert mine[:end] == theirs[:end]
        assert set(mine[end:]) <= {WORDS - 1}  # Stable Diffusion pads with the end token


PUBLISHED = (  # tensors of the published file that tell its sizes
    [("input_blocks.0.0.weight", (320, 4, 3, 3)), ("out.2.weight", (4, 320, 3, 3))]
    + [
        (f"input_blocks.{i}.0.in_layers.2.weight", (c, c, 3, 3))
        for i, c in zip((1, 2, 4, 5, 7, 8, 10, 11), (320, 320, 640, 640, 1280, 1280, 1280, 1280), strict=True)
    ]
    + [(f"input_blocks.{i}.0.op.weight", (1, 1, 3, 3)) for i in (3, 6, 9)]
    + [(f"input_blocks.{i}.1.proj_in.weight", (1, 1, 1, 1)) for i in (1, 2, 4, 5, 7, 8)]
    + [("middle_block.1.transformer_blocks.0.attn2.to_k.weight", (1280, 768))]
)


def test_sizes_of_stable_diffusion_1_are_read_from_its_header() -> None:
    header: Mapping[str, Entry] = {f"{UNET}{n}": Entry("F16", shape, 0) for n, shape in PUBLISHED}
    config = unet_config(header)
    assert config["block_out_channels"] == [320, 640, 1280, 1280] and config["layers_per_block"] == 2
    assert config["down_block_types"] == ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    assert config["up_block_types"] == ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
    assert (config["cross_attention_dim"], config["attention_head_dim"]) == (768, 8)


def test_sizes_of_tiny_nets_are_read(state: State) -> None:
    header = {n: Entry("F16", tuple(v.shape), 2 * v.numel()) for n, v in state.items()}
    assert vae_config(header)["block_out_channels"] == list(WIDTHS)
    text = text_config(header)
    assert (text["num_hidden_layers"], text["num_attention_heads"], text["vocab_size"]) == (2, 1, WORDS)
    found = renames("unet", header, unet_config(header))
    assert found["conv_in.weight"] == f"{UNET}input_blocks.0.0.weight"
    attention = "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    assert found[attention] == f"{UNET}output_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((f"{UNET}joint_blocks.0.x",), "Stable Diffusion 3 in one file: give its folder of diffusers"),
        (("double_blocks.0.img_attn.qkv.weight",), "FLUX"),
        (("conditioner.embedders.0.x", f"{UNET}x", f"{VAE}x"), "Stable Diffusion XL"),
        (
            ("cond_stage_model.model.ln_final.weight", f"{UNET}x"),
            "Stable Diffusion 2 in one file: give its folder of diffusers",
        ),
        (("lora_unet_down.lora_down.weight",), "a LoRA, which changes a model and is none"),
        (("down_blocks.0.resnets.0.x",), "one component of a pipeline: give the folder above"),
        (("text_model.final_layer_norm.weight",), "a text encoder alone"),
        ((f"{UNET}x", f"{TEXT}x"), "no vae"),
        (("weight",), "none of them"),
    ],
)
def test_other_files_are_told_by_their_names(tmp_path: Path, names: tuple[str, ...], found: str) -> None:
    spec = written(tmp_path, {n: torch.zeros(1) for n in names})
    (problem,) = spec.problems()
    path = tmp_path / "model.safetensors"
    assert problem.what == f"model.weights: '{path}' is not Stable Diffusion 1.x in one file"
    assert str(problem.allowed).startswith(
        f"a file with {UNET}, {VAE}, {TEXT}; or a folder with model_index.json"
    )
    assert problem.found == found
    assert problem.fix == "model.weights=DIR with the folder of diffusers, or another file"


def test_an_inpainting_file_is_refused(state: State, tmp_path: Path) -> None:
    wide = {f"{UNET}input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3).half()}
    (problem,) = written(tmp_path, state | wide).problems()
    assert problem.found == "a UNet of 9 channels, as of inpainting"


def test_what_was_put_beside_the_nets_is_refused(state: State, tmp_path: Path) -> None:
    more = {f"{UNET}extra.weight": torch.zeros(1), "control_model.x.weight": torch.zeros(1)}
    (problem,) = written(tmp_path, state | more).problems()
    path = tmp_path / "model.safetensors"
    assert (
        problem.what == f"model.weights: '{path}' holds tensors that belong to no net of Stable Diffusion 1.x"
    )
    assert problem.found == f"2: control_model.x.weight, {UNET}extra.weight"


def test_another_vocabulary_than_clips_is_refused(state: State, tmp_path: Path) -> None:
    name = f"{TEXT}text_model.embeddings.token_embedding.weight"
    (problem,) = written(tmp_path, state | {name: state[name][:100].clone()}).problems()
    assert problem.allowed == "100 ids, one for each row of the embedding"
    assert problem.found == "49408 ids"


def test_a_missing_tensor_is_counted(file: Path, state: State, tmp_path: Path) -> None:
    lost = f"{UNET}middle_block.0.in_layers.0.weight"
    spec = written(tmp_path, {n: v for n, v in state.items() if n != lost})
    with pytest.raises(Exception, match=r"1 missing: mid_block\.resnets\.0\.norm1\.weight"):
        spec.open()


@pytest.mark.parametrize("name", ["model.ckpt", "model"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"anything")
    (problem,) = spec_of(path).problems()
    assert (
        problem.what
        == f"model.weights: '{path}' is not read: a pipeline in one file is a .safetensors file here"
    )
    assert problem.allowed == ".safetensors, or a folder with model_index.json"
    assert problem.found == (".ckpt" if name.endswith("ckpt") else "no ending")


def test_a_file_that_is_no_safetensors_is_worded(tmp_path: Path) -> None:
    for content in (
        b"",
        b"not a header at all",
        (2**40).to_bytes(8, "little"),
        (4).to_bytes(8, "little") + b"nope",
    ):
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        (problem,) = spec_of(path).problems()
        assert "is damaged or not a safetensors file" in problem.what and problem.fix
