"""Stable Diffusion 1.x in one file of the LDM layout: recognised by its header, and read as a folder is.

The sizes of its nets are those of its tensors; what no tensor tells (heads, schedule, activation) is what
Stable Diffusion 1.x was published with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.files import INDEX, SERVED, Part, PipelineFiles
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.words import tokenizer_folder, words_file
from razor_cli.weights.header import Entry, read_header
from razor_cli.weights.model_files import refused

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
HOMES = {"unet": UNET, "vae": VAE, "text_encoder": TEXT}
HEADS, GROUPS, HEAD_WIDTH = 8, 32, 64  # of the UNet, of all norms, of the text encoder
SCALING = 0.18215
SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
OTHERS = (  # what stands in the names of a file -> what the file is
    (r"joint_blocks\.", "Stable Diffusion 3 in one file: give its folder of diffusers"),
    (r"double_blocks\.", "FLUX"),
    (r"^conditioner\.embedders\.", "Stable Diffusion XL"),
    (r"^cond_stage_model\.model\.", "Stable Diffusion 2 in one file: give its folder of diffusers"),
    (r"lora_", "a LoRA, which changes a model and is none"),
    (r"^(down_blocks|transformer_blocks|encoder)\.", "one component of a pipeline: give the folder above"),
    (r"^text_model\.", "a text encoder alone"),
)
# What LDM keeps beside the nets: averages of a training, tables of the schedule, numbers of the loss.
IDLE = re.compile(r"model_ema\..*|first_stage_model\.loss\..*|[a-z_]+|.*\.position_ids")
Header = Mapping[str, Entry]


@dataclass(frozen=True)
class _Stand:
    """Stands for a tensor while the library renames: it keeps its name through every reshaping."""

    name: str
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, _: object) -> _Stand:
        return _Stand(self.name, self.shape[:2])


def read_single_file(path: Path) -> PipelineFiles:
    """Return what a file of the LDM layout holds. Raises WeightsError for one that holds something else; of
    its weights nothing is read.
    """
    header = read_header(path)
    _recognise(path, header)
    try:
        configs = {
            "unet": unet_config(header),
            "vae": vae_config(header),
            "text_encoder": text_config(header),
        }
    except (KeyError, IndexError, ValueError) as error:
        raise refused(
            f"'{path}' is not Stable Diffusion 1.x: its nets are built in another way",
            allowed=SERVED,
            found=f"no {error}",
            fix="give the model as a folder of diffusers",
        ) from error
    renamed = {name: renames(name, header, configs[name]) for name in configs}
    left = header.keys() - {n for each in renamed.values() for n in each.values()}
    if unknown := sorted(n for n in left if not IDLE.fullmatch(n)):
        raise refused(
            f"'{path}' holds tensors that belong to no net of Stable Diffusion 1.x",
            allowed=", ".join(HOMES.values()),
            found=f"{len(unknown)}: {', '.join(unknown[:3])}",
            fix="save the model alone, without what was put beside it",
        )
    kinds = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
    parts = {
        n: Part(name=n, kind=kinds[n], config=configs[n], files=(path,), renamed=renamed[n]) for n in kinds
    }
    return PipelineFiles(
        path=path,
        kind=Kind.SD15,
        parts=parts,
        tokenizers={"tokenizer": tokenizer_folder()},
        scheduler="DDIMScheduler",
        schedule=dict(SCHEDULE),
        beside=(words_file(),),
    )


def _recognise(path: Path, header: Header) -> None:
    absent = [name for name, prefix in HOMES.items() if not any(n.startswith(prefix) for n in header)]
    known = next((called for mark, called in OTHERS if any(re.search(mark, n) for n in header)), None)
    own = header.keys() & {f"{UNET}input_blocks.0.0.weight", f"{UNET}out.2.weight"}
    if absent or len(own) < 2:
        raise refused(
            f"'{path}' is not Stable Diffusion 1.x in one file",
            allowed=f"a file with {', '.join(HOMES.values())}; or a folder with {INDEX} of a {SERVED}",
            found=known or (f"no {', no '.join(absent)}" if len(absent) < len(HOMES) else "none of them"),
            fix="model.weights=DIR with the folder of diffusers, or another file",
        )
    channels = header[f"{UNET}input_blocks.0.0.weight"].shape[1]
    if channels != header[f"{UNET}out.2.weight"].shape[0]:
        raise refused(
            f"'{path}' wants more than a prompt",
            allowed=SERVED,
            found=f"a UNet of {channels} channels, as of inpainting",
            fix="give a model that draws from prompts alone",
        )


def unet_config(header: Header) -> dict[str, Any]:
    """Return the settings of the UNet, by the tensors that there are."""
    levels: list[list[bool]] = [[]]  # of each level its blocks: has attention or not
    widths: list[int] = []
    place = 1
    while any(n.startswith(f"{UNET}input_blocks.{place}.") for n in header):
        if f"{UNET}input_blocks.{place}.0.op.weight" in header:
            levels.append([])
        else:
            attends = f"{UNET}input_blocks.{place}.1.proj_in.weight" in header
            levels[-1].append(attends)
            width = header[f"{UNET}input_blocks.{place}.0.in_layers.2.weight"].shape[0]
            widths += [width] if len(levels[-1]) == 1 else []
        place += 1
    crossing = [all(blocks) for blocks in levels]
    keys = next(e for n, e in header.items() if n.startswith(UNET) and n.endswith("attn2.to_k.weight"))
    inward = next(e for n, e in header.items() if n.startswith(UNET) and n.endswith("proj_in.weight"))
    return {
        "in_channels": header[f"{UNET}input_blocks.0.0.weight"].shape[1],
        "out_channels": header[f"{UNET}out.2.weight"].shape[0],
        "sample_size": 64,
        "layers_per_block": len(levels[0]),
        "block_out_channels": widths,
        "down_block_types": ["CrossAttnDownBlock2D" if c else "DownBlock2D" for c in crossing],
        "up_block_types": ["CrossAttnUpBlock2D" if c else "UpBlock2D" for c in reversed(crossing)],
        "cross_attention_dim": keys.shape[1],
        "attention_head_dim": HEADS,
        "norm_num_groups": GROUPS,
        "use_linear_projection": len(inward.shape) == 2,
    }


def vae_config(header: Header) -> dict[str, Any]:
    """Return the settings of the VAE, by the tensors that there are."""

    def width(level: int, block: int) -> int:
        return header[f"{VAE}encoder.down.{level}.block.{block}.conv1.weight"].shape[0]

    levels = _count(lambda i: f"{VAE}encoder.down.{i}.block.0.conv1.weight" in header)
    blocks = _count(lambda i: f"{VAE}encoder.down.0.block.{i}.conv1.weight" in header)
    return {
        "latent_channels": header[f"{VAE}post_quant_conv.weight"].shape[0],
        "block_out_channels": [width(level, 0) for level in range(levels)],
        "layers_per_block": blocks,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "norm_num_groups": GROUPS,
        "sample_size": 64 << (levels - 1),
        "scaling_factor": SCALING,
    }


def text_config(header: Header) -> dict[str, Any]:
    """Return the settings of the text encoder, by the tensors that there are."""
    inside = f"{TEXT}text_model."
    rows, width = header[f"{inside}embeddings.token_embedding.weight"].shape
    return {
        "vocab_size": rows,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": header[f"{inside}encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": _count(lambda i: f"{inside}encoder.layers.{i}.mlp.fc1.weight" in header),
        "num_attention_heads": width // HEAD_WIDTH,
        "max_position_embeddings": header[f"{inside}embeddings.position_embedding.weight"].shape[0],
        "hidden_act": "quick_gelu",
        "bos_token_id": rows - 2,
        "eos_token_id": rows - 1,
        "pad_token_id": rows - 1,
    }


def _count(there: Callable[[int], bool]) -> int:
    count = 0
    while there(count):
        count += 1
    return count


def renames(name: str, header: Header, config: Mapping[str, Any]) -> dict[str, str]:
    """Return what the tensors of one net are called in a folder of diffusers -> in the file: the library's
    own conversion, asked with names alone.
    """
    from diffusers.loaders import single_file_utils as library

    home = HOMES[name]
    mine: dict[str, Any] = {
        n: _Stand(n, e.shape) for n, e in header.items() if n.startswith(home) and not IDLE.fullmatch(n)
    }
    if name == "text_encoder":
        return {n.removeprefix(home): n for n in mine}
    try:
        convert = (
            library.convert_ldm_unet_checkpoint if name == "unet" else library.convert_ldm_vae_checkpoint
        )
        found = convert(mine, config)
    except Exception as error:  # names that lead nowhere raise nearly anything
        raise WeightsError(
            f"model.weights: the {name} in one file cannot be converted",
            found=f"{type(error).__name__}: {error}",
        ) from error
    return {n: stand.name for n, stand in found.items() if stand is not None}
