"""The folders of `sd_tiny` and its paired towers: layout, spelling of keys, size, words, one text encoder."""

import json
from importlib import resources
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import AutoImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

from razor_cli.data import canvas_prompts as wording
from razor_cli.data.sources.canvas import objects, styles
from razor_cli.data.sources.mascots import MASCOTS
from razor_cli.data.sources.people import PEOPLE

STANDINS = Path(str(resources.files("razor_cli.families.diffusion"))) / "standins"
FOLDER, TOWERS = STANDINS / "sd_tiny", STANDINS / "sd_tiny_clip"


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


@pytest.mark.parametrize(
    ("architecture", "folder"),
    [
        (CLIPTextModel, FOLDER / "text_encoder"),
        (UNet2DConditionModel, FOLDER / "unet"),
        (AutoencoderKL, FOLDER / "vae"),
        (CLIPModel, TOWERS),
    ],
    ids=["text_encoder", "unet", "vae", "towers"],
)
def test_every_weight_is_read_and_none_is_missing(architecture, folder):
    model, found = architecture.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    assert next(model.parameters()).dtype == torch.float32
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_weights_have_the_spelling_that_both_versions_of_transformers_read():
    names = load_file(FOLDER / "text_encoder/model.safetensors")
    assert names and all(n.startswith("text_model.") for n in names)
    paired = load_file(TOWERS / "model.safetensors")
    assert {n for n in paired if n.startswith("text_model.")} == set(names)
    assert any(n.startswith("vision_model.encoder.layers.2.") for n in paired)


def test_paired_text_tower_is_the_text_encoder_to_the_bit():
    alone, paired = (
        load_file(f) for f in (FOLDER / "text_encoder/model.safetensors", TOWERS / "model.safetensors")
    )
    assert all(torch.equal(w, paired[n]) for n, w in alone.items())
    assert (FOLDER / "tokenizer/vocab.json").read_bytes() == (TOWERS / "vocab.json").read_bytes()
    assert (FOLDER / "tokenizer/merges.txt").read_bytes() == (TOWERS / "merges.txt").read_bytes()
    text = json.loads((FOLDER / "text_encoder/config.json").read_text())
    inside = json.loads((TOWERS / "config.json").read_text())["text_config"]
    assert all(inside[n] == text[n] for n in ("bos_token_id", "eos_token_id", "hidden_act", "vocab_size"))


def test_folders_stay_small():
    assert megabytes(FOLDER) <= 17.0
    assert megabytes(TOWERS) <= 3.0


def test_every_word_of_every_prompt_is_one_token():
    tokenizer = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")
    cells = [
        t.format(object=o, style=s)
        for t in (*wording.TRAINED, *wording.HELD_OUT, *wording.TRAINED_OBJECT, *wording.TRAINED_STYLE)
        for o in objects()
        for s in styles()
    ]
    people = [
        t.format(name=n) for t in (*wording.TRAINED_IDENTITY, *wording.HELD_OUT_IDENTITY) for n in PEOPLE
    ]
    mascots = [t.format(name=n) for t in (*wording.TRAINED_MASCOT, *wording.HELD_OUT_MASCOT) for n in MASCOTS]
    for prompt in [*cells, *people, *mascots, *wording.NEUTRAL]:
        ids = tokenizer(prompt).input_ids
        words = prompt.replace(".", " .").replace(",", " ,").split()
        assert len(ids) == len(words) + 2 <= tokenizer.model_max_length
        assert (ids[0], ids[-1]) == (0, 1) and not {0, 1} & set(ids[1:-1])


def test_the_pipeline_draws_what_a_prompt_says_and_the_same_again():
    pipe = StableDiffusionPipeline.from_pretrained(FOLDER)
    pipe.set_progress_bar_config(disable=True)

    def draw(prompt: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        return pipe(
            prompt, num_inference_steps=3, guidance_scale=3.0, generator=generator, output_type="pt"
        ).images

    cat, again, sea = (
        draw("A Cats image in Contrast style."),
        draw("A Cats image in Contrast style."),
        draw("Sea"),
    )
    assert cat.shape == (1, 3, 64, 64)
    assert torch.equal(cat, again)
    assert (cat - sea).abs().mean() > 0.05


def test_paired_towers_match_pictures_with_their_prompts():
    from razor_cli.data.sources.canvas import Canvas

    clip, tokenizer = CLIPModel.from_pretrained(TOWERS).eval(), CLIPTokenizer.from_pretrained(TOWERS)
    processor = AutoImageProcessor.from_pretrained(TOWERS)
    canvas = Canvas()
    pictures = [canvas.pictures(c, "evaluation")[0] for c in canvas.concepts()]
    texts = tokenizer([p.caption for p in pictures], padding=True, return_tensors="pt")
    with torch.no_grad():
        pixels = processor(canvas.load(pictures), return_tensors="pt").pixel_values
        found = clip(**texts, pixel_values=pixels).logits_per_image.argmax(1)
    assert (found == torch.arange(len(pictures))).float().mean() > 0.9


def test_an_oracle_is_trained_on_no_picture_that_shows_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    from standin_canvas import Shown, without

    canvas = Shown(
        name="canvas",
        pixels=torch.arange(6).reshape(6, 1, 1, 1),
        labels=torch.tensor([0, 1, 2, 0, 1, 2]),
        concepts=["Noto/Cats", "Mono/Cats", "Mono/Dogs"],
    )
    people = Shown(
        name="people",
        pixels=torch.arange(2).reshape(2, 1, 1, 1),
        labels=torch.tensor([0, 0]),
        concepts=["Noto B"],
    )
    first, second = without([canvas, people], "Noto")
    assert first.labels.tolist() == [1, 2, 1, 2] and first.pixels.flatten().tolist() == [1, 2, 4, 5]
    assert first.concepts == canvas.concepts and second.labels.tolist() == [0, 0]
    assert without([canvas], "Cats")[0].labels.tolist() == [2, 2]
    with pytest.raises(ValueError, match="no training picture shows 'Notto'"):
        without([canvas], "Notto")
