"""The scoreboard of a step search: validation metrics of a trial model at the least cost.

Only the tower that changed is encoded, and of it only the blocks from the changed one on, from activations
kept since the last change before it. `fast=False` is the slow reference: every trial encodes every picture
and text anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from razor_cli.contract.components import Component, swapped
from razor_cli.contract.cost import Cost
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.criteria import FORGET_METRICS, Metrics, all_metrics, forget_metrics, upper_bounds
from razor_cli.dual.gallery import Gallery, at_once, embed
from razor_cli.dual.goals import GOALS
from razor_cli.dual.measures import Features, traced_hits
from razor_cli.dual.pixels import Pixels, kept_bytes, pixels_of
from razor_cli.dual.replay import run_prefix, run_suffix
from razor_cli.dual.view import DualEncoder, Tower


class DualBoard:
    """Validation pictures and texts with their committed embeddings; `trial` scores the weights as they are
    now.
    """

    notes: ClassVar[Sequence[str]] = ()

    def __init__(self, model: DualEncoder, sets: ConceptSets, cost: Cost, *, fast: bool) -> None:
        self.model, self.cost, self.fast, self.goals = model, cost, fast, GOALS
        self.gallery = Gallery(sets=sets, judged=sets.validation, suites=False)
        inputs: dict[Tower, Pixels] = {
            Tower.VISION: pixels_of(model, self.gallery.parts()),
            Tower.TEXT: model.tokenize(self.gallery.texts),
        }
        self.chunk = {tower: at_once(model, tower, rows) for tower, rows in inputs.items()}
        self.inputs = {tower: rows.split(self.chunk[tower]) for tower, rows in inputs.items()}
        self.n_forget = len(sets.validation.forget)
        pictures = self.n_forget + len(sets.validation.retain)
        chunk = self.chunk[Tower.VISION]
        self.half = min(pictures, max(self.n_forget, chunk * (-(-pictures // chunk) // 2)))
        self._labels: tuple[Gallery, Tensor] | None = None  # both label lists of a taxonomy, and their tokens
        self._saved: dict[Tower, dict[int, list[Any]]] = {Tower.VISION: {}, Tower.TEXT: {}}
        self.embedded = {tower: self._encode(tower, 0) for tower in Tower}
        self.base_util: float | None = None
        self.base = self._metrics(self.embedded)
        self.base_util = self.base["util"]
        self.current = self.base

    def trial(
        self,
        values: Mapping[str, Tensor],
        components: Sequence[Component],
        *,
        wanted: Collection[str] | None = None,
        lost: Callable[[Metrics], bool] | None = None,
    ) -> Metrics:
        """Return validation metrics with `values` in place of the named parameters of `components` (prepared
        before).

        Where all that is `wanted` can be told from forget pictures, the fast engine encodes only those.
        `lost` tells whether metrics rule a trial out; the fast engine asks it half-way, with every picture
        still to come counted as right, and returns those optimistic metrics if even they do.
        """
        self.cost.evaluations += 1
        forget_only = wanted is not None and self.fast and set(wanted) <= FORGET_METRICS
        with torch.no_grad(), swapped(self.model, values):
            if not self.fast:
                return self._metrics({t: self._encode(t, 0) for t in Tower})
            embedded, entry = dict(self.embedded), _entry(components)
            if Tower.TEXT in entry:
                embedded[Tower.TEXT] = self._encode(Tower.TEXT, entry[Tower.TEXT])
            if Tower.VISION in entry:
                first = self.n_forget if forget_only else self.half
                rows = self._encode(Tower.VISION, entry[Tower.VISION], 0, first)
                embedded[Tower.VISION] = torch.cat([rows, self.embedded[Tower.VISION][first:]])
                if not forget_only:
                    hopeful = self._optimistic(embedded) if lost else None
                    if lost and hopeful and lost(hopeful):
                        return hopeful
                    embedded[Tower.VISION] = torch.cat(
                        [rows, self._encode(Tower.VISION, entry[Tower.VISION], first)]
                    )
            return forget_metrics(self._features(embedded)) if forget_only else self._metrics(embedded)

    def _optimistic(self, embedded: Mapping[Tower, Tensor]) -> Metrics:
        """Return metrics in which only the first half of the pictures was looked at and all others count as
        right.
        """
        return {**self.base, **upper_bounds(self._features(embedded), self.half - self.n_forget)}

    def _metrics(self, embedded: Mapping[Tower, Tensor]) -> Metrics:
        return all_metrics(self._features(embedded), self.base_util)

    def commit(self, components: Sequence[Component], *, wanted: Collection[str] | None = None) -> Metrics:
        """Take the weights as they are now for granted: renew the changed towers and forget what lies behind
        the change.
        """
        for tower, layer in _entry(components).items():
            saved = self._saved[tower]
            for kept in [k for k in saved if k > layer]:
                del saved[kept]
            with torch.no_grad():
                self.embedded[tower] = self._encode(tower, layer if self.fast else 0)
        self.current = self._metrics(self.embedded)
        return self.current

    def rescore(self) -> Metrics:
        """Return validation metrics of the weights as they are now, everything encoded anew.

        With a taxonomy also accuracy by fine and coarse label: df_fine, df_coarse, dr_fine, dr_coarse.
        """
        with torch.no_grad():
            embedded = {tower: self._encode(tower, 0) for tower in Tower}
            return self._metrics(embedded) | self._traced(embedded[Tower.VISION])

    def _traced(self, images: Tensor) -> Metrics:
        """Return accuracies in % over the two label lists; their prompts are encoded here alone, as no step
        search needs them.
        """
        if self.gallery.sets.taxonomy is None:
            return {}
        if self._labels is None:
            traced = Gallery(
                sets=replace(self.gallery.sets, suites=(), ood=None), judged=self.gallery.judged, suites=True
            )
            self._labels = traced, self.model.tokenize(traced.texts)
        traced, tokens = self._labels
        texts = embed(self.model, Tower.TEXT, tokens)
        hits = traced_hits(traced.features(images.cpu(), texts.cpu()).traced["in"])
        return {name: 100 * float(h.mean()) for name, h in hits.items() if len(h)}

    def prepare(self, components: Sequence[Component]) -> None:
        """Compute the activations that enter the first changed block of each tower, with the committed
        weights in place.
        """
        for tower, layer in _entry(components).items():
            if self.fast and layer > 0 and layer not in self._saved[tower]:
                self._keep(tower, layer)

    @torch.no_grad()
    def _keep(self, tower: Tower, layer: int) -> None:
        saved = self._saved[tower]
        saved[layer] = [run_prefix(self.model, tower, chunk[:], layer) for chunk in self.inputs[tower]]
        self._count(tower, layer / len(self.model.blocks(tower)))
        while len(saved) > 1 and sum(_size(s) for s in saved.values()) > kept_bytes(self.model.budget):
            del saved[next(iter(saved))]

    @torch.no_grad()
    def _encode(self, tower: Tower, layer: int, start: int = 0, stop: int | None = None) -> Tensor:
        """Return embeddings of the inputs start:stop of a tower, from block `layer` on if its input was kept.

        Whole chunks keep their composition, so that the same weights give the same bits however a trial is
        cut.
        """
        chunks, size = self.inputs[tower], self.chunk[tower]
        total = sum(len(c) for c in chunks)
        stop = total if stop is None else min(stop, total)
        self._count(tower, (1 - layer / len(self.model.blocks(tower))) * (stop - start) / total)
        saved = self._saved[tower].get(layer) if layer > 0 else None
        if layer > 0 and saved is None:
            raise RuntimeError(f"activations entering block {layer} of the {tower} tower were not prepared")
        rows = [self.embedded[tower][:0]] if start >= stop else []
        for number, chunk in enumerate(chunks):
            low, high = max(start - number * size, 0), min(stop - number * size, len(chunk))
            if low >= high:
                continue
            if saved is None:
                rows.append(embed(self.model, tower, chunk[low:high], size))
            else:
                rows.append(run_suffix(self.model, tower, chunk[low:high], layer, saved[number][low:high]))
        return torch.cat(rows)

    def _count(self, tower: Tower, share: float) -> None:
        if tower is Tower.VISION:
            self.cost.forwards += round(share * sum(len(c) for c in self.inputs[tower]))

    def _features(self, embedded: Mapping[Tower, Tensor]) -> Features:
        return self.gallery.features(
            embedded[Tower.VISION].cpu(), embedded[Tower.TEXT].cpu()
        )  # labels are there


def _entry(components: Sequence[Component]) -> dict[Tower, int]:
    """Return the first changed block of every changed tower; 0 for what enters the first block."""
    entry: dict[Tower, int] = {}
    for component in components:
        if component.tower not in tuple(Tower):  # behind the towers: no embedding goes through it
            continue
        tower = Tower(component.tower)
        entry[tower] = min(entry.get(tower, component.layer), component.layer)
    return {tower: max(layer, 0) for tower, layer in entry.items()}


def _size(saved: list[Any]) -> int:
    return sum(s.numel() * s.element_size() for s in saved if isinstance(s, Tensor))
