"""The embedded CLIP, without open_clip: its modules, its tokenizer and how it takes pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from razor_cli.dual.complete import check_complete
from razor_cli.errors import WeightsError
from razor_cli.families.clip.byte_pairs import BytePairs
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.fit import fill
from razor_cli.families.clip.plain import PlainClip
from razor_cli.families.clip.standins import DEFAULT, stand_in_folder, stand_in_names
from razor_cli.families.clip.text import trimming
from razor_cli.families.clip.tokens import LARGEST, check_tokenizer, within
from razor_cli.families.clip.towers import layouts_of
from razor_cli.weights.checkpoint import read_state

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pictures that OpenAI's CLIP was trained on, by channel
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def load_stand_in(label: str, file: str | None = None, name: str = DEFAULT) -> Clip:
    """Load the stand-in `name` from the package, or other weights of its architecture (a patched file) from
    `file`.
    """
    root, what = stand_in_folder(name), f"model={label}"
    weights = Path(file).expanduser() if file else root / f"{name}.safetensors"
    if not weights.is_file():
        have = [n for n in stand_in_names() if (stand_in_folder(n) / f"{n}.safetensors").is_file()]
        raise WeightsError(
            f"{what}: the weights '{weights.name}' are not in this copy of razor-cli",
            allowed=f"embedded: {', '.join(have) or 'none'}",
            fix="reinstall razor-cli, train them (scripts/bundle_short.py says how), or take another "
            "model (model=clip_tiny)",
        )
    module = PlainClip(**json.loads((root / f"{name}.json").read_text()))
    stored = read_state(weights)
    fill(module, stored, what, "take weights of the stand-in's architecture")
    merges = BytePairs(root / "bpe.txt.gz", module.context_length)
    tokenizer = within(merges, module.vocab_size, what)
    check_tokenizer(tokenizer, what, end=LARGEST)
    model = Clip(
        label=label,
        stand_in=True,
        module=module.eval(),
        layouts=layouts_of(module),
        transform=Pictures(module.visual.image_size[0]),
        image_features=module.encode_image,
        text_features=module.encode_text,
        tokenizer=trimming(tokenizer),
        stored=stored,
        source=weights.name,
        architecture=DEFAULT,
    )
    check_complete(model, model.layouts)
    return model


class Pictures:
    """Pictures as OpenAI's CLIP takes them: the shorter side to `size` pixels, the square in the middle,
    brought to mean 0 and deviation 1 by channel.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.mean, self.deviation = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, DEVIATION))

    def __call__(self, image: Image.Image) -> Tensor:
        """Return pixels [3, size, size]."""
        pixels = torch.from_numpy(np.array(self._square(image).convert("RGB")))
        return pixels.permute(2, 0, 1).contiguous().float().div_(255).sub_(self.mean).div_(self.deviation)

    def _square(self, image: Image.Image) -> Image.Image:
        short = min(image.size)
        width, height = (self.size if side == short else int(self.size * side / short) for side in image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))
