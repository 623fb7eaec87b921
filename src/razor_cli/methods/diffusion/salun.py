"""SalUn on the net of a model that draws (Fan et al., ICLR 2024; reference code OPTML-Group/Unlearn-Saliency,
folder SD, and UnlearnCanvas's copy of it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from razor_cli.engine.objective import Objective, Step
from razor_cli.methods.diffusion.relearn_settings import Relearned

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from razor_cli.contract.edit import Edit
    from razor_cli.contract.family import Named
    from razor_cli.engine.lab import Lab
    from razor_cli.methods.diffusion.captioned import CaptionLessons
    from razor_cli.methods.diffusion.relearning import Lessons


@dataclass(frozen=True, kw_only=True)
class DrawnSalun(Relearned):
    """Hyper-parameters of SalUn on a net; each knob is explained in conf/method/salun/diffusion.yaml."""

    name: str = "salun"  # label in tables and folder of the runs
    mask_fraction: float = 0.5
    mask_guidance: float = 7.5
    reference_bugs: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"mask_fraction": (0, 1), "mask_guidance": (0, 1000)})

    def edit(self, lab: Lab) -> Edit:
        """Mask all but the most salient weights, then teach those that are left."""
        from razor_cli.dual.mask import told, top_fraction
        from razor_cli.engine.train import train
        from razor_cli.methods.diffusion.relearning import Lessons

        if self.reference_bugs:
            edit = train(lab, self, Masked(Lessons(lab, replace(self, first_batch=True)), None))
            edit.notes.append("reference_bugs: no mask was applied, and each step saw the first pictures")
            return edit
        with lab.timed():
            lessons, names = Lessons(lab, self), self.trained(lab.family)
            found = lessons.summed_gradient(names, None, self.mask_guidance)
            masks = top_fraction({n: g.abs() for n, g in found.items()}, self.mask_fraction)
            edit = train(lab, self, Masked(lessons, masks))
        edit.notes.append(told(masks))
        return edit


class Masked(Objective):
    """Steps on forget and retain pictures together; weights outside the mask, where there is one, are put
    back after each of them, momentum too.
    """

    def __init__(self, lessons: Lessons | CaptionLessons, masks: Named | None) -> None:
        from razor_cli.dual.mask import Mask

        self.lessons = lessons
        self.mask = None if masks is None else Mask(masks)

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the steps of an epoch; each draws noise from the epoch's generator when it is due."""
        return [
            Step(
                loss=partial(self.loss, forget, retain, generator),
                pictures=2 * len(forget),
                forwards=len(forget),
            )
            for forget, retain in self.lessons.batches(generator)
        ]

    def loss(self, forget: Tensor, retain: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of relabelled forget pictures, and alpha times that of retain pictures."""
        relabelled = self.lessons.relabelled(forget, retain, generator)
        return relabelled + self.lessons.method.alpha * self.lessons.kept(retain, generator)

    def before_step(self, params: Named) -> None:
        """Mask gradients."""
        if self.mask is not None:
            self.mask.before(params)

    def after_step(self, params: Named, optimizer: torch.optim.Optimizer) -> None:
        """Put weights outside the mask back."""
        if self.mask is not None:
            self.mask.after(params, optimizer)
