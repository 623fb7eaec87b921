"""Weights that do not fit the net that a pipeline's settings describe, and nets built without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sd_folders import NO_WEIGHTS, SD3, SD15, TRANSFORMER
from sd_models import NET, models, rewritten, sd15, spec_of
from torch import Tensor

from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.diffusion.choices import Precision
from razor_cli.families.diffusion.files import Part
from razor_cli.families.diffusion.nets import build_empty, load_part

__all__ = ["models", "sd15"]  # fixtures


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_missing_and_unknown_tensors_are_counted_in_every_component(sd15: Path, part: str) -> None:
    file = sd15 / part / ("model.safetensors" if part == "text_encoder" else NET)
    lost = sorted(load_file(file))[0]
    rewritten(file, lambda s: {n: v for n, v in s.items() if n != lost} | {"somebody.elses": torch.zeros(2)})
    with pytest.raises(WeightsError) as caught:
        spec_of(sd15).open()
    error = caught.value
    assert error.what == f"model.weights: sd15: {part}: the tensors do not fit"
    assert "1 missing: " in str(error.found) and "1 unknown: somebody.elses" in str(error.found)
    assert lost.removeprefix("text_model.") in str(error.found)
    assert error.fix == "config.json and weights must be of one model: fetch or save the component again"


@pytest.mark.parametrize(
    ("value", "what", "found"),
    [
        (torch.zeros(7), "has another shape", (7,)),
        (torch.full((32,), torch.nan), "cannot be computed with", "values that are not finite"),
        (torch.zeros(32, dtype=torch.int64), "is no weight", "torch.int64"),
    ],
)
def test_values_that_are_no_weights_are_refused(sd15: Path, value: Tensor, what: str, found: object) -> None:
    name = "text_model.final_layer_norm.weight"
    rewritten(sd15 / "text_encoder/model.safetensors", lambda s: s | {name: value})
    with pytest.raises(WeightsError) as caught:
        spec_of(sd15).open()
    assert caught.value.what == f"model.weights: sd15: text_encoder: {name} {what}"
    assert caught.value.found == found and caught.value.fix


def test_values_that_leave_the_dtype_are_refused(sd15: Path) -> None:
    name = "text_model.final_layer_norm.weight"
    big = torch.full((32,), 3.4028e38)  # the next number of bfloat16 is infinity
    rewritten(sd15 / "text_encoder/model.safetensors", lambda s: s | {name: big})
    spec_of(sd15).open()
    with pytest.raises(ConfigError, match=r"too large for bfloat16"):
        spec_of(sd15, dtype=Precision.BFLOAT16).open()


def test_a_pickle_that_runs_code_is_refused(sd15: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (print, ("ran",))

    (sd15 / "vae" / NET).unlink()
    torch.save({"decoder.conv_in.weight": Hostile()}, sd15 / "vae/diffusion_pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot be read as plain weights"):
        spec_of(sd15).open()


def test_a_file_that_is_cut_off_is_refused_before_it_is_loaded(sd15: Path) -> None:
    file = sd15 / "unet" / NET
    file.write_bytes(file.read_bytes()[:-100])
    (problem,) = spec_of(sd15).problems()
    assert problem.what == f"{file} is cut off" and problem.fix == "save or fetch the file again"


@pytest.mark.parametrize(
    ("kind", "config", "tensors", "millions"),
    [
        ("UNet2DConditionModel", SD15["unet"], 686, 859.5),
        ("SD3Transformer2DModel", TRANSFORMER | {"pos_embed_max_size": 8}, 682, 2028),
        ("AutoencoderKL", SD15["vae"], 248, 83.7),
        ("CLIPTextModel", SD15["text_encoder"] | {"vocab_size": 49408}, 196, 123.1),
        ("CLIPTextModelWithProjection", SD3["text_encoder_2"] | {"vocab_size": 49408}, 517, 694.7),
    ],
)  # fmt: skip
def test_full_size_nets_are_built_without_values(
    kind: str, config: dict[str, Any], tensors: int, millions: float
) -> None:
    name = "text_encoder" if "Text" in kind else "net"
    module = build_empty(Part(name=name, kind=kind, config=config, files=()))
    parameters = dict(module.named_parameters())
    assert {p.device.type for p in parameters.values()} == {"meta"}
    assert len(parameters) == tensors
    assert sum(p.numel() for p in parameters.values()) / 1e6 == pytest.approx(millions, rel=2e-3)


def test_settings_that_describe_no_net_are_worded(tmp_path: Path) -> None:
    part = Part(name="text_encoder", kind="CLIPTextModel", config={"num_attention_heads": 7}, files=())
    with pytest.raises(WeightsError) as caught:
        build_empty(part)
    what = "model.weights: the settings of text_encoder describe a net that cannot be built"
    assert caught.value.what == what and caught.value.found
    file = tmp_path / "model.safetensors"
    file.write_bytes(NO_WEIGHTS)
    part = Part(name="text_encoder", kind="CLIPTextModel", config=SD15["text_encoder"], files=(file,))
    with pytest.raises(WeightsError) as caught:
        load_part(part, torch.float32, "m")
    assert (
        caught.value.what == "model.weights: m: config.json describes another net than the weights beside it"
    )
    assert caught.value.found == "num_hidden_layers: 12, and 0 tensors"
