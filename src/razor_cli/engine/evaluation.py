"""Full evaluation of a model's states on the evaluation set, each under each quantization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from razor_cli.contract.components import Tower, swapped
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.gallery import Gallery, embed, pixels_of
from razor_cli.dual.measures import Features, Reference, reference
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.engine.lab import ENGINE
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.oracle import WHOLE
from razor_cli.families.clip.suite import Metrics, score_state
from razor_cli.metrics.score import Score
from razor_cli.weights.quantization import Quantization, quantized
from razor_cli.weights.scope import quantized_names

Key = tuple[str, str]  # (state, quantization)


@dataclass(kw_only=True)
class Evaluator:
    """Pictures and texts of the evaluation set, loaded once; measures whatever weights the model holds."""

    model: Clip
    sets: ConceptSets
    members: Pairs | None = None
    cache: TensorCache | None = None
    hashes: Mapping[str, str] = field(
        default_factory=dict
    )  # of states that are other models: what the cache knows them by
    say: Callable[[str], None] = lambda _: None
    features: dict[Key, Features] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.gallery = Gallery(sets=self.sets, judged=self.sets.evaluation, suites=True, members=self.members)
        self.pixels = pixels_of(self.model, self.gallery.parts(), self.say)
        self.tokens = self.model.tokenize(self.gallery.texts)

    @torch.no_grad()
    def embeddings(self) -> dict[str, Tensor]:
        """Return the embeddings of all pictures and all texts under the weights as they are now."""
        images, texts = (
            embed(self.model, Tower.VISION, self.pixels),
            embed(self.model, Tower.TEXT, self.tokens),
        )
        return {"images": images.cpu(), "texts": texts.cpu()}

    def measure(self, key: str | None = None) -> Features:
        """Lay out the embeddings; those of a model as its file has it come from the cache where
        it has them.
        """
        found = self.cache.get(key, self.embeddings)[0] if self.cache and key else self.embeddings()
        return self.gallery.features(found["images"], found["texts"], self.model.scale)

    def _key(self, state: str, scheme: str, settings: Quantization, edited: Sequence[str]) -> str | None:
        """Return what a whole model's embeddings depend on; the edit does, if it widens what is quantized.
        None for an edit.
        """
        weights = self.model.weights_hash() if state == "base" else self.hashes.get(state)
        if weights is None:
            return None
        names: list[str] = []
        if scheme != "none":
            names = quantized_names(
                self.model,
                edited,
                settings.scope,
                patch_conv=settings.patch_conv,
                projections=settings.projections,
            )
        return content_key(
            {
                "engine": ENGINE,
                "torch": torch.__version__,
                "device": self.model.device,
                "weights": weights,
                "pictures": [p.fingerprint() for p in self.gallery.parts()],
                "texts": self.gallery.texts,
                "scheme": scheme,
                "settings": vars(settings) if scheme != "none" else None,
                "names": names,
            }
        )

    def states(
        self, changes: Mapping[str, Mapping[str, Tensor]], schemes: Sequence[str], settings: Quantization
    ) -> Iterator[tuple[Key, Reference]]:
        """Yield every (state, scheme) with what the model did there.

        `changes` maps a state to the tensors it changes; every state quantizes the same tensors, those that
        any state changes included, but for oracle and reseeded, which change all. Each state starts from the
        full-precision weights: apply first, then quantize.
        """
        edited = sorted({name for state, values in changes.items() if state not in WHOLE for name in values})
        for scheme in schemes:
            for state, values in changes.items():
                self.say(f"evaluating {state}" + (f" at {scheme}" if scheme != "none" else ""))
                with ExitStack() as stack:
                    stack.enter_context(swapped(self.model, values))
                    stack.enter_context(quantized(self.model, scheme, settings, edited))
                    found = self.measure(self._key(state, scheme, settings, edited))
                if scheme == "none":
                    self.features[(state, scheme)] = found
                yield (state, scheme), reference(found)


def score_all(found: Mapping[Key, Reference], settings: Metrics, seed: int) -> dict[Key, list[Score]]:
    """Return the scores of every state and scheme against base, quantized base, oracle, and itself in full
    precision.
    """
    base, oracle = found[("base", "none")], found.get(("oracle", "none"))
    from_base = any(state in WHOLE for state, _ in found)
    scores = {}
    for (state, scheme), now in found.items():
        full = found.get((state, "none")) if scheme != "none" and state != "base" else None
        base_q = found.get(("base", scheme)) if scheme != "none" else None
        scores[(state, scheme)] = score_state(
            now, settings, base=base, base_q=base_q, edit=full, oracle=oracle, from_base=from_base, seed=seed
        )
    return scores
