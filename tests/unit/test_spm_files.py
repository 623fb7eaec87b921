"""SPM's adapter as a file: plain diffusers loads it, our wrapper adds its transport, patches refuse it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from membranes import PROMPTS, chance, drawn, said
from safetensors import safe_open
from tiny_drawn import family as opened
from tiny_drawn import folders, loaded
from torch import nn

from razor_cli.contract.family import ADAPTER
from razor_cli.errors import PatchError, WeightsError
from razor_cli.families.diffusion.choices import Matching
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.low_rank import LowRank, read_membrane
from razor_cli.families.diffusion.membrane import Membrane
from razor_cli.families.diffusion.wrapped import Wrapped
from razor_cli.weights.adapter import write_adapter
from razor_cli.weights.patch_format import read_patch


def written(change: LowRank, path: Path) -> Path:
    write_adapter(path, change.tensors(), change.header, kind=ADAPTER, weights_hash="0", method="spm")
    return path


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_plain_diffusers_loads_the_file_with_its_alpha_and_all_of_it_takes_part(
    kind: Kind, tmp_path: Path
) -> None:
    family, pipe = opened(kind), loaded(folders(kind)[0], kind)
    change = chance(family, alpha=0.5, matching=Matching.TOKENS)
    path = written(change, tmp_path / "adapter.safetensors")
    with safe_open(path, framework="pt") as opened_file:
        header = opened_file.metadata()
    assert json.loads(header["lora_adapter_metadata"])[f"{change.core}.lora_alpha"] == 0.5
    pipe.load_lora_weights(tmp_path, weight_name=path.name)
    core = getattr(pipe, change.core)
    latents = torch.randn(2, *family.denoiser.shape, generator=torch.Generator().manual_seed(9))
    context = family.denoiser.encode(PROMPTS)
    at = torch.full((2,), 0.6 if kind is Kind.SD3 else 600)
    with torch.no_grad():
        if kind is Kind.SD15:
            plain = core(latents, at, encoder_hidden_states=context.tokens).sample
        else:
            plain = core(
                hidden_states=latents,
                timestep=at * 1000,
                encoder_hidden_states=context.tokens,
                pooled_projections=context.pooled,
            ).sample
    with change.fixed().held(family):
        assert torch.allclose(plain, said(family), atol=1e-4)
    with change.held(family):
        assert not torch.allclose(plain, said(family), atol=1e-3)


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_every_picture_of_a_prompt_has_that_prompts_part(kind: Kind) -> None:
    pipe = loaded(folders(kind)[0], kind)
    draw = Wrapped(pipe, chance(opened(kind), matching=Matching.TOKENS).membrane)
    more: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 3.0, "output_type": "pt"}

    def seeds(count: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(5) for _ in range(count)]

    each = [draw(p, generator=seeds(1), **more).images[0] for p in PROMPTS]
    found = draw(PROMPTS, generator=seeds(4), num_images_per_prompt=2, **more).images
    for picture, wanted in zip(found, (each[0], each[0], each[1], each[1]), strict=True):
        assert torch.allclose(picture, wanted, atol=1e-4)


def test_factors_lie_where_the_net_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(4, 3, device="meta")  # where nothing of the CPU may take part
    monkeypatch.setattr("razor_cli.families.diffusion.membrane.layers_of", lambda _: {"one": layer})
    factors = {"one": (torch.ones(1, 4), torch.ones(3, 1))}
    membrane, denoiser = Membrane(factors=factors, matching=Matching.FIXED), opened(Kind.SD15).denoiser
    with membrane.present(denoiser), membrane.at(1.0):
        found = layer(torch.zeros(2, 4, device="meta"))
    assert found.shape == (2, 3) and found.device.type == "meta"


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_a_wrapper_draws_with_the_file_and_its_transport(kind: Kind, tmp_path: Path) -> None:
    family = opened(kind)
    change = chance(family, matching=Matching.TOKENS)
    membrane = read_membrane(written(change, tmp_path / "adapter.safetensors"))
    assert (membrane.concepts, membrane.alpha, membrane.matching) == (("Noto",), 1.0, Matching.TOKENS)
    assert membrane.label == change.membrane.label
    pipe = loaded(folders(kind)[0], kind)
    pipe.set_progress_bar_config(disable=True)
    found = Wrapped(pipe, membrane)(
        PROMPTS,
        num_inference_steps=4,
        guidance_scale=3.0,
        output_type="pt",
        generator=[torch.Generator().manual_seed(s) for s in (1, 2)],
    ).images
    with change.held(family):
        assert torch.allclose(255 * found, drawn(family), atol=1.0)


def test_patches_and_other_nets_refuse_an_adapter(tmp_path: Path) -> None:
    one, other = opened(Kind.SD15), opened(Kind.SD3)
    path = written(chance(one), tmp_path / "adapter.safetensors")
    with pytest.raises(PatchError, match="is an adapter, which lies beside the weights"):
        read_patch(path)
    membrane = read_membrane(path)
    with pytest.raises(WeightsError, match="belongs to another net"), membrane.present(other.denoiser):
        pass
    plain = tmp_path / "plain.safetensors"
    write_adapter(plain, {"w": torch.zeros(2)}, kind=ADAPTER, weights_hash="0")
    with pytest.raises(WeightsError, match="is not a membrane"):
        read_membrane(plain)
