"""A folder as transformers saves a small SigLIP, with words of its own, and pictures it is taught to tell
apart.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from PIL import Image
from tiny_world import OTHERS, SIDE, TARGET, Noise, pairs

from razor_cli.dual.gradients import batches
from razor_cli.dual.losses import sigmoid_loss
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.siglip import load_siglip

CONTEXT, LAYERS = 12, {"vision": 2, "text": 2}
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
WORDS = [
    "a",
    "photo",
    "of",
    "person",
    "cat",
    "drawing",
    "two",
    "dogs",
    ".",
    TARGET.lower(),
    *map(str.lower, OTHERS),
]


def write_words(folder: Path) -> Any:
    """Write a tokenizer in the manner of SigLIP 2: words and bytes, padded on the right, closed by <eos>."""
    from tokenizers import AddedToken, processors
    from transformers import Siglip2Tokenizer

    pieces = [*SPECIAL, *(f"<0x{b:02X}>" for b in range(256)), "\u2581"]
    tokenizer = Siglip2Tokenizer(
        vocab={p: i for i, p in enumerate(pieces)}, merges=[], padding_side="right", model_max_length=CONTEXT
    )
    tokenizer.add_tokens([AddedToken(w, normalized=True, single_word=w != ".", lstrip=True) for w in WORDS])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", tokenizer.eos_token_id)]
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def siglip_folder(folder: Path, width: int = 32, mlp: int = 64, **vision: Any) -> Path:
    """Write a small SigLIP with random weights, none of them zero or constant."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    folder.mkdir(exist_ok=True)
    tower = {"hidden_size": width, "intermediate_size": mlp, "num_attention_heads": 4, "num_hidden_layers": 2}
    words = len(write_words(folder))
    text = {"vocab_size": words, "max_position_embeddings": CONTEXT, "projection_size": width}
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    config = SiglipConfig(
        text_config={**tower, **text, **special},
        vision_config={**tower, "image_size": SIDE, "patch_size": 8, **vision},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        module = SiglipModel(config)
        for parameter in module.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape))
        module.logit_scale.data.fill_(3.0)
        module.logit_bias.data.fill_(-5.0)
    module.save_pretrained(folder)
    SiglipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


@cache
def _taught() -> tuple[Path, dict[str, torch.Tensor]]:
    """Return a folder, and weights after a short training on all six concepts."""
    folder = siglip_folder(Path(mkdtemp()) / "siglip")
    model, source = load_siglip("tiny", folder), Noise()
    lessons = [next(iter(batches(model, pairs(source, [c] * 8, "lesson"), 8))) for c in (TARGET, *OTHERS)]
    optimizer = torch.optim.Adam(
        [p for n, p in model.module.named_parameters() if "logit" not in n], lr=1.5e-3
    )
    for step in range(72):
        images = model.encode_image(torch.stack([b.pixels[step % 8] for b in lessons]))
        texts = model.encode_text(torch.cat([b.tokens for b in lessons]))
        loss = sigmoid_loss(images, texts, model.scale, model.bias or 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return folder, {n: p.detach().clone() for n, p in model.module.named_parameters()}


def make_siglip() -> Clip:
    """Return a fresh taught SigLIP whose file stores fp32."""
    folder, state = _taught()
    model = load_siglip("tiny", folder)
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            parameter.copy_(state[name])
    model.stored = state
    return model


def pictures(*sizes: tuple[int, int]) -> list[Image.Image]:
    """Return drawn pictures of these widths and heights."""
    from razor_cli.families.clip.preparation import drawn

    return [drawn(*size) for size in sizes]
