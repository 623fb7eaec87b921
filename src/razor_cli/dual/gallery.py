"""Embeddings of judged pictures and of every text they are compared with, computed once and kept apart by
tower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sets import ConceptSets, Judged, Pairs, Suite, Taxonomy, overlap
from razor_cli.dual.measures import Features, SuiteFeatures, TracedFeatures
from razor_cli.dual.pixels import Pixels
from razor_cli.dual.view import DualEncoder, Tower
from razor_cli.engine.probe import rows_fit
from razor_cli.errors import RunError


@dataclass(kw_only=True)
class Gallery:
    """Pictures and texts of one judged set: which rows of the embeddings mean what.

    Rows of images: forget, retain, then the pictures of each suite, of the out-of-distribution test, then
    members. Rows of texts: distinct sentences. `suites`: with these, and with the two-level labels of a
    taxonomy (the full evaluation).
    """

    sets: ConceptSets
    judged: Judged
    suites: bool
    members: Pairs | None = None
    _numbers: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        sets, judged = self.sets, self.judged
        if self.members and (shared := sorted(overlap(self.members, judged.forget))):
            raise RunError(
                "data: pictures that the edit saw are judged as unseen ones", found=", ".join(shared[:5])
            )
        self.class_rows = [self._row(sets.prompts[n]) for n in sets.class_names]
        self.generic_row = self._row(sets.generic_prompt)
        self.forget_rows = [self._row(c) for c in judged.forget.captions]
        self.retain_rows = [self._row(c) for c in judged.retain.captions]
        self.own_rows = [self._row(own_prompt(p.concept, p.domain, sets)) for p in judged.retain.pictures]
        self.member_rows = [self._row(c) for c in self.members.captions] if self.members else []
        self.suite_rows = (
            {s.name: [self._row(p) for p in s.prompts] for s in sets.suites} if self.suites else {}
        )
        self.ood = sets.ood if self.suites else None
        self.levels = self._levels()

    def _row(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def _levels(self) -> dict[str, Levels]:
        """Return the label lists that pictures are traced in: `in` distribution, and out of it (`ood`)."""
        if not self.suites or self.sets.taxonomy is None:
            return {}
        found = {"in": Levels(self.sets.class_names, self.sets.taxonomy, self._row)}
        return found | (
            {"ood": Levels(self.ood.class_names, self.ood.taxonomy, self._row)} if self.ood else {}
        )

    @property
    def texts(self) -> list[str]:
        """Return the distinct sentences, in row order."""
        return list(self._numbers)

    def parts(self) -> list[Pairs]:
        """Return the picture sets in row order."""
        extra = [s.pairs for s in self.sets.suites] if self.suites else []
        extra += [self.ood.judged.forget, self.ood.judged.retain] if self.ood else []
        return [self.judged.forget, self.judged.retain, *extra, *([self.members] if self.members else [])]

    def features(self, images: Tensor, texts: Tensor, scale: float | None = None) -> Features:
        """Lay embeddings [n, d] of all pictures and [k, d] of all texts out for the metrics; `scale` is
        exp(logit_scale).
        """
        blocks = list(images.split([len(p) for p in self.parts()]))
        sets, names = self.sets, {n: i for i, n in enumerate(self.sets.class_names)}
        retain = self.judged.retain.pictures
        concepts = [names.get(p.concept, -1) if p.domain == sets.domain else -1 for p in retain]
        suites = {}
        if self.suites:
            for suite, block in zip(sets.suites, blocks[2:], strict=False):
                suites[suite.name] = SuiteFeatures(
                    block, torch.tensor(suite.labels), self._class_embeddings(suite, texts)
                )
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
            scale=scale,
            forgotten=len(sets.forget_names),
            forget_concepts=self._forgotten(self.judged.forget),
            member_concepts=self._forgotten(self.members) if self.members else None,
            traced=self._traced(blocks, texts, torch.tensor(concepts)),
        )

    def _class_embeddings(self, suite: Suite, texts: Tensor) -> Tensor:
        """Return one embedding of each class of a suite [k, d]: its prompt's, or the normalised mean of its
        prompts'.
        """
        found = texts[self.suite_rows[suite.name]]
        classes = len(suite.class_names)
        return (
            found
            if len(found) == classes
            else F.normalize(found.view(classes, -1, found.shape[-1]).mean(dim=1), dim=-1)
        )

    def _traced(
        self, blocks: Sequence[Tensor], texts: Tensor, concepts: Tensor
    ) -> Mapping[str, TracedFeatures]:
        """Return pictures with their fine labels, and the texts of both label lists."""
        found = {}
        for name, levels in self.levels.items():
            judged, forget, retain = self.judged, blocks[0], blocks[1][concepts >= 0]
            if name == "ood":
                assert self.ood is not None
                judged, first = self.ood.judged, 2 + len(self.sets.suites)
                forget, retain = blocks[first], blocks[first + 1]
            kept = [p.concept for p in judged.retain.pictures if p.domain == self.sets.domain]
            found[name] = TracedFeatures(
                forget_images=forget,
                forget_fine=levels.numbers(judged.forget.concepts),
                retain_images=retain,
                retain_fine=concepts[concepts >= 0] if name == "in" else levels.numbers(kept),
                fine_prompts=levels.averaged(texts, levels.fine_rows),
                coarse_prompts=levels.averaged(texts, levels.coarse_rows),
                parents=torch.tensor(levels.parents),
            )
        return found

    def _forgotten(self, pairs: Pairs) -> Tensor:
        """Return which of the concepts that go each picture shows [n]; with one of them there is nothing to
        look up.
        """
        names = self.sets.forget_names
        return torch.tensor([names.index(c) if len(names) > 1 else 0 for c in pairs.concepts])


class Levels:
    """A taxonomy as rows of a gallery's texts: each label's prompts over the templates, and the parent of
    each fine label.
    """

    def __init__(self, fine: Sequence[str], taxonomy: Taxonomy, row: Callable[[str], int]) -> None:
        self.fine, coarse = {n: i for i, n in enumerate(fine)}, list(taxonomy.coarse_names)
        self.fine_rows = [[row(p) for p in taxonomy.fine_prompts[n]] for n in fine]
        self.coarse_rows = [[row(p) for p in taxonomy.coarse_prompts[n]] for n in coarse]
        self.parents = [coarse.index(taxonomy.parents[n]) for n in fine]

    def numbers(self, concepts: Sequence[str]) -> Tensor:
        """Return the number of each picture's fine label [n]."""
        return torch.tensor([self.fine[c] for c in concepts], dtype=torch.long)

    @staticmethod
    def averaged(texts: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return the normalised mean over templates of normalised embeddings, one row for each
        label [k, d].
        """
        return torch.stack([F.normalize(texts[list(r)].mean(dim=0), dim=0) for r in rows])


def own_prompt(concept: str, domain: str, sets: ConceptSets) -> str:
    """Return the zero-shot prompt of a picture's own concept, whatever its domain."""
    if domain == sets.domain and concept in sets.prompts:
        return sets.prompts[concept]
    return DOMAINS[domain].zero_shot[0].format(spoken(concept, domain))


@torch.no_grad()
def embed(model: DualEncoder, tower: Tower, inputs: Pixels, size: int | None = None) -> Tensor:
    """Return embeddings of all inputs of one tower, in batches of `size`; None: as the model's budget
    allows.
    """
    size = size or at_once(model, tower, inputs)
    encode = _encoder(model, tower)
    return torch.cat([encode(chunk[:]) for chunk in inputs.split(size)])


def at_once(model: DualEncoder, tower: Tower, inputs: Pixels) -> int:
    """Return how many inputs go through a tower at once without gradients."""
    what = "pictures looked at" if tower is Tower.VISION else "texts looked at"
    return rows_fit(model.budget, what, _encoder(model, tower), inputs)


def _encoder(model: DualEncoder, tower: Tower) -> Callable[[Tensor], Tensor]:
    return model.encode_image if tower is Tower.VISION else model.encode_text
