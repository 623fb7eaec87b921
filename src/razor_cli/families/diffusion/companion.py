"""The paired CLIP of a model that draws, beside it: it judges zero-shot where there is no classifier, and
says how well pictures go with their prompts.

Texts are encoded once, under the unedited weights: its text tower is the model's own encoder, which edits
change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from razor_cli.data.shots import DrawnSets
from razor_cli.errors import ConfigError, nearest
from razor_cli.families.diffusion.judges import Answers
from razor_cli.families.diffusion.settings import no_judge

BATCH = 64
# Where the run has no sentence for a name alone.
PROMPTS = {"style": "a picture in {name} style", "object": "a picture of {name}"}
ELSE = "a picture of {name}"


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A paired CLIP (two towers with one space) and what records call it."""

    name: str
    towers: Any  # dual.view.DualEncoder
    digest: str  # hash of what it makes of made-up input
    alignment: float = 1.0  # least cosine between its text tower and the model's encoder

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """Return embeddings [n, d] of pictures [n, 3, H, W], bytes, of whatever length."""
        found = []
        for part in pictures.split(BATCH):
            pixels = self.towers.preprocess([Image.fromarray(p.permute(1, 2, 0).numpy()) for p in part])
            found.append(self.towers.image_features(pixels.to(self.towers.device)).float().cpu())
        return torch.cat(found)

    def images(self, pictures: Tensor) -> Tensor:
        """Return unit embeddings [n, d] of pictures [n, 3, H, W], bytes."""
        return F.normalize(self.features(pictures), dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings [n, d] of texts, each distinct one encoded once."""
        distinct = list(dict.fromkeys(texts))
        parts = [distinct[i : i + BATCH] for i in range(0, len(distinct), BATCH)]
        found = torch.cat([self.towers.encode_text(self.towers.tokenize(p)).float().cpu() for p in parts])
        places = {text: i for i, text in enumerate(distinct)}
        return found[[places[t] for t in texts]]


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """Judges pictures by the nearest of a list of names: it has no answer "none of these", and nobody
    measured how often it is right.
    """

    name: str
    labels: tuple[str, ...]
    sha256: str
    companion: Companion
    texts: Tensor  # [L, d]

    def index(self, label: str) -> int:
        """Return the place of a label. Raises ConfigError for one that is no alternative."""
        if label in self.labels:
            return self.labels.index(label)
        close = nearest(label, self.labels)
        raise ConfigError(
            f"'{label}' is none of the names that pictures are judged by",
            allowed=", ".join(close or self.labels),
        )

    def predict(self, pictures: Tensor) -> Answers:
        """Return the nearest name of pictures [n, 3, H, W] in [0, 1]."""
        held = (255 * pictures).round().clamp(0, 255).to(torch.uint8)
        shares = (self.companion.towers.scale * self.companion.images(held) @ self.texts.T).softmax(dim=1)
        confidence, labels = shares.max(dim=1)
        return Answers(labels=labels, confidence=confidence)


def needed(companion: Companion | None) -> Companion:
    """Return the paired CLIP, or refuse to go without."""
    if companion is None:
        raise no_judge()
    return companion


def zero_shot(companion: Companion, kind: str, sets: DrawnSets) -> ZeroShot:
    """Return the judge of one kind: all names of the run are its alternatives."""
    labels = sets.labels[kind]
    texts = [_sentence(kind, name, sets) for name in labels]
    said = hashlib.sha256("\n".join([companion.digest, *labels, *texts]).encode()).hexdigest()
    return ZeroShot(
        name=f"zero_shot:{companion.name}",
        labels=tuple(labels),
        sha256=said,
        companion=companion,
        texts=companion.texts(texts),
    )


def _sentence(kind: str, name: str, sets: DrawnSets) -> str:
    if kind == sets.axis and name in sets.prompts:
        return sets.prompts[name]
    return PROMPTS.get(kind, ELSE).format(name=name.replace("_", " "))


def likeness(companion: Companion, pictures: Tensor, texts: Tensor) -> Tensor:
    """Return CLIPScore of each picture with its text [n]: 100 max(cos, 0), Hessel et al. (EMNLP 2021) with a
    weight of 100 in place of 2.5.
    """
    return 100 * (companion.images(pictures) * texts).sum(dim=1).clamp(min=0)
