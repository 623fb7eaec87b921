"""How Tan & Gong's methods train: batches, templates, the frozen reference, and accuracy counted
on the way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.contract.family import Named
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.desk import Desk
from razor_cli.dual.heads import JOINT_LIMIT, Head
from razor_cli.engine.lab import Lab
from razor_cli.engine.objective import Objective, Step
from razor_cli.errors import ConfigError, DataError
from razor_cli.methods.tracing_lesson import Lesson, Level, RetainSignal, Taught


class Tutor(Objective):
    """Draws batches and templates, holds the features of the frozen model, and counts accuracy while
    training.
    """

    def __init__(self, method: Taught, lab: Lab) -> None:
        self.method, self.desk = method, Desk(lab, method)
        sets: ConceptSets = lab.sets
        self.coarse = signal_of(method, sets) is RetainSignal.COARSE
        self.fine = self.desk.fine if sets.taxonomy else self.desk.classes
        self.forgotten = len(sets.forget_names)
        if len(self.fine) <= self.forgotten:
            raise ConfigError(
                "method: Tan & Gong's losses need a class that stays in the label space",
                found=f"{len(self.fine)} classes, {self.forgotten} of them to be forgotten",
                fix="name more classes: data.class_names=[...]",
            )
        self.own = own_classes(self.desk.forget.labels, sets)
        self.labels = method.assigned(self.own, len(self.fine), lab.generator())
        self.signal = method.uses_signal or method.alpha_coarse > 0
        if self.coarse and self.signal:
            self.parents = self._parents(sets)
        self.hits: list[Tensor] = []
        self.label_hits: list[Tensor] = []
        self.anchored = method.uses_reference or method.alpha_coarse > 0 or method.alpha_fine > 0
        if self.anchored:
            self._freeze()

    def _parents(self, sets: ConceptSets) -> Tensor:
        assert sets.taxonomy is not None
        names = sets.taxonomy.coarse_names
        return torch.tensor(
            [names.index(sets.taxonomy.parents[sets.class_names[c]]) for c in self.own.tolist()],
            dtype=torch.long,
        )

    @torch.no_grad()
    def _freeze(self) -> None:
        """Keep pictures' and names' embeddings at theta_0; names are means over all templates."""
        desk = self.desk
        self.scale = desk.scale.detach().clone()
        self.forget_images, self.fine_names = desk.forget.embedded(), averaged(self.fine)
        if self.signal and self.coarse:
            self.kept_names = averaged(desk.coarse)
        elif self.signal:
            self.retain_images, self.kept_names = desk.retain.embedded(), averaged(desk.joint.head)

    def epoch(self, number: int, generator: torch.Generator) -> list[Step]:
        """Walk once through the forget pictures; each step draws a template, and as many retain pictures if
        they are needed.
        """
        self.hits, self.label_hits = [], []
        forget = self.desk.forget.shuffled(self.method.batch, generator)
        retain = [torch.empty(0, dtype=torch.long)] * len(forget)
        if self.signal and not self.coarse:
            retain = _cycled(
                len(self.desk.retain), [len(i) for i in forget], generator, self.method.retain_sample
            )
        templates = self.fine.templates(len(forget), generator)
        return [self._step(f, r, t) for f, r, t in zip(forget, retain, templates, strict=True)]

    def _step(self, forget: Tensor, retain: Tensor, template: int) -> Step:
        return Step(loss=lambda: self._loss(forget, retain, template), pictures=len(forget) + len(retain))

    def _loss(self, forget: Tensor, retain: Tensor, template: int) -> Tensor:
        lesson = self.lesson(forget, retain, template)
        predicted, own = (
            lesson.fine.logits.detach().argmax(dim=-1),
            self.own[forget].to(lesson.fine.logits.device),
        )
        self.hits.append((predicted == own).float())
        self.label_hits.append((predicted == lesson.fine.labels).float())
        return self.method.loss(lesson, own)

    def lesson(self, forget: Tensor, retain: Tensor, template: int) -> Lesson:
        """Return what the loss sees of the forget pictures `forget` and the retain pictures `retain`, as row
        numbers.
        """
        desk = self.desk
        images = desk.encode_image(desk.forget.pixels(forget))
        signal, names = None, None
        if self.signal and self.coarse:
            signal = Level(
                logits=desk.coarse.logits(images, template),
                labels=self.parents[forget].to(images.device),
                frozen=self._frozen(self.forget_images[forget], self.kept_names) if self.anchored else None,
            )
        elif self.signal:
            signal, names = self._retained(retain)
        if names is not None and self.fine is desk.classes:  # their prompts are encoded already
            logits = desk.scale * images @ names[: len(self.fine)].T
        else:
            logits = self.fine.logits(images, template)
        fine = Level(
            logits=logits,
            labels=self.labels[forget].to(images.device),
            frozen=self._frozen(self.forget_images[forget], self.fine_names) if self.anchored else None,
        )
        return Lesson(fine=fine, signal=signal, forgotten=self.forgotten)

    def _retained(self, index: Tensor) -> tuple[Level, Tensor]:
        """Return retain pictures over their own prompts, and those prompts' embeddings, class prompts first.

        Of a large space, only the class prompts and those of the batch take part.
        """
        desk, joint = self.desk, self.desk.joint
        images, labels = desk.encode_image(desk.retain.pixels(index)), joint.labels[index]
        used = torch.arange(len(joint))
        if len(joint) > JOINT_LIMIT:
            used = torch.cat([used[: joint.classes], labels[labels >= joint.classes].unique()])
        names = joint.head.features()[used] if joint.head.fixed else desk.encode_text(joint.head.tokens[used])
        level = Level(
            logits=desk.scale * images @ names.T,
            labels=torch.searchsorted(used, labels).to(images.device),
            frozen=self._frozen(self.retain_images[index], self.kept_names[used]) if self.anchored else None,
        )
        return level, names

    def _frozen(self, images: Tensor, names: Tensor) -> Tensor:
        return self.scale * images @ names.T

    def measured(self, number: int) -> dict[str, float]:
        """Return the accuracy of the epoch's own steps: on the true classes, and on the labels trained on, in
        %.
        """
        found = {"forget_accuracy": self.hits} if self.method.counts_forgetting else {}
        found |= {"label_accuracy": self.label_hits} if self.method.labels_kept else {}
        return {name: 100 * float(torch.cat(hits).mean()) for name, hits in found.items()}

    def finish(self, before: Named, trained: Named) -> Named:
        """Return what the method makes of the trained values."""
        return self.method.finish(before, trained)


@torch.no_grad()
def averaged(head: Head) -> Tensor:
    """Return class embeddings [k, d], normalised means over all templates, at the weights as they are now, in
    bounded memory.
    """
    rows = head.rows().split(head.counts)
    return F.normalize(torch.stack([part.mean(dim=0) for part in rows]), dim=-1)


def signal_of(method: Taught, sets: ConceptSets) -> RetainSignal:
    """Return the retain signal that these sets allow. Raises ConfigError when coarse names are asked for
    without a taxonomy.
    """
    if method.retain_signal is RetainSignal.AUTO:
        return RetainSignal.COARSE if sets.taxonomy else RetainSignal.RETAIN_SET
    if method.retain_signal is RetainSignal.COARSE and sets.taxonomy is None:
        raise ConfigError(
            "method.retain_signal=coarse needs a taxonomy, which these sets do not have",
            allowed="auto, retain_set",
            fix="scenario=fine_grained, or method.retain_signal=auto",
        )
    return method.retain_signal


def own_classes(labels: Tensor, sets: ConceptSets) -> Tensor:
    """Return the class number of each forget picture [n]; with one concept to forget, all show it.

    Raises DataError for a forget picture of a group that shows none of its concepts.
    """
    if len(sets.forget_names) == 1:
        return torch.zeros_like(labels)
    strangers = [
        sets.forget.pictures[i].key
        for i in ((labels < 0) | (labels >= len(sets.forget_names))).nonzero()[:, 0].tolist()
    ]
    if strangers:
        raise DataError(
            "forget pictures show none of the concepts that go",
            found=", ".join(strangers[:3]),
            allowed=", ".join(sets.forget_names),
        )
    return labels


def _cycled(count: int, sizes: list[int], generator: torch.Generator, sample: int | None) -> list[Tensor]:
    """Return row numbers of batches of the given sizes, walking through `count` rows in a drawn order again
    and again.

    `sample` limits the walk to so many rows, drawn anew at each call. Raises DataError when there is no row.
    """
    if not sizes:
        return []
    if not count:
        raise DataError(
            "the retain signal needs retain pictures",
            fix="data.retain_root=DIR, or a method without a retain term",
        )
    pool, needed = torch.randperm(count, generator=generator)[:sample], sum(sizes)
    orders = [pool] + [
        pool[torch.randperm(len(pool), generator=generator)] for _ in range(needed // len(pool))
    ]
    return list(torch.cat(orders)[:needed].split(sizes))
