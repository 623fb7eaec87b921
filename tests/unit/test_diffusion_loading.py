"""Pipelines of Stable Diffusion 1.5 and 3 opened from their files: every name counted, both spellings, the
hash of the files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sd_models import NET, State, models, rewritten, sd15, spec_of
from tiny_sd import paired_clip, tiny_sd15
from torch import Tensor

from razor_cli.contract.spec import Work
from razor_cli.families.diffusion.choices import Precision
from razor_cli.families.diffusion.kinds import Prediction, Sampler
from razor_cli.families.diffusion.settings import DrawnMetrics
from razor_cli.families.diffusion.spelling import trunk

__all__ = ["models", "sd15"]  # fixtures


@pytest.mark.parametrize("name", ["sd15", "sd3"])
def test_all_values_are_those_of_the_files(
    models: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(models / name)
    assert spec.problems() == [] and spec.missing() == ""
    family = spec.open()
    live = dict(family.module.named_parameters())
    assert live.keys() <= set(family.stored) and len(live) > 300
    for key, value in live.items():
        assert torch.equal(family.stored[key].reshape(value.shape), value), key
        assert value.device.type == "cpu" and family.storage_dtype(key) is torch.float32
    assert family.denoiser.draw(["a cats"], [0], Sampler(steps=1)).shape == (1, 3, 64, 64)
    assert capfd.readouterr().err == ""  # no bar, no warning


def test_the_same_pipeline_as_the_library_loads(models: Path) -> None:
    from diffusers import StableDiffusionPipeline

    theirs = StableDiffusionPipeline.from_pretrained(
        models / "sd15", local_files_only=True, safety_checker=None
    )
    theirs.set_progress_bar_config(disable=True)
    ours = spec_of(models / "sd15").open().denoiser.pipeline
    for name in ("text_encoder", "unet", "vae"):
        mine, other = (getattr(p, name).state_dict() for p in (ours, theirs))
        assert mine.keys() == other.keys() and all(torch.equal(mine[k], other[k]) for k in mine)
    given: dict[str, Any] = {"num_inference_steps": 2, "output_type": "pt"}
    drawn = [p("a cats", generator=torch.Generator().manual_seed(1), **given).images for p in (ours, theirs)]
    assert torch.equal(*drawn)


def test_both_spellings_of_an_encoder_load_alike(sd15: Path) -> None:
    file = sd15 / "text_encoder/model.safetensors"
    old = load_file(file)
    assert all(n.startswith("text_model.") for n in old)
    before = spec_of(sd15).open()
    rewritten(file, lambda s: {n.removeprefix("text_model."): v for n, v in s.items()})
    after = spec_of(sd15).open()
    encoders = [dict(f.denoiser.encoders["text_encoder"].named_parameters()) for f in (before, after)]
    assert all(torch.equal(encoders[0][n], encoders[1][n]) for n in encoders[0])
    name = next(n for n in before.stored if n.endswith("final_layer_norm.weight"))
    keys = [f.stored.places[name].key for f in (before, after)]  # type: ignore[attr-defined]
    assert keys == ["text_model.final_layer_norm.weight", "final_layer_norm.weight"]


def test_names_are_the_same_where_the_library_nests_an_encoder(sd15: Path) -> None:
    """As in transformers before 5.6: one child of CLIPTextModel, whose name stands before all others."""
    family = spec_of(sd15).open()
    flat = family.denoiser.encoders["text_encoder"]

    class CLIPTextModel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text_model = flat

    assert trunk(CLIPTextModel()) is flat and trunk(flat) is flat

    class CLIPTextModelWithProjection(CLIPTextModel):
        pass

    whole = CLIPTextModelWithProjection()
    assert trunk(whole) is whole  # whose names are the same in every version
    names = [n for n, _ in family.module.named_parameters()]
    assert set(names) <= set(family.stored) and any(n.startswith("text_encoder.encoder.") for n in names)


def test_attention_of_an_old_vae_loads(sd15: Path) -> None:
    names = (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn"))

    def old(state: State) -> State:
        for new, name in names:
            state = {n.replace(f".{new}.", f".{name}."): v for n, v in state.items()}
        return {n: v[:, :, None, None] if ".query.weight" in n else v for n, v in state.items()}

    before = spec_of(sd15).open().denoiser.vae.state_dict()
    rewritten(sd15 / "vae" / NET, old)
    assert any(".proj_attn." in n for n in load_file(sd15 / "vae" / NET))
    after = spec_of(sd15).open().denoiser.vae.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before)


def test_buffers_that_nobody_needs_may_lie_in_old_files(sd15: Path) -> None:
    ids = torch.arange(16)[None]
    rewritten(
        sd15 / "text_encoder/model.safetensors", lambda s: s | {"text_model.embeddings.position_ids": ids}
    )
    assert "text_encoder.embeddings.position_ids" not in spec_of(sd15).open().stored


def test_shards_and_torch_files_are_read(sd15: Path) -> None:
    before = dict(spec_of(sd15).open().stored)
    state = load_file(sd15 / "unet" / NET)
    (sd15 / "unet" / NET).unlink()
    names, shards = sorted(state), [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    homes = {n: shards[i % 2] for i, n in enumerate(names)}
    for shard in shards:
        save_file({n: state[n] for n in names if homes[n] == shard}, sd15 / "unet" / shard)
    (sd15 / "unet" / f"{NET}.index.json").write_text(json.dumps({"weight_map": homes}))
    vae = load_file(sd15 / "vae" / NET)
    (sd15 / "vae" / NET).unlink()
    torch.save(vae, sd15 / "vae/diffusion_pytorch_model.bin")
    spec = spec_of(sd15)
    assert spec.problems() == []
    after = spec.open()
    assert before and all(torch.equal(before[n], after.stored[n]) for n in before)
    assert after.stored.places[f"unet.{names[0]}"].file.name == shards[0]  # type: ignore[attr-defined]
    assert after.storage_dtype(f"vae.{sorted(vae)[0]}") is torch.float32


def test_dtypes_are_those_asked_for_and_the_files_keep_theirs(sd15: Path) -> None:
    rewritten(sd15 / "unet" / NET, lambda s: {n: v.half() for n, v in s.items()})
    family = spec_of(sd15, dtype=Precision.BFLOAT16).open()
    assert {p.dtype for p in family.module.parameters()} == {torch.bfloat16}
    name = next(n for n in family.stored if n.startswith("unet."))
    assert family.storage_dtype(name) is torch.float16 and family.stored[name].dtype is torch.float16
    assert spec_of(sd15).open().denoiser.dtype is torch.float32
    assert family.denoiser.draw(["a cats"], [0], Sampler(steps=1)).shape == (1, 3, 64, 64)


def test_velocity_of_stable_diffusion_2_is_asked_of_the_scheduler(tmp_path: Path) -> None:
    family = spec_of(tiny_sd15(tmp_path / "v", prediction="v_prediction")).open()
    assert family.denoiser.prediction is Prediction.VELOCITY


def test_the_hash_is_of_everything_that_decides_pictures(sd15: Path) -> None:
    spec = spec_of(sd15)
    first = spec.weights_hash()
    assert spec.open().weights_hash() == first
    moved = sd15.rename(sd15.with_name("moved"))
    assert spec_of(moved).weights_hash() == first  # where the folder lies plays no part
    (moved / "safety_checker").mkdir()
    (moved / "safety_checker/config.json").write_text("{}")
    (moved / "unet/config.json").write_text(
        json.dumps(
            json.loads((moved / "unet/config.json").read_text()) | {"_diffusers_version": "9"}, indent=3
        )
    )
    assert spec_of(moved).weights_hash() == first  # nor does what nothing reads, nor how a file is laid out
    seen = {first}
    for place, key, value in (
        ("unet/config.json", "attention_head_dim", 8),
        ("scheduler/scheduler_config.json", "steps_offset", 0),
        ("tokenizer/tokenizer_config.json", "model_max_length", 12),
    ):
        content = json.loads((moved / place).read_text())
        (moved / place).write_text(json.dumps(content | {key: value}))
        seen.add(spec_of(moved).weights_hash())
    rewritten(moved / "vae" / NET, lambda s: {n: v + (n == "decoder.conv_in.bias") for n, v in s.items()})
    seen.add(spec_of(moved).weights_hash())
    assert len(seen) == 5


def test_a_paired_clip_is_found_beside_the_folder_and_counts_apart(models: Path, sd15: Path) -> None:
    beside = spec_of(models / "sd15").beside("anything")
    assert list(beside) == ["paired_text_encoder"] and spec_of(sd15).beside("anything") == {}
    given = spec_of(sd15, companion=str(models / "sd15_clip"))
    assert given.problems() == [] and given.beside("anything") == beside
    assert list(given.open().paired) == ["text_encoder"]
    other = paired_clip(models / "sd3", sd15.with_name("other"), "text_encoder_2")
    (problem,) = spec_of(sd15, companion=str(other)).problems()
    assert problem.what == "model.companion.text_encoder is not the CLIP of that text encoder"
    assert "hidden_size: 24, not 32" in str(problem.found)


def test_a_component_may_lie_in_the_folder_beside(sd15: Path) -> None:
    first = spec_of(sd15).weights_hash()
    sibling = sd15.with_name("sibling")
    sibling.mkdir()
    (sd15 / "vae").rename(sibling / "vae")
    (sd15 / "shared.json").write_text('{"vae": "sibling"}')
    assert spec_of(sd15).problems() == [] and spec_of(sd15).weights_hash() == first
    assert spec_of(sd15).open().denoiser.vae is not None
    (sd15 / "shared.json").write_text('{"vae": "../elsewhere"}')
    (problem,) = spec_of(sd15).problems()
    assert problem.found == "'../elsewhere'"


def test_gradients_that_keep_less_are_the_same(models: Path) -> None:
    def gradient(checkpointing: bool) -> Tensor:
        d = spec_of(models / "sd15", checkpointing=checkpointing).open().denoiser
        z = torch.ones(1, 4, 8, 8)
        said = d.predict(z, torch.tensor([500]), d.encode(["a cats"]))
        weight = next(p for n, p in d.module.named_parameters() if n.endswith("layers.0.mlp.fc1.weight"))
        return torch.autograd.grad(said.square().mean(), weight)[0]

    plain, less = gradient(False), gradient(True)
    assert plain.abs().sum() > 0 and torch.allclose(plain, less, rtol=1e-4, atol=1e-9)


def test_a_job_costs_more_with_more_pictures(models: Path) -> None:
    few: dict[str, Any] = {
        "seen": 8,
        "tried": 8,
        "epochs": 1,
        "trained": False,
        "trials": 4,
        "states": 2,
        "processes": 1,
    }
    spec = spec_of(models / "sd15")
    small, large = (spec.cost(Work(judged=n, **few)) for n in (10, 10_000))
    assert small.seconds < large.seconds and small.memory_mb > 650 and small.source == "count of passes"
    probes = DrawnMetrics(probes=["completion", "tokens"], probe_steps=50, probe_batch=4)
    asked, learnt = probes.attacked(10)
    assert (asked, learnt) == (20, 200)  # two probes; one of them learns
    plain = spec.cost(Work(judged=10, **few)).seconds
    drawn, both = (
        spec.cost(Work(judged=10, attacks=2, asked=100 * asked, learnt=n, **few)).seconds
        for n in (0, 100 * learnt)
    )
    assert plain < drawn < both


def test_a_paired_clip_goes_with_an_encoder_in_half_precision(models: Path) -> None:
    model = spec_of(models / "sd15", dtype=Precision.BFLOAT16).open()
    (pair,) = model.paired.values()
    with torch.no_grad():
        texts = pair.encode_text(pair.tokenize(["a photo of zed"]))
        images = pair.encode_image(torch.rand(1, 3, 32, 32))
    assert pair.alignment > 0.99 and texts.dtype is images.dtype is torch.float32
    assert {p.dtype for p in pair.encoder.parameters()} == {torch.bfloat16}
