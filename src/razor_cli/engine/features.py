"""Embeddings of judged pictures and of every text they are compared with, computed once and kept apart by tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sets import ConceptSets, Judged, Pairs
from razor_cli.metrics.clip import Features, SuiteFeatures
from razor_cli.models.base import DualEncoder, Tower


@dataclass(kw_only=True)
class Gallery:
    """Pictures and texts of one judged set: which rows of the embeddings mean what.

    Rows of images: forget, retain, then the pictures of each suite, then members. Rows of texts: distinct sentences.
    """

    sets: ConceptSets
    judged: Judged
    suites: bool
    members: Pairs | None = None
    _numbers: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        sets, judged = self.sets, self.judged
        self.class_rows = [self._row(sets.prompts[n]) for n in sets.class_names]
        self.generic_row = self._row(sets.generic_prompt)
        self.forget_rows = [self._row(c) for c in judged.forget.captions]
        self.retain_rows = [self._row(c) for c in judged.retain.captions]
        self.own_rows = [self._row(own_prompt(p.concept, p.domain, sets)) for p in judged.retain.pictures]
        self.member_rows = [self._row(c) for c in self.members.captions] if self.members else []
        self.suite_rows = {s.name: [self._row(p) for p in s.prompts] for s in sets.suites} if self.suites else {}

    def _row(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def texts(self) -> list[str]:
        """Return the distinct sentences, in row order."""
        return list(self._numbers)

    def parts(self) -> list[Pairs]:
        """Return the picture sets in row order."""
        extra = [s.pairs for s in self.sets.suites] if self.suites else []
        return [self.judged.forget, self.judged.retain, *extra, *([self.members] if self.members else [])]

    def features(self, images: Tensor, texts: Tensor) -> Features:
        """Lay embeddings [n, d] of all pictures and [k, d] of all texts out for the metrics."""
        blocks = list(images.split([len(p) for p in self.parts()]))
        sets, names = self.sets, {n: i for i, n in enumerate(self.sets.class_names)}
        retain = self.judged.retain.pictures
        concepts = [names.get(p.concept, -1) if p.domain == sets.domain else -1 for p in retain]
        suites = {}
        if self.suites:
            for suite, block in zip(sets.suites, blocks[2:], strict=False):
                suites[suite.name] = SuiteFeatures(block, torch.tensor(suite.labels), texts[self.suite_rows[suite.name]])
        return Features(
            class_names=sets.class_names,
            class_prompts=texts[self.class_rows],
            generic_prompt=texts[self.generic_row],
            forget_images=blocks[0],
            forget_captions=texts[self.forget_rows],
            retain_images=blocks[1],
            retain_captions=texts[self.retain_rows],
            retain_caption_ids=torch.tensor(self.retain_rows),
            retain_concepts=torch.tensor(concepts),
            retain_own_prompt=texts[self.own_rows],
            suites=suites,
            member_images=blocks[-1] if self.members else None,
            member_captions=texts[self.member_rows] if self.members else None,
        )


def own_prompt(concept: str, domain: str, sets: ConceptSets) -> str:
    """Return the zero-shot prompt of a picture's own concept, whatever its domain."""
    if domain == sets.domain and concept in sets.prompts:
        return sets.prompts[concept]
    return DOMAINS[domain].zero_shot[0].format(spoken(concept, domain))


def chunked(rows: Tensor, size: int) -> list[Tensor]:
    """Split inputs into batches of at most `size` rows."""
    return list(rows.split(size))


def pixels_of(model: DualEncoder, parts: Sequence[Pairs], tick: Callable[[str], None] = lambda _: None) -> Tensor:
    """Load and preprocess all pictures of several sets: [n, 3, H, W]."""
    blocks = []
    for pairs in parts:
        tick(f"loading {len(pairs)} pictures")
        blocks.append(model.preprocess(pairs.load()))
    return torch.cat(blocks)


@torch.no_grad()
def embed(model: DualEncoder, tower: Tower, inputs: Tensor, size: int = 128) -> Tensor:
    """Return embeddings of all inputs of one tower, in batches."""
    encode = model.encode_image if tower is Tower.VISION else model.encode_text
    return torch.cat([encode(chunk) for chunk in chunked(inputs, size)])
