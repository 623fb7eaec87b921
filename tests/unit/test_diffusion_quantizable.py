"""What quantization covers of a pipeline: counts at full size on no device, and values on tiny ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sd import tiny_sd3, tiny_sd15
from torch import nn

from razor_cli.config.pairings import schemes_serve_model
from razor_cli.config.quantization import BACKENDS, Quantization, Scope
from razor_cli.contract.components import parameters
from razor_cli.contract.quantizable import Quantizable
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.quantizable import NET, TEXT, quantizable_of
from razor_cli.families.diffusion.schemes import REFUSED_SCHEMES
from razor_cli.weights.quantization import quantized
from razor_cli.weights.scope import quantized_names

KEYS = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
VAE = "vae.decoder.conv_in.weight"


@dataclass
class Held:
    """As much of a family as quantization asks for."""

    module: nn.Module
    label: str = "tiny"

    def quantizable(self) -> Quantizable:
        return quantizable_of(self.module)


def held(**parts: Any) -> Held:
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return Held(module)


def tiny(folder: Path) -> Held:
    from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline

    if (folder / "unet").is_dir():
        pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
        return held(text_encoder=pipe.text_encoder, unet=pipe.unet, vae=pipe.vae)
    pipe = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    encoders = {n: getattr(pipe, n) for n in ("text_encoder", "text_encoder_2")}
    return held(**encoders, transformer=pipe.transformer, vae=pipe.vae)


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Held:
    return tiny(tiny_sd15(tmp_path_factory.mktemp("sd15")))


def encoder(kind: str, width: int, layers: int, heads: int) -> nn.Module:
    import transformers

    config = transformers.CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
    )
    made: nn.Module = getattr(transformers, kind)(config)
    return made


def test_counts_of_stable_diffusion_15_at_full_size() -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64)
        found = held(text_encoder=encoder("CLIPTextModel", 768, 12, 12), unet=unet).quantizable()
    assert sum(p.numel() for p in unet.parameters()) == pytest.approx(859.5e6, rel=1e-3)
    assert {t: len(n) for t, n in found.linear.items()} == {TEXT: 12 * 6, NET: 16 * 10} == found.counted
    assert set(found.linear[NET]) <= found.blocks.keys()
    assert not any("time_emb" in n or "proj_in" in n for n in found.linear[NET])


def test_counts_of_stable_diffusion_3_at_full_size() -> None:
    from diffusers import SD3Transformer2DModel
    from transformers import T5Config, T5EncoderModel

    with torch.device("meta"):
        net = SD3Transformer2DModel(
            sample_size=128,
            num_layers=24,
            num_attention_heads=24,
            pos_embed_max_size=192,
            caption_projection_dim=1536,
        )
        t5 = T5EncoderModel(
            T5Config(d_model=4096, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu")
        )
        found = held(
            text_encoder=encoder("CLIPTextModelWithProjection", 768, 12, 12),
            text_encoder_2=encoder("CLIPTextModelWithProjection", 1280, 32, 20),
            text_encoder_3=t5,
            transformer=net,
        ).quantizable()
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(2.028e9, rel=1e-3)
    text, drawn = 6 * (12 + 32) + 24 * 7, 24 * (8 + 4) - 1 - 2
    assert {t: len(n) for t, n in found.linear.items()} == {TEXT: text, NET: drawn} == found.counted
    assert len(found.projections[TEXT]) == 2 and len(found.convolutions[NET]) == 1


def test_the_vae_and_convolutions_only_where_asked(sd15: Held) -> None:
    names = quantized_names(sd15, [], Scope.LINEAR)  # type: ignore[arg-type]
    assert not [n for n in names if n.startswith("vae.") or "conv" in n]
    more = quantized_names(sd15, [], Scope.LINEAR, patch_conv=True, vae=True)  # type: ignore[arg-type]
    added = set(more) - set(names)
    assert VAE in added and "unet.conv_in.weight" in added and all(n.endswith(".weight") for n in added)
    of_text = quantized_names(sd15, [], Scope.TEXT)  # type: ignore[arg-type]
    assert {n.partition(".")[0] for n in of_text} == {"text_encoder"}
    of_net = quantized_names(sd15, [], Scope.DENOISER)  # type: ignore[arg-type]
    assert set(of_net) | set(of_text) == set(names) and not set(of_net) & set(of_text)
    edited = quantized_names(sd15, [KEYS], Scope.EDITED_TOWER)  # type: ignore[arg-type]
    assert edited == of_net
    with pytest.raises(ConfigError, match=r"linear, edited_tower, text, denoiser"):
        quantized_names(sd15, [], Scope.VISION)  # type: ignore[arg-type]


def test_an_edited_tensor_is_inside_whatever_the_scope(sd15: Held) -> None:
    for name in (KEYS, VAE):
        assert name in quantized_names(sd15, [name], Scope.TEXT)  # type: ignore[arg-type]


@pytest.mark.parametrize(("scheme", "values"), [("int8", 255), ("int4", 16)])
def test_rounded_weights_are_held_and_given_back_to_the_bit(sd15: Held, scheme: str, values: int) -> None:
    before = {n: p.clone() for n, p in parameters(sd15).items()}
    with quantized(sd15, scheme, Quantization(group=0), []) as record:  # type: ignore[arg-type]
        live = parameters(sd15)
        row = live[KEYS][0]
        assert len(row.unique()) <= values and not torch.equal(row, before[KEYS][0])
        assert torch.equal(live[VAE], before[VAE])
        assert record.n_tensors == sum(sd15.quantizable().counted.values())
        assert record.backend == "rtn"
    assert all(torch.equal(p, before[n]) for n, p in parameters(sd15).items())


def test_sd3_is_covered_with_both_encoders(tmp_path: Path) -> None:
    sd3 = tiny(tiny_sd3(tmp_path))
    names = quantized_names(sd3, [], Scope.LINEAR)  # type: ignore[arg-type]
    assert {n.partition(".")[0] for n in names} == {"text_encoder", "text_encoder_2", "transformer"}


def test_schemes_of_bitsandbytes_are_refused_with_the_reason() -> None:
    @dataclass
    class Model:
        name: str = "sd_tiny"
        refused_schemes = REFUSED_SCHEMES

    found = schemes_serve_model(Quantization(schemes=["none", "nf4"]), Model())
    assert len(found) == 1 and "refuses bitsandbytes on a CPU" in found[0].what
    assert found[0].allowed == "none, int8, int4"
    assert set(REFUSED_SCHEMES) == {"bnb_int8", "nf4", "fp4"} < set(BACKENDS)
