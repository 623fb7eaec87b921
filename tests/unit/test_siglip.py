"""SigLIP: the sigmoid loss, texts that are not causal, folders that cannot be followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from siglip_folders import CONTEXT, make_siglip, pictures, siglip_folder
from tiny_world import make_sets
from torch import Tensor

from razor_cli.dual.gradients import batch_gradient, batches, cached_gradient, retain_loss
from razor_cli.dual.losses import info_nce, sigmoid_loss
from razor_cli.dual.named_losses import dual_loss
from razor_cli.errors import WeightsError
from razor_cli.families.clip import hf_files
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.spec import ClipSpec

NAMES = [n for n in open_clip.list_models() if "-SigLIP" in n]
TEXTS = ["a photo of Ada.", "a drawing of two dogs", ""]
SETS = make_sets()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return siglip_folder(tmp_path_factory.mktemp("saved") / "siglip")


@pytest.fixture(scope="module")
def model() -> Any:
    return make_siglip()


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


# ------------------------------------------------------------------ the loss


def test_the_sigmoid_loss_is_the_one_of_both_libraries() -> None:
    images, texts, scale, bias = unit(5, 8), unit(5, 8, seed=1), torch.tensor(9.0), torch.tensor(-4.0)
    theirs = open_clip.loss.SigLipLoss()(images, texts, scale, bias)
    assert float(sigmoid_loss(images, texts, 9.0, -4.0)) == pytest.approx(float(theirs), rel=1e-5)
    logits = texts @ images.T * scale + bias  # as SiglipModel.forward has it
    signs = 2 * torch.eye(5) - 1
    assert float(sigmoid_loss(images, texts, 9.0, -4.0)) == pytest.approx(
        float(-F.logsigmoid(signs * logits).sum(dim=-1).mean()), rel=1e-5
    )


def test_a_shared_caption_belongs_to_every_picture_that_has_it() -> None:
    images, texts = unit(4, 8), unit(3, 8, seed=1)[[0, 1, 0, 2]]
    wanted = 0.0
    for i in range(4):
        for j in range(4):
            logit = 9.0 * float(images[i] @ texts[j]) - 4.0
            same = i == j or {i, j} == {0, 2}
            wanted -= float(F.logsigmoid(torch.tensor(logit if same else -logit))) / 4
    assert float(sigmoid_loss(images, texts, 9.0, -4.0)) == pytest.approx(wanted, rel=1e-5)


def test_down_the_sigmoid_loss_pairs_come_together_and_others_apart() -> None:
    images, texts = unit(4, 8).requires_grad_(), torch.eye(4, 8)  # so that each cosine moves by itself
    bias = torch.tensor(0.0, requires_grad=True)
    to_images, to_bias = torch.autograd.grad(sigmoid_loss(images, texts, 9.0, bias), [images, bias])
    down = -to_images @ texts.T
    assert torch.equal(down > 0, torch.eye(4).bool()) and bool((down != 0).all())
    assert float(to_bias) > 0  # most pairs of a batch are none: from 0 the bias goes down


def test_the_retain_loss_of_a_model_with_a_bias_is_the_sigmoid_loss(model: Any) -> None:
    batch = next(iter(batches(model, SETS.retain, 32)))
    with torch.no_grad():
        images, texts = model.encode_image(batch.pixels), model.encode_text(batch.tokens)[batch.rows]
    loss = retain_loss(model.scale, model.bias)
    value = float(loss(images, texts).detach())
    assert value == float(sigmoid_loss(images, texts, model.scale, model.bias))
    assert value != pytest.approx(float(info_nce(images, texts, model.scale)), rel=0.05)
    whole = batch_gradient(model, batch, loss)
    assert not {"logit_scale", "logit_bias"} & whole.keys()
    parts = cached_gradient(model, batch, loss, 5)
    assert all(torch.allclose(whole[n], parts[n], atol=1e-5) for n in whole)
    assert dual_loss(model, SETS, "retain").key["bias"] == model.bias


# ------------------------------------------------------------------ folders of transformers


def test_a_folder_gives_the_librarys_own_outputs(folder: Path) -> None:
    from transformers import SiglipModel, SiglipProcessor

    spec = ClipSpec(name="own", stand_in=False, library=Library.HF, weights=str(folder))
    model = spec.open()
    assert spec.problems() == [] and spec.weights_hash() == model.weights_hash()
    module, processor = SiglipModel.from_pretrained(folder).eval(), SiglipProcessor.from_pretrained(folder)
    shown = pictures((16, 16), (40, 23))
    asked = processor(
        text=TEXTS,
        images=shown,
        padding="max_length",
        truncation=True,
        max_length=CONTEXT,
        return_tensors="pt",
    )
    with torch.no_grad():
        assert torch.allclose(model.preprocess(shown), asked["pixel_values"], atol=1e-6)
        assert (
            float(asked["pixel_values"].abs().max()) <= 1
        )  # mean and deviation a half, squashed to the square
        tokens = model.tokenize(TEXTS)
        assert torch.equal(tokens, asked["input_ids"]) and tokens.shape == (3, CONTEXT)
        texts = F.normalize(module.get_text_features(input_ids=asked["input_ids"]).pooler_output, dim=-1)
        images = F.normalize(
            module.get_image_features(pixel_values=asked["pixel_values"]).pooler_output, dim=-1
        )
        assert torch.allclose(model.encode_text(tokens), texts, atol=1e-6)
        assert torch.allclose(model.encode_image(asked["pixel_values"]), images, atol=1e-6)
        logits = module(input_ids=tokens, pixel_values=asked["pixel_values"]).logits_per_image
        assert torch.allclose(model.scale * images @ texts.T + model.bias, logits, atol=1e-4)
        # The tower sees its padding, so texts are padded to the context however short the longest is
        short = tokens[:1, :10]
        assert bool((short[0] == 0).any()) and not torch.allclose(
            model.encode_text(short), texts[:1], atol=1e-3
        )
        assert torch.equal(model.tokenize(TEXTS[:1]), tokens[:1])


def refused(folder: Path) -> str:
    """Return what is said of a folder from its settings alone; loading says the same."""
    spec = ClipSpec(name="own", stand_in=False, library=Library.HF, weights=str(folder))
    said = [str(problem.error()) for problem in spec.problems()]
    with pytest.raises(WeightsError) as caught:
        spec.open()
    assert said == [str(caught.value)]
    return said[0]


def test_folders_that_cannot_be_followed_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    saved = {p.name: p.read_bytes() for p in folder.iterdir()}

    def changed(name: str, **values: Any) -> str:
        for other, content in saved.items():
            (tmp_path / other).write_bytes(content)
        (tmp_path / name).write_text(json.dumps({**json.loads(saved[name]), **values}))
        return refused(tmp_path)

    assert "NaFlex" in (said := changed("config.json", model_type="siglip2")) and "one resolution" in said
    assert "SiglipImageProcessor" in changed(
        "preprocessor_config.json", image_processor_type="Siglip2ImageProcessor"
    )
    assert "tokenizer_class is not followed" in changed(
        "tokenizer_config.json", tokenizer_class="BertTokenizer"
    )
    vision = json.loads(saved["config.json"])["vision_config"]
    assert "pools nothing" in changed("config.json", vision_config={**vision, "vision_use_head": False})


def test_a_tokenizer_of_sentencepiece_names_the_packages_it_needs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "spiece.model").write_bytes(b"pieces")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "SiglipTokenizer"}')
    monkeypatch.setattr(hf_files, "_is_there", lambda module: module != "sentencepiece")
    assert "missing: sentencepiece" in (said := refused(tmp_path)) and "pip install sentencepiece" in said
