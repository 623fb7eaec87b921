"""What Tan & Gong's methods share: logits on two levels, the frozen reference, the retain signal (arXiv
2506.11253, 4.1).

A method's own file holds its hyper-parameters and its forgetting loss. The regularisers, alpha_coarse KL_c +
alpha_fine KL_f, can be added to each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.contract.method import Edit
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.desk import CHUNK, JOINT_LIMIT, Desk, Head
from razor_cli.dual.gradients import Named
from razor_cli.dual.losses_tracing import FineMask, KlReduction, fine_kl, reference_kl
from razor_cli.engine.lab import Lab
from razor_cli.engine.train import Objective, Step, Trained, train
from razor_cli.errors import ConfigError, DataError
from razor_cli.families.clip.family import Clip


class RetainSignal(StrEnum):
    """What says what must stay."""

    AUTO = "auto"  # coarse with a taxonomy, else retain_set
    COARSE = "coarse"  # parents of the forget pictures (the paper: there is no retain set)
    RETAIN_SET = "retain_set"  # retain pictures and their own prompts


@dataclass(frozen=True, kw_only=True)
class Level:
    """Logits [n, C] of some pictures over one list of names, their labels [n], and, if anchored, the same
    logits at theta_0.
    """

    logits: Tensor
    labels: Tensor
    frozen: Tensor | None = None

    @property
    def reference(self) -> Tensor:
        """Return the frozen logits."""
        if self.frozen is None:
            raise RuntimeError("the method did not say that it looks at the frozen model")
        return self.frozen


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What the loss of one step sees. `fine`: forget pictures over all class names, of which the first
    `forgotten` go.
    """

    fine: Level
    forgotten: int
    signal: Level | None = None  # coarse names, or retain pictures over their prompts

    @property
    def kept(self) -> Level:
        """Return the retain signal."""
        if self.signal is None:
            raise RuntimeError("the method did not say that it needs the retain signal")
        return self.signal


@dataclass(frozen=True, kw_only=True)
class Tracing(Trained):
    """Hyper-parameters of all of Tan & Gong's methods; each knob is explained in the presets.

    Raises ConfigError for a value out of range, with its full key.
    """

    uses_signal: ClassVar[bool] = False  # whether the forgetting loss holds a retain term
    uses_reference: ClassVar[bool] = False  # whether the forgetting loss looks at the frozen model
    labels_kept: ClassVar[bool] = (
        False  # whether training fits the labels, so that their accuracy can choose the epoch
    )
    counts_forgetting: ClassVar[bool] = True  # whether accuracy while training says how much is forgotten

    retain_signal: RetainSignal = RetainSignal.AUTO
    alpha_coarse: float = 0.0
    alpha_fine: float = 0.0
    kl_reduction: KlReduction = KlReduction.NUMEL
    kl_fine_mask: FineMask = FineMask.OWN_LABEL

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"alpha_coarse": (0, math.inf), "alpha_fine": (0, math.inf)})

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return the method's own loss, to be minimised."""
        raise NotImplementedError

    def assigned(self, labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
        """Return the labels [n] that forget pictures of classes `labels` train on: their own, unless a method
        assigns others.
        """
        return labels

    def finish(self, before: Named, trained: Named) -> Named:
        """Return the edited values from the unedited and the trained ones."""
        return trained

    def loss(self, lesson: Lesson, own: Tensor) -> Tensor:
        """Return the forgetting loss and the regularisers (eq. 5); `own` [n] are the true classes of the
        forget pictures.
        """
        total = self.forgetting(lesson)
        if self.alpha_coarse:
            total = total + self.alpha_coarse * reference_kl(
                lesson.kept.logits, lesson.kept.reference, self.kl_reduction
            )
        if self.alpha_fine:
            fine = fine_kl(
                lesson.fine.logits,
                lesson.fine.reference,
                own,
                forgotten=lesson.forgotten,
                mask=self.kl_fine_mask,
                reduction=self.kl_reduction,
            )
            total = total + self.alpha_fine * fine
        return total

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Train on the loss and return the edit of the epoch that `keep` names; without forget pictures
        nothing changes.
        """
        with lab.timed():
            return train(model, sets, lab, self, Tutor(self, model, sets, lab))


class Tutor(Objective):
    """Draws batches and templates, holds the features of the frozen model, and counts accuracy while
    training.
    """

    def __init__(self, method: Tracing, model: Clip, sets: ConceptSets, lab: Lab) -> None:
        self.method, self.desk = method, Desk(model, sets, lab, method)
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
    rows = torch.cat([head.desk.encode_text(part) for part in head.tokens.split(CHUNK)])
    return F.normalize(torch.stack([part.mean(dim=0) for part in rows.split(head.counts)]), dim=-1)


def signal_of(method: Tracing, sets: ConceptSets) -> RetainSignal:
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
