"""The evaluation of a CLIP: pictures and texts of the evaluation set, loaded once, under whatever weights it
holds. A tower that holds what it held before is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from razor_cli.contract.family import Say
from razor_cli.contract.place import Key
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.components import tower_of
from razor_cli.dual.gallery import Gallery, embed
from razor_cli.dual.measures import Features
from razor_cli.dual.pixels import pixels_of
from razor_cli.dual.view import DualEncoder, Tower
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.engine.lab import surroundings
from razor_cli.engine.taken_over import TakenOver
from razor_cli.families.clip.oracle import WHOLE
from razor_cli.families.clip.pictures import draw
from razor_cli.families.clip.reference import Reference, reference
from razor_cli.families.clip.settings import Metrics
from razor_cli.families.clip.suite import score_state
from razor_cli.metrics.score import Score
from razor_cli.weights.live import live_hash

BASE, EDIT = ("base", "none"), ("edit", "none")
SIGMOID_NOTE = (
    "trained with the sigmoid loss: M1 and M4 against the mean prompt say nothing, generic and multiclass do "
    "(docs/metrics.md)"
)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one state did on each picture, and, where they are kept, the embeddings behind it."""

    reference: Reference
    features: Features | None = None


@dataclass(kw_only=True)
class ClipExam:
    """Measures whatever weights the model holds on the evaluation set, the forget pictures as `members`."""

    model: DualEncoder
    sets: ConceptSets
    settings: Metrics = field(default_factory=Metrics)
    cache: TensorCache | None = None
    say: Say = lambda _: None

    def __post_init__(self) -> None:
        members: Pairs = self.sets.forget
        self.gallery = Gallery(sets=self.sets, judged=self.sets.evaluation, suites=True, members=members)
        self.pixels = pixels_of(self.model, self.gallery.parts(), self.say)
        self.tokens = self.model.tokenize(self.gallery.texts)
        model = self.model
        self.known = TakenOver[Tensor](model.module, lambda: (model.image_features, model.text_features))

    @property
    def notes(self) -> Sequence[str]:
        """Return which of the scores say nothing of this model."""
        return () if self.model.bias is None else (SIGMOID_NOTE,)

    @torch.no_grad()
    def embeddings(self, tower: Tower) -> Tensor:
        """Return the embeddings [n, d] of all pictures, or of all texts, under the weights as they are."""
        return embed(self.model, tower, self.pixels if tower is Tower.VISION else self.tokens).cpu()

    def measure(self, key: Mapping[str, object] | None, *, keep: bool = False) -> Answers:
        """Return what the weights as they are now do on each picture. What a tower gave under these very
        weights is taken over from an earlier state; for weights that `key` names also from the cache.
        """
        images, texts = (self._taken_over(tower, key) for tower in (Tower.VISION, Tower.TEXT))
        features = self.gallery.features(images, texts, self.model.scale)
        return Answers(reference=reference(features), features=features if keep else None)

    def forget(self) -> None:
        """Take nothing over from the states measured so far."""
        self.known.forget()

    def _taken_over(self, tower: Tower, key: Mapping[str, object] | None) -> Tensor:
        held = live_hash(self.model.module, lambda name: tower_of(name) is tower)

        def compute() -> Tensor:
            if self.cache is None or key is None:
                return self.embeddings(tower)
            asked: object = self.gallery.texts
            if tower is Tower.VISION:
                asked = [p.fingerprint() for p in self.gallery.parts()]
            own = {"tower": tower, "held": held, "asked": asked}
            found, _ = self.cache.get(
                content_key(surroundings(key) | own), lambda: {tower: self.embeddings(tower)}
            )
            return found[tower]

        return self.known.get(f"{tower} {held}", compute)

    def scores(self, found: Mapping[Key, Answers], seed: int) -> dict[Key, list[Score]]:
        """Return the scores of every state and quantization against base, quantized base, oracle, and itself
        in full precision.
        """
        known = {key: answers.reference for key, answers in found.items()}
        from_base = any(state in WHOLE for state, _ in known)
        scores = {}
        for (state, scheme), now in known.items():
            quantized = scheme != "none"
            scores[(state, scheme)] = score_state(
                now,
                self.settings,
                base=known[BASE],
                base_q=known.get(("base", scheme)) if quantized else None,
                edit=known.get((state, "none")) if quantized and state != "base" else None,
                oracle=known.get(("oracle", "none")),
                from_base=from_base,
                seed=seed,
            )
        return scores

    def draw(self, folder: Path, found: Mapping[Key, Answers]) -> None:
        """Write the pictures of base and edit in full precision: similarity.png, cosines.png, cosines.csv."""
        before, after = found[BASE].features, found[EDIT].features
        if before is not None and after is not None:
            draw(folder, self.sets, before, after)
