"""Settings of SPM, and what follows from them alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from razor_cli.contract.family import DENOISER
from razor_cli.engine.choices import Schedule
from razor_cli.engine.train_settings import Optimised, rate
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.choices import Matching
from razor_cli.methods.diffusion.choices import NoisedAt
from razor_cli.methods.diffusion.wording import check_templates

FIXED = "fixed"  # the state in which the adapter takes part under every prompt


@dataclass(frozen=True, kw_only=True)
class SpmSettings(Optimised):
    """Hyper-parameters of SPM; each knob is explained in conf/method/spm.yaml. It looks at no picture and at
    no validation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({DENOISER})

    name: str = "spm"  # label in tables and folder of the runs
    prompts: dict[str, list[str]] = field(default_factory=dict)  # kind -> templates; none: the sets' own
    anchor: str | None = ""  # None: the anchor of the sets
    eta: float = 1.0
    rank: int = 1
    alpha: float = 1.0
    anchors: int = 4
    anchor_weight: float = 1000.0
    matching: Matching = Matching.COSINE_OR_TOKENS
    steps: int = 25  # of the optimiser, in each epoch
    sampler_steps: int = 30
    guidance: float = 3.0
    noised_at: NoisedAt = NoisedAt.SAMPLER
    weight_decay: float = 0.01
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps_opt: float = 1e-8
    schedule: Schedule = Schedule.CONST
    restarts: int = 1
    batch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_templates("prompts", self.prompts)
        self.check_ranges(
            {
                "eta": (0, 1000),
                "rank": (1, 1024),
                "alpha": (0, 1000),
                "anchors": (0, 1024),
                "anchor_weight": (0, 1e9),
                "steps": (1, 100_000),
                "sampler_steps": (1, 1000),
                "guidance": (0, 1000),
                "restarts": (1, 1000),
            }
        )
        if not math.isfinite(self.lr * self.epochs * self.steps):
            raise ConfigError("method.lr: the training would not end in numbers", found=self.lr)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (from 0): with restarts, the schedule begins anew so often."""
        total = self.epochs * self.steps
        if step < self.warmup_steps or self.restarts == 1:
            return rate(self, step, total)
        done = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        if self.schedule is Schedule.CONST:
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * (self.restarts * done % 1)))
