"""The folders of `sd3_tiny` and its paired towers, and the judges of both stand-ins."""

import json
from importlib import resources
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
from safetensors.torch import load_file
from transformers import AutoImageProcessor, CLIPModel, CLIPTextModelWithProjection, CLIPTokenizer

from razor_cli.data.canvas_prompts import BENCHMARK
from razor_cli.data.sources.canvas import Canvas, cell, objects, styles
from razor_cli.data.sources.mascots import MASCOTS
from razor_cli.data.sources.people import PEOPLE
from razor_cli.families.diffusion.judges import KINDS, ROLES, load_judge

STANDINS = Path(str(resources.files("razor_cli.families.diffusion"))) / "standins"
FOLDER, JUDGES = STANDINS / "sd3_tiny", STANDINS / "judges"
PAIRS = [("text_encoder", "sd3_tiny_clip", "tokenizer"), ("text_encoder_2", "sd3_tiny_clip_2", "tokenizer_2")]


def megabytes(folder: Path) -> float:
    """Return the megabytes of a folder's own files: what it links to is another folder's."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


@pytest.mark.parametrize(
    ("architecture", "folder"),
    [
        (CLIPTextModelWithProjection, FOLDER / "text_encoder"),
        (CLIPTextModelWithProjection, FOLDER / "text_encoder_2"),
        (SD3Transformer2DModel, FOLDER / "transformer"),
        (AutoencoderKL, FOLDER / "vae"),
        (CLIPModel, STANDINS / "sd3_tiny_clip"),
        (CLIPModel, STANDINS / "sd3_tiny_clip_2"),
    ],
    ids=["text_encoder", "text_encoder_2", "transformer", "vae", "towers", "towers_2"],
)
def test_every_weight_is_read_and_none_is_missing(architecture, folder):
    model, found = architecture.from_pretrained(folder, output_loading_info=True, torch_dtype=torch.float32)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize(("encoder", "towers", "tokenizer"), PAIRS)
def test_paired_text_tower_is_the_text_encoder_to_the_bit(encoder, towers, tokenizer):
    alone = load_file(FOLDER / encoder / "model.safetensors")
    paired = load_file(STANDINS / towers / "model.safetensors")
    assert set(alone) == {n for n in paired if n.startswith(("text_model.", "text_projection."))}
    assert all(torch.equal(w, paired[n]) and w.dtype == torch.float16 for n, w in alone.items())
    for file in ("vocab.json", "merges.txt"):
        assert (FOLDER / tokenizer / file).read_bytes() == (STANDINS / towers / file).read_bytes()
    text = json.loads((FOLDER / encoder / "config.json").read_text())
    inside = json.loads((STANDINS / towers / "config.json").read_text())["text_config"]
    assert all(inside[n] == text[n] for n in ("bos_token_id", "eos_token_id", "hidden_act", "vocab_size"))


@pytest.mark.parametrize(("encoder", "towers", "tokenizer"), PAIRS)
def test_paired_towers_match_pictures_with_their_prompts(encoder, towers, tokenizer):
    folder, canvas = STANDINS / towers, Canvas()
    clip, words = CLIPModel.from_pretrained(folder).float().eval(), CLIPTokenizer.from_pretrained(folder)
    pictures = [canvas.pictures(c, "evaluation")[0] for c in canvas.concepts()]
    texts = words([p.caption for p in pictures], padding=True, return_tensors="pt")
    with torch.no_grad():
        pixels = AutoImageProcessor.from_pretrained(folder)(canvas.load(pictures), return_tensors="pt")
        found = clip(**texts, **pixels).logits_per_image.argmax(1)
    assert (found == torch.arange(len(pictures))).float().mean() > 0.85


def test_folders_stay_small():
    assert megabytes(FOLDER) <= 9.0
    towers = [STANDINS / f"sd3_tiny_clip{n}" for n in ("", "_2")]
    assert megabytes(JUDGES) <= 1.5
    assert sum(map(megabytes, [*towers, STANDINS / "sd_tiny_clip", JUDGES])) <= 7.0


def test_the_autoencoder_is_that_of_the_other_stand_in():
    link = FOLDER / "vae/diffusion_pytorch_model.safetensors"
    assert link.is_symlink()
    assert link.resolve() == (STANDINS / "sd_tiny/vae" / link.name).resolve()
    mine, its = (json.loads((f / "vae/config.json").read_text()) for f in (FOLDER, STANDINS / "sd_tiny"))
    assert mine["shift_factor"] == 0.0  # this pipeline adds it; the other has none
    assert mine["scaling_factor"] == its["scaling_factor"]
    assert mine["block_out_channels"] == its["block_out_channels"]


def test_the_pipeline_draws_what_the_judge_of_exams_recognises():
    pipe = StableDiffusion3Pipeline.from_pretrained(
        FOLDER, text_encoder_3=None, tokenizer_3=None, torch_dtype=torch.float32
    )
    pipe.set_progress_bar_config(disable=True)
    wanted = [(s, o) for s in styles() for o in objects()][::6]

    def draw() -> torch.Tensor:
        return pipe(
            [BENCHMARK.format(style=s, object=o) for s, o in wanted],
            num_inference_steps=6,
            guidance_scale=3.0,
            generator=[torch.Generator().manual_seed(900 + i) for i in range(len(wanted))],
            max_sequence_length=1,
            output_type="pt",
        ).images.float()

    pictures = draw()
    assert torch.equal(pictures, draw())
    for at, kind in enumerate(("style", "object")):
        judge = load_judge(JUDGES, kind, "exam")
        truth = torch.tensor([judge.index(each[at]) for each in wanted])
        assert (judge.predict(pictures).labels == truth).float().mean() >= 0.8


@pytest.mark.parametrize("role", ROLES)
def test_judges_know_the_pictures_of_the_stand_ins_and_nothing_else(role):
    canvas = Canvas()
    views = [canvas.pictures(c, "evaluation")[-1] for c in canvas.concepts()]
    images = torch.stack([torch.tensor(list(i.getdata())) for i in canvas.load(views)])
    pixels = images.view(-1, 64, 64, 3).permute(0, 3, 1, 2) / 255
    grey = torch.full((1, 3, 64, 64), 0.5)
    for kind in KINDS:
        judge = load_judge(JUDGES, kind, role)
        said = judge.predict(pixels).labels
        if kind in ("style", "object"):
            truth = torch.tensor([judge.index(cell(p.concept)[kind == "object"]) for p in views])
            assert (said == truth).float().mean() > 0.97
        else:
            assert (said == -1).float().mean() > 0.97
        assert judge.predict(grey).rejected.all()
        assert judge.held_out is not None and judge.held_out.accuracy >= 97


def test_judges_of_searches_and_of_exams_differ_in_everything():
    search, exam = (json.loads((JUDGES / f"{role}.json").read_text()) for role in ("search", "exam"))
    for name in ("architecture", "seed", "icons", "sha256"):
        assert search[name] != exam[name]
    wanted = {"style": styles(), "object": objects(), "identity": list(PEOPLE), "character": list(MASCOTS)}
    for described in (search, exam):
        assert {kind: each["labels"] for kind, each in described["kinds"].items()} == wanted
