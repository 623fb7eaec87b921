"""Settings of CA, and what follows from them alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from razor_cli.contract.family import DENOISER
from razor_cli.engine.choices import Schedule
from razor_cli.engine.train_settings import Optimised
from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.choices import LearntFrom, SampledBy
from razor_cli.methods.diffusion.wording import check_templates

if TYPE_CHECKING:
    from razor_cli.contract.family import Family
    from razor_cli.families.diffusion.family import Diffusion


@dataclass(frozen=True, kw_only=True)
class CaSettings(Optimised):
    """Hyper-parameters of CA; each knob is explained in conf/method/ca.yaml. It looks at no picture but the
    model's own, and at no validation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({DENOISER})

    name: str = "ca"  # label in tables and folder of the runs
    group: str = "xattn_kv"  # parameters that train
    prompts: dict[str, list[str]] = field(default_factory=dict)  # kind -> templates; none: the sets' own
    anchor: str | None = None  # None: the anchor of the sets
    pictures: int = 200  # of the anchor's prompts
    sampler_steps: int = 50
    guidance: float = 6.0
    learnt: LearntFrom = LearntFrom.MODEL
    anchor_by: SampledBy = SampledBy.STUDENT
    anchor_weight: float = 0.0  # of the denoising loss on the anchor's pictures under their own prompts
    steps: int = 20  # of the optimiser, in each epoch
    weight_decay: float = 0.01
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps_opt: float = 1e-8
    schedule: Schedule = Schedule.CONST
    batch: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_templates("prompts", self.prompts)
        self.check_ranges(
            {
                "pictures": (1, 100_000),
                "sampler_steps": (1, 1000),
                "guidance": (0, 1000),
                "anchor_weight": (0, 1000),
                "steps": (1, 100_000),
            }
        )
        if not math.isfinite(self.lr * self.epochs * self.steps):
            raise ConfigError("method.lr: the training would not end in numbers", found=self.lr)

    def trained(self, family: Family) -> list[str]:
        """Return the parameters of the group."""
        return cast("Diffusion", family).groups(self.group)
