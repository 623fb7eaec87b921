"""Full evaluation of a model's states on the evaluation set, each under each quantization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.engine.features import Gallery, embed, pixels_of
from razor_cli.engine.lab import ENGINE
from razor_cli.metrics.clip import Features, Reference, reference
from razor_cli.metrics.score import Score
from razor_cli.metrics.suite import Metrics, score_state
from razor_cli.models.base import Tower, swapped
from razor_cli.models.dual import Clip
from razor_cli.quantization import Quantization, quantized
from razor_cli.quantization_scope import quantized_names

Key = tuple[str, str]  # (state, quantization)


@dataclass(kw_only=True)
class Evaluator:
    """Pictures and texts of the evaluation set, loaded once; measures whatever weights the model holds."""

    model: Clip
    sets: ConceptSets
    members: Pairs | None = None
    cache: TensorCache | None = None
    say: Callable[[str], None] = lambda _: None
    features: dict[Key, Features] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.gallery = Gallery(sets=self.sets, judged=self.sets.evaluation, suites=True, members=self.members)
        self.pixels = pixels_of(self.model, self.gallery.parts(), self.say)
        self.tokens = self.model.tokenize(self.gallery.texts)

    @torch.no_grad()
    def embeddings(self) -> dict[str, Tensor]:
        """Return the embeddings of all pictures and all texts under the weights as they are now."""
        images, texts = embed(self.model, Tower.VISION, self.pixels), embed(self.model, Tower.TEXT, self.tokens)
        return {"images": images.cpu(), "texts": texts.cpu()}

    def measure(self, base_key: str | None = None) -> Features:
        """Lay out the embeddings; those of the unedited model come from the cache where it has them."""
        found = self.cache.get(base_key, self.embeddings)[0] if self.cache and base_key else self.embeddings()
        return self.gallery.features(found["images"], found["texts"])

    def _base_key(self, scheme: str, settings: Quantization, edited: Sequence[str]) -> str:
        """Return what the unedited model's embeddings depend on; the edit does, if it widens what is quantized."""
        names: list[str] = []
        if scheme != "none":
            names = quantized_names(
                self.model, edited, settings.scope, patch_conv=settings.patch_conv, projections=settings.projections
            )
        return content_key(
            {
                "engine": ENGINE, "torch": torch.__version__, "device": self.model.device, "weights": self.model.weights_hash(),
                "pictures": [p.fingerprint() for p in self.gallery.parts()], "texts": self.gallery.texts, "scheme": scheme,
                "settings": vars(settings) if scheme != "none" else None, "names": names,
            }
        )  # fmt: skip

    def states(
        self, changes: Mapping[str, Mapping[str, Tensor]], schemes: Sequence[str], settings: Quantization
    ) -> Iterator[tuple[Key, Reference]]:
        """Yield every (state, scheme) with what the model did there.

        `changes` maps a state to the tensors it changes; every state quantizes the same tensors, those that any state changes
        included. Each state starts from the full-precision weights: apply first, then quantize.
        """
        edited = sorted({name for values in changes.values() for name in values})
        for scheme in schemes:
            for state, values in changes.items():
                self.say(f"evaluating {state}" + (f" at {scheme}" if scheme != "none" else ""))
                with ExitStack() as stack:
                    stack.enter_context(swapped(self.model, values))
                    stack.enter_context(quantized(self.model, scheme, settings, edited))
                    found = self.measure(self._base_key(scheme, settings, edited) if state == "base" else None)
                if scheme == "none":
                    self.features[(state, scheme)] = found
                yield (state, scheme), reference(found)


def score_all(found: Mapping[Key, Reference], settings: Metrics, seed: int) -> dict[Key, list[Score]]:
    """Return the scores of every state and scheme against the base, the quantized base, and the state in full precision."""
    base = found[("base", "none")]
    scores = {}
    for (state, scheme), now in found.items():
        full = found.get((state, "none")) if scheme != "none" and state != "base" else None
        base_q = found.get(("base", scheme)) if scheme != "none" else None
        scores[(state, scheme)] = score_state(now, settings, base=base, base_q=base_q, edit=full, seed=seed)
    return scores
