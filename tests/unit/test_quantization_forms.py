"""One architecture as open_clip and as transformers writes it: the same matrices are quantized, to the same
values, the projections among them; text towers of transformers in open_clip have theirs too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_cases import architectures, hf_folder, small, weights_of, written
from safetensors.torch import load_file
from siglip_folders import siglip_folder
from torch import Tensor

from razor_cli.config.quantization import Quantization
from razor_cli.contract.components import parameters
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.clip.open_clip_models import load_open_clip
from razor_cli.families.clip.siglip import load_siglip
from razor_cli.weights.quantization import quantized
from razor_cli.weights.rounding import rtn_symmetric

__all__ = ["architectures", "small"]  # fixtures
ALL = Quantization(projections=True)
PARTS = {"attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
BLOCKS = {"visual.transformer.resblocks.": "vision_model", "transformer.resblocks.": "text_model"}


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the matrices of open_clip's blocks and both projections as transformers names and lays them."""
    found = {
        "visual_projection.weight": state["visual.proj"].T,
        "text_projection.weight": state["text_projection"].T,
    }
    for prefix, tower in BLOCKS.items():
        for name in (n for n in state if n.startswith(prefix) and state[n].ndim == 2):
            number, _, part = name.removeprefix(prefix).partition(".")
            stem = f"{tower}.encoder.layers.{number}."
            if part == "attn.in_proj_weight":
                rows = dict(zip("qkv", state[name].chunk(3), strict=True))
                found |= {f"{stem}self_attn.{x}_proj.weight": value for x, value in rows.items()}
            else:
                found[f"{stem}{PARTS[part.removesuffix('.weight')]}.weight"] = state[name]
    return {name: value.contiguous() for name, value in found.items()}


@pytest.mark.parametrize("scheme", ["int8", "int4"])
@pytest.mark.usefixtures("architectures")
def test_both_forms_of_a_clip_hold_the_same_matrices_quantized(tmp_path: Path, scheme: str) -> None:
    state = weights_of("tiny")
    first = load_open_clip("first", "tiny", str(written(tmp_path / "w.safetensors", state)))
    folder = hf_folder(tmp_path / "hf", intermediate_size=128)
    own = load_file(folder / "model.safetensors")
    second = load_hugging_face("second", str(folder), {**own, **renamed(state)})
    with torch.no_grad(), quantized(first, scheme, ALL, []) as one, quantized(second, scheme, ALL, []) as two:
        assert (one.n_weights, one.bytes_after) == (two.n_weights, two.bytes_after)
        held = parameters(second)
        rounded = renamed(parameters(first))
        assert len(rounded) == 4 * 6 + 2 == two.n_tensors
        assert all(torch.equal(held[name], value) for name, value in rounded.items())
        assert not any(torch.equal(value, renamed(state)[name]) for name, value in rounded.items())


def test_both_forms_of_a_siglip_cover_as_many_weights(small: Any, tmp_path: Path) -> None:
    config = small.small("ViT-B-16-SigLIP")
    small.write_hub(tmp_path / "hub", config)
    small.register(tmp_path / "configs", "small-siglip", config)
    small.write_weights(config, tmp_path / "w.safetensors")
    first = load_open_clip("first", "small-siglip", str(tmp_path / "w.safetensors"))
    folder = siglip_folder(tmp_path / "hf", width=small.WIDTH, mlp=4 * small.WIDTH)
    second = load_siglip("second", folder)
    counts = [_covered(model) for model in (first, second)]
    assert counts[0] == counts[1]


def _covered(model: Clip) -> tuple[int, int]:
    with torch.no_grad(), quantized(model, "int8", Quantization(), []) as plain:
        inside = plain.n_weights
    with torch.no_grad(), quantized(model, "int8", ALL, []) as every:
        return inside, every.n_weights


@pytest.mark.parametrize(
    ("name", "projections"),
    [
        ("roberta-ViT-B-32", ("text.proj.0.weight", "text.proj.2.weight")),
        ("nllb-clip-base", ("text.proj.weight",)),
    ],
)
def test_text_towers_of_transformers_in_open_clip_have_theirs(
    small: Any, tmp_path: Path, name: str, projections: tuple[str, ...]
) -> None:
    config = small.small(name)
    small.write_hub(tmp_path / "hub", config)
    small.register(tmp_path / "configs", "small-own", config)
    small.write_weights(config, tmp_path / "w.safetensors")
    model = load_open_clip("own", "small-own", str(tmp_path / "w.safetensors"))
    assert tuple(model.quantizable().projections["text"]) == projections
    before = {n: parameters(model)[n].clone() for n in projections}
    with torch.no_grad(), quantized(model, "int8", ALL, []):
        for n, value in before.items():
            assert torch.equal(parameters(model)[n], rtn_symmetric(value, 8).values)
