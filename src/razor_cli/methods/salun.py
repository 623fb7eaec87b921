"""SalUn: unlearn through the weights that matter most to the forget pictures (Fan et al., ICLR 2024).

Reference code OPTML-Group/Unlearn-Saliency; the port of SLUG's published code as a preset. Tan & Gong's is
methods/salun_tan.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from razor_cli.dual.choices import Ascended
from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.train_settings import Trained, trained_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from razor_cli.contract.edit import Edit
    from razor_cli.contract.family import Named
    from razor_cli.dual.desk import Desk
    from razor_cli.engine.lab import Lab


class Inner(StrEnum):
    """What is done under the mask: random labels, then true ones on retain pictures; or GAFT
    (SLUG's port).
    """

    RELABEL = "relabel"
    GAFT = "gaft"


class MaskOn(StrEnum):
    """In which passes weights outside the mask stay."""

    BOTH = "both"
    FORGET = "forget"


class MaskLoss(StrEnum):
    """Whose gradient ranks the weights."""

    CE = "ce"
    COSINE = "cosine"


@dataclass(frozen=True, kw_only=True)
class Salun(Trained):
    """Hyper-parameters of SalUn; each knob is explained in conf/method/salun/clip.yaml."""

    name: str = "salun"  # label in tables and folder of the runs
    mask_fraction: float = 0.5
    mask_loss: MaskLoss = MaskLoss.CE
    mask_on: MaskOn = MaskOn.BOTH
    inner: Inner = Inner.RELABEL
    exclude_true: bool = True
    redraw: bool = True
    retain_pass: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"mask_fraction": (0, 1)})

    def edit(self, lab: Lab) -> Edit:
        """Mask all but the most salient weights, then unlearn with what is left."""
        from razor_cli.dual.desk import Desk
        from razor_cli.dual.mask import saliency_mask, told
        from razor_cli.dual.steps import forget_loss
        from razor_cli.engine.train import train

        with lab.timed():
            desk = Desk(lab, self)
            names = (
                trained_names(lab.family, self) if len(lab.sets.forget) and self.lr and self.epochs else []
            )
            kind = Ascended.COSINE if self.mask_loss is MaskLoss.COSINE else Ascended.CLASSIFIER_CE
            masks = saliency_mask(desk, names, self.batch, forget_loss(desk, kind), self.mask_fraction)
            edit = train(lab, self, Masked(desk, self, masks))
        edit.notes.append(told(masks))
        return edit


class Masked(Objective):
    """A forget pass and a retain pass an epoch; weights outside the mask are put back after each step,
    momentum too.
    """

    def __init__(self, desk: Desk, method: Salun, masks: Named) -> None:
        from razor_cli.dual.mask import Mask

        self.desk, self.method, self.mask = desk, method, Mask(masks, memory=method.mask_on is MaskOn.BOTH)
        self.fixed = None if method.redraw else self._labels(desk.lab.generator())
        self.forgetting = False
        self.right = self.seen = 0

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return forget steps (relabel or ascent), then retain steps (true labels or InfoNCE)."""
        from razor_cli.dual.steps import forget_steps, retain_steps

        self.right = self.seen = 0
        method, desk = self.method, self.desk
        if not len(desk.forget):
            return []
        if method.inner is Inner.GAFT:
            forget = forget_steps(desk, method.batch, Ascended.COSINE, generator)
            retain = retain_steps(desk, method, generator) if method.retain_pass else []
        else:
            labels = self.fixed if self.fixed is not None else self._labels(generator)
            forget = [self._relabelled(i, labels[i]) for i in desk.forget.shuffled(method.batch, generator)]
            kept = (
                desk.retain.shuffled(method.batch, generator, method.retain_sample)
                if method.retain_pass
                else []
            )
            retain = [self._classified(i) for i in kept]
        return [*(self._marked(s, True) for s in forget), *(self._marked(s, False) for s in retain)]

    def _labels(self, generator: torch.Generator) -> Tensor:
        return random_labels(
            self.desk.forget.labels, len(self.desk.classes), self.method.exclude_true, generator
        )

    def _marked(self, step: Step, forgetting: bool) -> Step:
        def loss() -> Tensor:
            self.forgetting = forgetting
            return step.loss()

        return Step(loss=loss, pictures=step.pictures, forwards=step.forwards)

    def _relabelled(self, index: Tensor, labels: Tensor) -> Step:
        from razor_cli.dual.losses import assigned_cross_entropy

        def loss() -> Tensor:
            logits = self.desk.classes.logits(self.desk.encode_image(self.desk.forget.pixels(index)))
            wanted = labels.to(logits.device)
            self.right += int((logits.argmax(dim=-1) == wanted).sum())
            self.seen += len(wanted)
            return assigned_cross_entropy(logits, wanted)

        return Step(loss=loss, pictures=len(index))

    def _classified(self, index: Tensor) -> Step:
        from razor_cli.dual.losses import assigned_cross_entropy

        def loss() -> Tensor:
            images = self.desk.encode_image(self.desk.retain.pixels(index))
            return assigned_cross_entropy(*self.desk.joint.logits(images, index))

        return Step(loss=loss, pictures=len(index))

    @property
    def _masking(self) -> bool:
        return self.forgetting or self.method.mask_on is MaskOn.BOTH

    def before_step(self, params: Named) -> None:
        """Mask gradients where this pass is masked."""
        if self._masking:
            self.mask.before(params)

    def after_step(self, params: Named, optimizer: torch.optim.Optimizer) -> None:
        """Put weights outside the mask back where this pass is masked."""
        if self._masking:
            self.mask.after(params, optimizer)

    def measured(self, number: int) -> dict[str, float]:
        """Return how often a forget picture was recognised as its assigned label while training."""
        return {"label_accuracy": 100 * self.right / self.seen} if self.seen else {}


def random_labels(true: Tensor, classes: int, exclude_true: bool, generator: torch.Generator) -> Tensor:
    """Return a random class for each picture [n], uniform over all classes, or over all but its own."""
    import torch

    if not exclude_true or classes < 2:
        return torch.randint(classes, true.shape, generator=generator)
    return (true + torch.randint(1, classes, true.shape, generator=generator)) % classes
