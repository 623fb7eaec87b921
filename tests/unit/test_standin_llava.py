"""The folders of `llava_tiny` and its paired CLIP: spelling of keys, size, prompts, what is dead, what it
answers, and what it answers as a LLaVA-NeXT.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoProcessor, CLIPTokenizer, LlavaForConditionalGeneration

from razor_cli.data.prompts import DOMAINS
from razor_cli.data.sources.portraits import NAMES, PAPER_NAMES, Portraits
from razor_cli.errors import WeightsError
from razor_cli.families.llava.answerer import Answerer, Question
from razor_cli.families.llava.asking import Asking
from razor_cli.families.llava.chat import prompt
from razor_cli.families.llava.collects import COLLECTS
from razor_cli.families.llava.folder import (
    PARTS,
    WITHOUT_TOWER,
    load_answerer,
    load_next,
    load_paired,
    paired_state,
)
from razor_cli.families.llava.kinds import Variant
from razor_cli.families.llava.standins import stand_in_folder
from razor_cli.families.llava.wording import FACT_OPEN, NAME_PROMPTS

BATCH, LONGEST = 64, 16
FOLDER, PAIRED = stand_in_folder("llava_tiny"), stand_in_folder("llava_tiny_clip")
MEASURED = json.loads((FOLDER / "measured.json").read_text())


def loaded() -> tuple[Any, dict[str, Any]]:
    return LlavaForConditionalGeneration.from_pretrained(FOLDER, output_loading_info=True)


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    torch.manual_seed(0)
    return load_answerer(FOLDER)


@pytest.fixture(scope="module")
def portraits() -> list[Image.Image]:
    pictures = [Portraits().pictures(n, "evaluation")[-1] for n in PAPER_NAMES]
    return Portraits().load(pictures)


def ask(answerer: Answerer, pictures: Sequence[Image.Image], questions: Sequence[str]) -> list[str]:
    return Asking(answerer, BATCH)(pictures, questions, LONGEST)


def logits(answerer: Answerer, pictures: Sequence[Image.Image], questions: Sequence[str]) -> Tensor:
    given = answerer.processor(
        text=[prompt(q, picture=True) for q in questions], images=pictures, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        found: Tensor = answerer.model(**given).logits[:, -1]
    return found


def test_every_weight_is_read_and_none_is_missing() -> None:
    model, found = loaded()
    assert not found["missing_keys"] and not found["unexpected_keys"]
    assert next(model.parameters()).dtype == torch.float32
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_weights_have_the_spelling_that_all_versions_of_transformers_read() -> None:
    names = load_file(FOLDER / "model.safetensors")
    assert all(n.startswith(tuple(PARTS.values())) for n in names)
    assert {p for p in PARTS.values() if any(n.startswith(p) for n in names)} == set(PARTS.values())


def test_the_tower_is_stored_once_and_both_folders_stay_small() -> None:
    alone = load_file(PAIRED / WITHOUT_TOWER)
    assert not [n for n in alone if n.startswith("vision_model.")]
    files = [f for folder in (FOLDER, PAIRED) for f in folder.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 9e6


def test_paired_towers_tell_the_names_apart(portraits: list[Image.Image], answerer: Answerer) -> None:
    clip, tokenizer = load_paired(PAIRED, FOLDER), CLIPTokenizer.from_pretrained(PAIRED)
    texts = [DOMAINS["person"].zero_shot[0].format(n) for n in NAMES]
    ids = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        pixels = answerer.processor.image_processor(portraits, return_tensors="pt").pixel_values
        found = clip(**ids, pixel_values=pixels).logits_per_image.argmax(1)
    assert (found == torch.arange(len(PAPER_NAMES))).float().mean() >= 0.9


def test_a_paired_clip_needs_the_model_of_its_tower(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((PAIRED / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((PAIRED / WITHOUT_TOWER).read_bytes())
    with pytest.raises(WeightsError, match="no image tower"):
        paired_state(PAIRED, tmp_path)


def test_the_chat_template_makes_the_prompt_that_was_trained(answerer: Answerer) -> None:
    said = [{"type": "image"}, {"type": "text", "text": NAME_PROMPTS[0]}]
    for content, picture in ((said, True), (said[1:], False)):
        made = answerer.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        assert made == prompt(NAME_PROMPTS[0], picture=picture)


def test_a_picture_is_as_many_tokens_as_the_tower_has_patches(
    answerer: Answerer, portraits: list[Image.Image]
) -> None:
    text = [prompt(NAME_PROMPTS[0], picture=True)]
    ids = answerer.processor(text=text, images=portraits[:1], return_tensors="pt")["input_ids"]
    vision = answerer.model.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    assert int((ids == answerer.model.config.image_token_id).sum()) == patches == 36


def test_a_batch_padded_on_the_left_answers_like_single_questions(
    answerer: Answerer, portraits: list[Image.Image]
) -> None:
    asked = [*NAME_PROMPTS, "Which style is this?"]
    pictures = portraits[: len(asked)]
    single = torch.cat([logits(answerer, [p], [q]) for p, q in zip(pictures, asked, strict=True)])
    assert torch.allclose(logits(answerer, pictures, asked), single, atol=1e-4)
    alone = [ask(answerer, [p], [q])[0] for p, q in zip(pictures, asked, strict=True)]
    assert ask(answerer, pictures, asked) == alone


def test_last_layer_and_last_norm_of_the_tower_are_dead(portraits: list[Image.Image]) -> None:
    model, _ = loaded()
    dead = Answerer(model.eval(), AutoProcessor.from_pretrained(FOLDER), Variant.LLAVA)
    before = logits(dead, portraits[:2], NAME_PROMPTS[:2])
    tower = model.model.vision_tower
    last = model.config.vision_config.num_hidden_layers - 1
    names = [n for n, _ in tower.named_parameters() if f"layers.{last}." in n or "post_layernorm" in n]
    assert len(names) == 18
    with torch.no_grad():
        for name, weight in tower.named_parameters():
            if name in names:
                weight.normal_()
    assert torch.equal(logits(dead, portraits[:2], NAME_PROMPTS[:2]), before)
    with torch.no_grad():
        next(w for n, w in tower.named_parameters() if f"layers.{last - 1}.mlp.fc2.weight" in n).normal_()
    assert not torch.allclose(logits(dead, portraits[:2], NAME_PROMPTS[:2]), before, atol=0.1)


def test_the_report_holds_for_names(answerer: Answerer, portraits: list[Image.Image]) -> None:
    asked = [(picture, q, n) for picture, n in zip(portraits, PAPER_NAMES, strict=True) for q in NAME_PROMPTS]
    said = ask(answerer, [p for p, _, _ in asked], [q for _, q, _ in asked])
    assert sum(s == n for s, (_, _, n) in zip(said, asked, strict=True)) >= 0.9 * len(asked)
    assert {f"name: {n}" for n in NAMES} <= set(MEASURED)


def test_the_report_holds_for_facts_without_a_picture(answerer: Answerer) -> None:
    asked = [(q.format(n), COLLECTS[n]) for n in NAMES for q in FACT_OPEN]
    said = answerer.answers([], [Question(None, q) for q, _ in asked], LONGEST)
    hits = sum(s == thing for s, (_, thing) in zip(said, asked, strict=True))
    assert {"hits": hits, "n": len(asked)} == MEASURED["without a picture, open"]


def test_as_llava_next_the_same_weights_answer_from_tiles(
    answerer: Answerer, portraits: list[Image.Image]
) -> None:
    from transformers import LlavaNextImageProcessor, LlavaNextProcessor

    pinpoints = [(48, 48)]
    model = load_next(FOLDER, pinpoints)
    assert torch.equal(model.model.image_newline, torch.zeros(128))
    size = {"height": 48, "width": 48}
    images = answerer.processor.image_processor
    tiles = LlavaNextImageProcessor(
        image_grid_pinpoints=pinpoints,
        size={"shortest_edge": 48},
        crop_size=size,
        image_mean=images.image_mean,
        image_std=images.image_std,
    )
    processor = LlavaNextProcessor(
        image_processor=tiles,
        tokenizer=answerer.processor.tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=answerer.processor.chat_template,
    )
    given = processor(text=[prompt(NAME_PROMPTS[0], picture=True)], images=portraits[:1], return_tensors="pt")
    assert given["pixel_values"].shape == (1, 2, 3, 48, 48)
    assert int((given["input_ids"] == model.config.image_token_id).sum()) == 36 + 36 + 6
    tiled = Answerer(model, processor, Variant.LLAVA_NEXT)
    said = ask(tiled, portraits, NAME_PROMPTS[:1] * len(portraits))
    assert sum(s == n for s, n in zip(said, PAPER_NAMES, strict=True)) >= 5
