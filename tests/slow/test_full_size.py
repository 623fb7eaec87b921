"""The papers' architectures at full size, with random weights, in the layouts people have: saved, loaded,
compared.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.clip.load import stored_hash
from razor_cli.families.clip.open_clip_models import load_open_clip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TEXTS = ["a photo of Taylor Swift.", "a photo of a person."]
PICTURE = Image.fromarray(np.random.default_rng(0).uniform(0, 255, (230, 300, 3)).astype(np.uint8), "RGB")


def linear_weights(model: Clip) -> list[str]:
    """Return what quantization covers, as many as the model's modules hold."""
    covered = model.quantizable()
    linear = [name for names in covered.linear.values() for name in names]
    assert len(linear) == sum(covered.counted.values())
    return linear


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(("architecture", "count"), [("ViT-B-32-quickgelu", 264), ("ViT-L-14", 564)])
def test_open_clip_file(tmp_path: Path, architecture: str, count: int, suffix: str) -> None:
    module, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=None)
    module.eval()
    tokenizer = open_clip.get_tokenizer(architecture)
    path = tmp_path / f"weights{suffix}"
    state = {n: v.contiguous() for n, v in module.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    with torch.no_grad():
        images = module.encode_image(transform(PICTURE)[None], normalize=True)
        texts = module.encode_text(tokenizer(TEXTS), normalize=True)
    del module, state
    gc.collect()
    model = load_open_clip("full", architecture, str(path))
    assert len(model.components(Granularity.HEAD_MLP, Towers.BOTH)) == count
    assert len(linear_weights(model)) == 4 * sum(layout.layers for layout in model.layouts)
    assert stored_hash("open_clip", architecture, path) == model.weights_hash()
    with torch.no_grad():
        assert torch.allclose(model.encode_image(model.preprocess([PICTURE])), images, atol=1e-6)
        assert torch.allclose(model.encode_text(model.tokenize(TEXTS)), texts, atol=1e-6)


def pooled(found: Any) -> Tensor:
    return F.normalize(found if isinstance(found, Tensor) else found.pooler_output, dim=-1)


def test_hugging_face_folder(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast

    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *(chr(97 + i) for i in range(26)),
        *(f"{chr(97 + i)}</w>" for i in range(26)),
        "ab",
    ]
    (tmp_path / "vocab.json").write_text("{" + ", ".join(f'"{w}": {i}' for i, w in enumerate(words)) + "}")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    CLIPTokenizerFast.from_pretrained(tmp_path).save_pretrained(tmp_path)
    config = CLIPConfig(
        text_config={"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}, vision_config={}
    )  # ViT-B/32
    module = CLIPModel(config).eval()
    module.save_pretrained(tmp_path)
    model = load_hugging_face("hf", str(tmp_path))
    assert len(model.components(Granularity.HEAD_MLP, Towers.BOTH)) == 264
    linear = linear_weights(model)
    assert len(linear) == 6 * 24 and set(linear) <= set(parameters(model))
    assert stored_hash("hf", None, tmp_path) == model.weights_hash()
    with torch.no_grad():
        pixels, tokens = model.preprocess([PICTURE]), model.tokenize(["abc", "z"])
        assert pixels.shape == (1, 3, 224, 224) and len(tokens) == 2 and tokens.shape[1] < 77  # no padding
        assert torch.allclose(
            model.encode_image(pixels), pooled(module.get_image_features(pixel_values=pixels)), atol=1e-6
        )
        assert torch.allclose(
            model.encode_text(tokens), pooled(module.get_text_features(input_ids=tokens)), atol=1e-6
        )
