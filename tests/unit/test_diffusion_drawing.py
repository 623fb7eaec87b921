"""Prompts, noise and pictures of a loaded pipeline: what the pipeline itself does, in batches and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_drawn import bits, family, folders, loaded
from tiny_sd import tiny_sd15

from razor_cli.contract.choices import Device
from razor_cli.contract.components import parameters, swapped
from razor_cli.engine.cache import TensorCache
from razor_cli.errors import ConfigError, RunError, WeightsError
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.drawing import PictureStore
from razor_cli.families.diffusion.kinds import Kind, Prediction, Sampler
from razor_cli.families.diffusion.paired import load_paired
from razor_cli.families.diffusion.run_time import AtRunTime
from razor_cli.families.diffusion.spec import DiffusionSpec
from razor_cli.families.diffusion.suppression import Suppression

PROMPTS = ["A Cats image in Noto style.", "a photo of zed", "A Dogs image."]
QUICK = Sampler(steps=2, batch=4)


@pytest.fixture(params=list(Kind), ids=str)
def denoiser(request: pytest.FixtureRequest) -> Denoiser:
    return family(request.param).denoiser


def apart(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one.detach().float() - two.detach().float()).abs().max())


def test_a_context_is_what_the_pipeline_encodes(denoiser: Denoiser) -> None:
    context = denoiser.encode(PROMPTS)
    assert context.tokens.requires_grad and len(context) == 3
    if denoiser.kind is Kind.SD15:
        assert context.tokens.shape == (3, 16, 32) and context.pooled is None
    else:  # where T5 is left out, the pipeline wants one place of zeros in its stead
        assert context.tokens.shape == (3, 16 + 1, 64) and denoiser.tail == 1
        assert not context.tokens[:, -1].any() and not context.tokens[..., 32 + 24 :].any()
        assert context.pooled is not None and context.pooled.shape == (3, 32)
    alone = Context.cat([denoiser.encode([p]) for p in PROMPTS])
    assert all(apart(a, b) < 1e-4 for a, b in zip(context.parts(), alone.parts(), strict=True))


def test_pictures_are_those_that_the_pipeline_draws_from_words(denoiser: Denoiser) -> None:
    ours = denoiser.draw(PROMPTS, [5, 6, 7], QUICK)
    more = {} if denoiser.kind is Kind.SD15 else {"max_sequence_length": denoiser.tail}
    theirs = denoiser.pipeline(
        PROMPTS,
        num_inference_steps=2,
        guidance_scale=QUICK.guidance,
        generator=[torch.Generator().manual_seed(s) for s in (5, 6, 7)],
        output_type="pt",
        **more,
    ).images
    assert ours.dtype is torch.uint8 and ours.shape == (3, 3, 64, 64)
    assert apart(ours, 255 * theirs) <= 0.51


def test_a_picture_depends_on_its_seed_and_not_on_its_neighbours(denoiser: Denoiser) -> None:
    words, seeds = [PROMPTS[0]] * 4, [1, 2, 3, 1]
    four = denoiser.draw(words, seeds, QUICK)
    one = denoiser.draw(words, seeds, Sampler(steps=2, batch=1))
    assert apart(four, one) <= 1  # some 1e-7 before they are rounded
    assert torch.equal(four[0], four[3]) and apart(four[0], four[1]) > 20
    assert apart(four[0], denoiser.draw([PROMPTS[1]], [1], QUICK)[0]) > 5
    assert apart(four[0], denoiser.draw([PROMPTS[0]], [1], Sampler(steps=2, guidance=1.0))[0]) > 0


@pytest.mark.parametrize("prediction", [Prediction.EPSILON, Prediction.VELOCITY])
def test_noise_and_targets_are_those_of_the_scheduler(tmp_path: Path, prediction: Prediction) -> None:
    d = Denoiser(loaded(tiny_sd15(tmp_path, prediction=prediction), Kind.SD15), Kind.SD15)
    assert d.prediction is prediction
    latents, at = torch.randn(3, 4, 8, 8), torch.tensor([3, 400, 990])
    noise = d.noise(latents, "abc")
    scheduler = d.pipeline.scheduler
    assert apart(d.noised(latents, noise, at), scheduler.add_noise(latents, noise, at)) < 1e-6
    wanted = noise if prediction is Prediction.EPSILON else scheduler.get_velocity(latents, noise, at)
    assert apart(d.target(latents, noise, at), wanted) < 1e-6
    scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(WeightsError, match="prediction_type"):
        _ = d.prediction


def test_a_flow_goes_from_pictures_to_noise() -> None:
    d = family(Kind.SD3).denoiser
    latents, at = torch.randn(2, 4, 8, 8), torch.tensor([0.25, 1.0])
    noise = d.noise(latents, "ab")
    assert d.prediction is Prediction.FLOW
    assert apart(d.noised(latents, noise, at), _flow(latents, noise, at)) == 0
    assert torch.equal(d.target(latents, noise, at), noise - latents)
    scaled = d.pipeline.scheduler.scale_noise  # the library takes timesteps, of a thousand
    d.pipeline.scheduler.set_timesteps(4)
    times = d.pipeline.scheduler.timesteps[:2]
    sigma = times / 1000
    assert apart(d.noised(latents, noise, sigma), scaled(latents, times, noise)) < 1e-5


def _flow(latents: torch.Tensor, noise: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    share = at.reshape(-1, 1, 1, 1)
    return (1 - share) * latents + share * noise


def test_latents_are_what_the_pipeline_would_decode(denoiser: Denoiser) -> None:
    pixels = torch.rand(2, 3, 64, 64)
    latents, config = denoiser.latents(pixels), denoiser.vae.config
    with torch.no_grad():
        mode = denoiser.vae.encode(2 * pixels - 1).latent_dist.mode()
    shift = config.shift_factor if denoiser.kind is Kind.SD3 else 0
    assert apart(latents / config.scaling_factor + shift, mode) < 1e-5


def test_a_store_draws_what_it_does_not_have(denoiser: Denoiser, tmp_path: Path) -> None:
    model = family(denoiser.kind)
    cache = TensorCache(tmp_path / "cache")
    ticks: list[int] = []
    store = model.pictures(cache)
    first = store.pictures(PROMPTS, [1, 2, 3], QUICK, ticks.append)
    again = model.pictures(cache).pictures([*PROMPTS[:2], "new"], [1, 2, 3], QUICK, ticks.append)
    assert ticks == [3, 1] and torch.equal(first[:2], again[:2])
    assert apart(first, denoiser.draw(PROMPTS, [1, 2, 3], QUICK)) <= 1
    twice = store.pictures([PROMPTS[0]] * 2, [1, 1], Sampler(steps=3, batch=4), ticks.append)
    assert ticks[2:] == [1] and torch.equal(twice[0], twice[1])
    for file in (tmp_path / "cache/pictures").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-3] + b"abc")
    assert torch.equal(store.pictures(PROMPTS, [1, 2, 3], QUICK, ticks.append), first)
    assert ticks[3:] == [3] and "3 entries were damaged" in cache.notes()[0]
    assert store.pictures([], [], QUICK).shape == (0, 3, 64, 64)


def test_a_store_knows_weights_by_their_bits(denoiser: Denoiser, tmp_path: Path) -> None:
    model = family(denoiser.kind)
    before = bits(model)
    ticks: list[int] = []
    store = model.pictures(TensorCache(tmp_path / "cache"))
    plain = store.pictures(PROMPTS[:1], [1], QUICK, ticks.append)
    name = next(n for n in parameters(model) if n.endswith("fc1.weight"))
    with swapped(model, {name: 1.5 * parameters(model)[name]}):
        edited = store.pictures(PROMPTS[:1], [1], QUICK, ticks.append)
    with AtRunTime(Suppression(names=(PROMPTS[0],), start=0.0)).held(model):
        acted = store.pictures(PROMPTS[:1], [1], QUICK, ticks.append)
    assert torch.equal(store.pictures(PROMPTS[:1], [1], QUICK, ticks.append), plain)
    assert ticks == [1, 1, 1] and not torch.equal(plain, edited) and not torch.equal(plain, acted)
    assert all(torch.equal(before[n], p) for n, p in model.module.named_parameters())


def test_a_store_is_bounded(tmp_path: Path) -> None:
    model = family(Kind.SD15)
    cache = TensorCache(tmp_path / "cache", limit=30_000)
    model.pictures(cache).pictures([PROMPTS[0]] * 6, list(range(6)), QUICK)
    kept = list((tmp_path / "cache/pictures").glob("*.safetensors"))
    assert 0 < len(kept) < 6 and sum(f.stat().st_size for f in kept) <= 30_000


def test_without_a_cache_nothing_is_kept(tmp_path: Path) -> None:
    ticks: list[int] = []
    store = family(Kind.SD15).pictures(None)
    one, two = (store.pictures(PROMPTS[:1], [1], QUICK, ticks.append) for _ in range(2))
    assert ticks == [1, 1] and torch.equal(one, two) and isinstance(store, PictureStore)


def test_contexts_of_words_that_did_not_change_are_encoded_once(
    denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = family(denoiser.kind)
    asked: list[str] = []
    plain = denoiser.encode

    def encode(words: Any) -> Context:
        asked.extend(words)
        return plain(words)

    monkeypatch.setattr(denoiser, "encode", encode)
    words = [f"{p} once" for p in PROMPTS]
    first = model.contexts.of([*words, words[0]])
    second = model.contexts.of(words[::-1])
    assert asked == words and torch.equal(first.tokens[0], second.tokens[2])
    core = next(n for n in parameters(model) if n.startswith(("unet.", "transformer.")))
    with swapped(model, {core: 2 * parameters(model)[core]}):
        model.contexts.of(words)  # the net changed, what reads words did not
    name = next(n for n in parameters(model) if n.endswith("fc1.weight"))
    assert asked == words
    with swapped(model, {name: 2 * parameters(model)[name]}):
        other = model.contexts.of(words[:1])
    assert asked == [*words, words[0]] and not torch.equal(other.tokens, first.tokens[:1])


def test_pictures_that_are_not_numbers_are_an_error(denoiser: Denoiser) -> None:
    model = family(denoiser.kind)
    name = next(n for n in parameters(model) if n.endswith("conv_out.weight") and n.startswith("vae.decoder"))
    with swapped(model, {name: torch.full_like(parameters(model)[name], torch.nan)}), pytest.raises(RunError):
        denoiser.draw(PROMPTS[:1], [1], QUICK)


def test_half_precision_takes_nothing_from_the_time_of_a_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, told = family(Kind.SD3).denoiser, list[torch.Tensor]()

    def core(timestep: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        told.append(timestep)
        return (timestep,)

    monkeypatch.setattr(denoiser, "core", core)
    noised = torch.zeros(1, 4, 8, 8, dtype=torch.bfloat16)
    denoiser.predict(noised, torch.tensor([0.8577]), Context(noised))
    assert float(told[0]) == pytest.approx(857.7, abs=0.01)


def test_what_cannot_be_drawn_is_refused_in_words(denoiser: Denoiser) -> None:
    unit = 8 if denoiser.kind is Kind.SD15 else 16
    for wrong, said in (({"side": 64 + unit // 2}, r"metrics\.side"), ({"steps": 1001}, "fewer steps")):
        with pytest.raises(ConfigError, match=said):
            denoiser.draw(PROMPTS[:1], [1], replace(QUICK, **wrong))
    assert denoiser.draw(PROMPTS[:1], [1], replace(QUICK, side=64 + unit)).shape[2] == 64 + unit


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_a_pair_sees_what_its_clip_sees(kind: Kind) -> None:
    from razor_cli.families.clip.hugging_face import load_hugging_face

    for name, folder in folders(kind)[1].items():
        pair, clip = family(kind).paired[name], load_hugging_face("clip", str(folder))
        words, image = pair.tokenize(PROMPTS), torch.rand(2, 3, 32, 32)
        with torch.no_grad():
            assert apart(pair.encode_text(words), clip.encode_text(words)) < 1e-5
            assert apart(pair.encode_image(image), clip.encode_image(image)) < 1e-6
        assert pair.alignment == pytest.approx(1, abs=1e-5)
        assert family(kind).dual(name) is pair
    assert family(kind).dual() is family(kind).dual("text") is family(kind).paired["text_encoder"]


def test_a_clip_of_another_encoder_is_refused() -> None:
    model, clips = family(Kind.SD3), folders(Kind.SD3)[1]
    with pytest.raises(WeightsError, match="another size"):
        load_paired(model, "text_encoder", clips["text_encoder_2"])
    with pytest.raises(WeightsError, match="their texts lie elsewhere"):
        load_paired(family(Kind.SD15), "text_encoder", clips["text_encoder"])


def test_what_decides_answers_beside_weights_is_known(denoiser: Denoiser) -> None:
    model = family(denoiser.kind)
    before = model.preparation()
    model._preparation = None
    assert model.preparation() == before
    model._preparation, denoiser.tail = None, denoiser.tail + 1
    try:
        assert model.preparation() != before
    finally:
        denoiser.tail -= 1
        model._preparation = before


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [("text_encoder", "num_attention_heads", 2), ("unet", "attention_head_dim", 8), ("tokenizer", "", 0)],
)
def test_a_picture_of_another_model_with_the_same_weights_is_not_taken_for_its_own(
    tmp_path: Path, part: str, key: str, value: int
) -> None:
    cache, files = TensorCache(tmp_path / "cache"), tiny_sd15(tmp_path / "model")
    spec = DiffusionSpec(name="mine", stand_in=False, weights=str(files), device=Device.CPU)
    first = spec.open().pictures(cache).pictures(PROMPTS, [1, 2, 3], QUICK)
    file = files / part / ("config.json" if key else "vocab.json")
    said = json.loads(file.read_text())
    swap = {"cats</w>": said.get("zed</w>"), "zed</w>": said.get("cats</w>")}
    file.write_text(json.dumps(said | ({key: value} if key else swap)))
    model = spec.open()
    found = model.pictures(cache).pictures(PROMPTS, [1, 2, 3], QUICK)
    assert torch.equal(found, model.pictures(None).pictures(PROMPTS, [1, 2, 3], QUICK))
    assert not torch.equal(found, first)
