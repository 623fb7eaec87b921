"""SSD: selective synaptic dampening (Foster et al., AAAI 2024; reference code
if-loops/selective-synaptic-dampening).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from razor_cli.config.schema import INFINITE
from razor_cli.contract.choices import Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.family import BOARD, CLASSES, DUAL
from razor_cli.engine.choices import Precision
from razor_cli.engine.train_settings import SCALE, Training, trained_names
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.contract.family import Named
    from razor_cli.dual.desk import Desk
    from razor_cli.dual.samples import Drawn, Samples
    from razor_cli.engine.lab import Lab


class Fisher(StrEnum):
    """What is squared: the gradient of a batch's mean loss (reference code), or that of each picture
    (diagonal Fisher).
    """

    BATCH_SQ = "batch_sq"
    PER_SAMPLE = "per_sample"


class Loss(StrEnum):
    """Whose gradient tells how much a weight matters to a set."""

    CLASSIFIER_CE = "classifier_ce"
    INFONCE = "infonce"
    COSINE = "cosine"


class Against(StrEnum):
    """What the forget importance is compared with: that of all pictures (reference code), or of retain
    pictures (SLUG's port).
    """

    FULL = "full"
    RETAIN = "retain"


@dataclass(frozen=True, kw_only=True)
class Ssd:
    """Hyper-parameters of SSD; each knob is explained in conf/method/ssd.yaml."""

    needs: ClassVar[frozenset[str]] = frozenset({BOARD, DUAL, CLASSES})
    stochastic: ClassVar[bool] = False  # batches come in the order of the sets

    name: str = "ssd"  # label in tables and folder of the runs
    # no weight is chosen by an infinite alpha, and none is changed by an infinite dampening
    alpha: float = field(default=10.0, metadata={INFINITE: True})
    dampening: float = field(default=1.0, metadata={INFINITE: True})
    fisher: Fisher = Fisher.BATCH_SQ
    loss: Loss = Loss.CLASSIFIER_CE
    against: Against = Against.FULL
    against_loss: Loss | None = None
    batch: int = 32
    train: Towers = Towers.BOTH
    exclude: list[str] = field(default_factory=lambda: [SCALE])
    precision: Precision = Precision.FP32

    def __post_init__(self) -> None:
        for name in ("alpha", "dampening"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"method.{name}: {getattr(self, name)} is out of range", allowed="0 or more"
                )
        if not 1 <= self.batch <= 65536:
            raise ConfigError(f"method.batch: {self.batch} is out of range", allowed="1 to 65536")
        size = 1 if self.fisher is Fisher.PER_SAMPLE else self.batch
        if size == 1 and Loss.INFONCE in (self.loss, self.against_loss):
            raise ConfigError(
                "method.loss=infonce needs batches: one pair has no negatives, so its gradient is 0",
                found=f"method.fisher={self.fisher.value}, method.batch={self.batch}",
                fix="method.fisher=batch_sq method.batch=32, or method.loss=classifier_ce",
            )

    def edit(self, lab: Lab) -> Edit:
        """Dampen the weights that matter more to forget pictures than to all pictures; no step is taken."""
        import torch

        from razor_cli.engine.changes import Weights
        from razor_cli.engine.train_state import rounded

        family = lab.family
        with lab.timed():
            board = lab.board  # at the unedited weights
            forget, reference = self._importances(lab)
            live = parameters(family)
            chosen = {n: selected(forget[n], reference[n], self.alpha) for n in forget}
            raw = {n: dampened(live[n], forget[n], reference[n], chosen[n], self.dampening) for n in forget}
            values = {n: v for n, v in rounded(family, raw).items() if not torch.equal(v, live[n])}
            started = time.perf_counter()
            with lab.searching(), swapped(family, values):
                after = board.rescore()
            lab.cost.evaluations += 1
            share = sum(int(m.sum()) for m in chosen.values()) / max(
                1, sum(m.numel() for m in chosen.values())
            )
            note = (
                f"dampened {100 * share:.3g} % of the weights, in {len(values)} tensors (batches of "
                f"{self._size})"
            )
        notes = [note, *self._limit(len(lab.sets.forget), len(lab.sets.retain))]
        event = Event(
            step=1,
            action="apply",
            before=dict(board.base),
            after=dict(after),
            note=note,
            seconds=time.perf_counter() - started,
        )
        stored = {n: v.to(family.storage_dtype(n)) for n, v in values.items()}
        return Edit(
            change=Weights(values=stored), components=list(stored), log=[event], cost=lab.cost, notes=notes
        )

    def _limit(self, forget: int, retain: int) -> list[str]:
        """Return a note if no weight can be chosen: I_full holds I_f itself, weighted by its share of the
        batches.
        """
        import torch

        from razor_cli.dual.samples import Samples

        batches = [len(Samples.cut(torch.arange(n), self._size)) for n in (forget, retain)]
        largest = sum(batches) / max(1, batches[0])
        if (
            self.against is not Against.FULL
            or self.against_loss not in (None, self.loss)
            or largest > self.alpha
        ):
            return []
        return [
            f"no weight can reach alpha={self.alpha:g}: with {batches[0]} forget batches among "
            f"{sum(batches)} the importance "
            f"ratio is at most {largest:.3g}; lower method.alpha, or method.against=retain"
        ]

    @property
    def _size(self) -> int:
        return 1 if self.fisher is Fisher.PER_SAMPLE else self.batch

    def _importances(self, lab: Lab) -> tuple[Named, Named]:
        """Return I_f and I_full (or I_r): per weight the mean over batches of the squared gradient of the
        batch's loss.
        """
        import torch

        from razor_cli.dual.desk import Desk
        from razor_cli.dual.importance import importance_sum

        settings = Training(train=self.train, exclude=self.exclude, precision=self.precision)
        desk, names = Desk(lab, settings), trained_names(lab.family, settings)
        started = time.perf_counter()
        count, forget = importance_sum(
            desk, names, desk.forget, self._size, loss_of(desk, desk.forget, self.loss)
        )
        if not count:  # nothing to forget
            return {}, {}
        other_loss = self.against_loss or self.loss
        others, retain = importance_sum(
            desk, names, desk.retain, self._size, loss_of(desk, desk.retain, other_loss)
        )
        if self.against is Against.FULL:
            if self.against_loss not in (None, self.loss):
                again, full = importance_sum(
                    desk, names, desk.forget, self._size, loss_of(desk, desk.forget, other_loss)
                )
            else:
                again, full = count, forget
            retain = {n: full[n] + retain[n] if others else full[n] for n in names}
            others += again
        lab.cost.gradient_seconds += time.perf_counter() - started
        reference = {n: retain[n] / others if others else torch.zeros_like(forget[n]) for n in names}
        return {n: forget[n] / count for n in names}, reference


def loss_of(desk: Desk, samples: Samples, kind: Loss) -> Callable[[Drawn], Tensor]:
    """Return the mean loss of a batch of one set; classifier cross-entropy is on true labels (retain:
    JointSpace).
    """
    from razor_cli.dual.losses import assigned_cross_entropy, contrastive, forget_cosine

    def loss(drawn: Drawn) -> Tensor:
        if kind is Loss.CLASSIFIER_CE:
            images = desk.encode_image(drawn.pixels)
            if samples is desk.retain:
                return assigned_cross_entropy(*desk.joint.logits(images, drawn.index))
            return assigned_cross_entropy(desk.classes.logits(images), drawn.labels)
        images, texts = desk.pairs(drawn)
        if kind is Loss.COSINE:
            return forget_cosine(images, texts)
        return contrastive(images, texts, desk.scale, desk.bias)

    return loss


def selected(forget: Tensor, reference: Tensor, alpha: float) -> Tensor:
    """Return where I_f > alpha * I_full; never where both are 0."""
    return (forget > alpha * reference) & (forget > 0)


def dampened(weights: Tensor, forget: Tensor, reference: Tensor, chosen: Tensor, dampening: float) -> Tensor:
    """Return min(lambda * I_full / I_f, 1) * theta where chosen, theta elsewhere: weights never grow."""
    import torch

    factor = (dampening * reference / forget.clamp_min(torch.finfo(forget.dtype).tiny)).nan_to_num(
        nan=1.0, posinf=1.0
    )
    return torch.where(chosen, weights * factor.clamp(max=1.0), weights)
