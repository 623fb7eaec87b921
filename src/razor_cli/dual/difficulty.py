"""How sure a model is of its classes: what makes a class difficult to forget (Tan & Gong, Table 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional as F

from razor_cli.data.sets import Pairs
from razor_cli.dual.gallery import embed
from razor_cli.dual.view import DualEncoder, Tower

BATCH = 128


@torch.no_grad()
def class_confidence(
    model: DualEncoder, pairs: Pairs, prompts: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return for each class the mean probability, in [0, 1], that the model gives the right class on its
    pictures.

    `prompts` are all classes with their prompts over templates; a class embedding is the normalised mean of
    theirs, and probabilities are the softmax of scaled cosines. A class without a picture has 0.
    """
    names = list(prompts)
    tokens = model.tokenize([p for n in names for p in prompts[n]])
    rows = embed(model, Tower.TEXT, tokens, BATCH).split([len(prompts[n]) for n in names])
    texts = torch.stack([F.normalize(r.mean(dim=0), dim=0) for r in rows])
    found: dict[str, list[float]] = {n: [] for n in names}
    for start in range(0, len(pairs), BATCH):
        images = model.encode_image(model.preprocess(pairs.load(start, start + BATCH)))
        sure = torch.softmax(model.scale * images @ texts.T, dim=1)
        shown = [names.index(c) for c in pairs.concepts[start : start + BATCH]]
        for row, number in zip(sure.tolist(), shown, strict=True):
            found[names[number]].append(row[number])
    return {n: sum(values) / len(values) if values else 0.0 for n, values in found.items()}
