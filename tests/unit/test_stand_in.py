"""The embedded CLIP gives the bits of open_clip, and needs none of the libraries that come with it."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

from razor_cli.families.clip.byte_pairs import BytePairs
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.stand_in import load_stand_in
from razor_cli.families.clip.standins import stand_in_folder

ROOT = stand_in_folder("clip_tiny")
CONTEXT = 16
TEXTS = [
    "a photo of a dog.",
    "it's 3 o'clock &amp;amp; we&#39;ve  naïve Zoë, 東京 🦉 <start_of_text> x",
    "",
    "WORD " * 40,
    "â€œquoted” they're\n<end_of_text> I'll",
]


@pytest.fixture(scope="module")
def ours() -> Clip:
    return load_stand_in("clip_tiny")


@pytest.fixture(scope="module")
def theirs(ours: Clip) -> torch.nn.Module:
    module = open_clip.model.CLIP(**json.loads((ROOT / "clip_tiny.json").read_text())).eval()
    module.load_state_dict(ours.module.state_dict())
    return module  # type: ignore[no-any-return]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    drawn = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(drawn)


def test_ids_are_those_of_the_library() -> None:
    rng = random.Random(0)
    letters = [*range(32, 127), *range(0xA0, 0x500), *range(0x1F300, 0x1F600)]
    texts = [*TEXTS, *("".join(chr(rng.choice(letters)) for _ in range(20)) for _ in range(200))]
    theirs = SimpleTokenizer(bpe_path=str(ROOT / "bpe.txt.gz"), context_length=CONTEXT)
    assert torch.equal(BytePairs(ROOT / "bpe.txt.gz", CONTEXT)(texts), theirs(texts))


@pytest.mark.parametrize("size", [(96, 96), (48, 48), (301, 203), (40, 61), (97, 53), (17, 90)])
def test_pixels_are_those_of_the_library(ours: Clip, size: tuple[int, int]) -> None:
    theirs = open_clip.transform.image_transform(48, is_train=False)
    for mode in ("RGB", "L", "RGBA"):
        picture = noise(*size).convert(mode)
        assert torch.equal(ours.transform(picture), theirs(picture))


def test_embeddings_and_gradients_are_those_of_the_library_to_the_bit(
    ours: Clip, theirs: torch.nn.Module
) -> None:
    assert [n for n, _ in ours.module.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    pixels = ours.preprocess([noise(96, 96, seed) for seed in range(5)])
    tokens = BytePairs(ROOT / "bpe.txt.gz", CONTEXT)(TEXTS)
    found = []
    for module in (ours.module, theirs):
        with torch.no_grad():
            fast = [module.encode_image(pixels), module.encode_text(tokens)]  # type: ignore[operator]
        out = [module.encode_image(pixels), module.encode_text(tokens)]  # type: ignore[operator]
        weights = [p for n, p in module.named_parameters() if n != "logit_scale"]
        found.append([*fast, *out, *torch.autograd.grad((out[0] @ out[1].T).sin().sum(), weights)])
    assert all(torch.equal(a, b) and bool(a.any()) for a, b in zip(*found, strict=True))


def test_a_first_gradient_loads_no_library_of_models_and_no_compiler() -> None:
    asked = """
import sys, torch
from razor_cli.contract.budget import budget_of
from razor_cli.dual.gallery import at_once
from razor_cli.dual.view import Tower
from razor_cli.families.clip.load import load
model = load(name="clip_tiny", library="stand_in", architecture=None, weights=None, device="cpu")
model.within(budget_of("auto", "cpu", 1))
at_once(model, Tower.VISION, torch.zeros(4, 3, 48, 48))
model.encode_image(torch.zeros(2, 3, 48, 48)).sum().backward()
heavy = ("open_clip", "torchvision", "transformers", "timm", "torch._dynamo", "sympy")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
