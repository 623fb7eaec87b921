"""ESD: train the net away from what it says of the target (ICCV 2023; reference code rohitgandikota/erasing,
and UnlearnCanvas's copy of it).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from razor_cli.contract.family import DENOISER
from razor_cli.engine.choices import Schedule
from razor_cli.engine.train_settings import Optimised
from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.choices import NoisedAt, SampledBy
from razor_cli.methods.diffusion.wording import NAME, check_templates

if TYPE_CHECKING:
    from razor_cli.contract.family import Family
    from razor_cli.families.diffusion.family import Diffusion


@dataclass(frozen=True, kw_only=True)
class EsdSettings(Optimised):
    """Hyper-parameters of ESD; each knob is explained in conf/method/esd.yaml. It looks at no picture and at
    no validation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({DENOISER})

    name: str = "esd"  # label in tables and folder of the runs
    group: str = "xattn"  # parameters that train
    prompts: dict[str, list[str]] = field(default_factory=dict)  # kind -> templates; none: the sets' own
    erase_from: str | None = None  # a prompt, perhaps with the target's neighbour in it; None: no attribute
    eta: float = 1.0  # strength of negative guidance
    steps: int = 20  # of the optimiser, in each epoch
    sampler_steps: int = 50
    guidance: float = 3.0
    sample_with: SampledBy = SampledBy.STUDENT
    noised_at: NoisedAt = NoisedAt.BETWEEN
    weight_decay: float = 0.0  # Adam has none
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps_opt: float = 1e-8
    schedule: Schedule = Schedule.CONST
    batch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_templates("prompts", self.prompts)
        self.check_ranges(
            {
                "eta": (0, 1000),
                "steps": (1, 100_000),
                "sampler_steps": (1, 1000),
                "guidance": (0, 1000),
            }
        )
        if not math.isfinite(self.lr * self.epochs * self.steps):
            raise ConfigError("method.lr: the training would not end in numbers", found=self.lr)
        if self.erase_from is not None and NAME in self.erase_from:
            raise ConfigError(
                "method.erase_from: the prompt that keeps what it shows names no target",
                allowed="a prompt without {}, or null",
                found=self.erase_from,
            )

    def trained(self, family: Family) -> list[str]:
        """Return the parameters of the group."""
        return cast("Diffusion", family).groups(self.group)
