"""Settings of FMN, and what follows from them alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from razor_cli.contract.family import DENOISER
from razor_cli.engine.choices import Schedule
from razor_cli.engine.train_settings import Optimised
from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.choices import Inversion
from razor_cli.methods.diffusion.wording import check_templates

if TYPE_CHECKING:
    from razor_cli.contract.family import Family
    from razor_cli.families.diffusion.family import Diffusion


@dataclass(frozen=True, kw_only=True)
class FmnSettings(Optimised):
    """Hyper-parameters of FMN; each knob is explained in conf/method/fmn.yaml. It looks at no validation."""

    needs: ClassVar[frozenset[str]] = frozenset({DENOISER})

    name: str = "fmn"  # label in tables and folder of the runs
    group: str = "xattn"  # parameters that train
    prompts: dict[str, list[str]] = field(default_factory=dict)  # kind -> templates; none: the sets' own
    ti: Inversion = Inversion.TOKENS
    ti_tokens: int = 4
    ti_steps: int = 500
    ti_batch: int = 1
    ti_lr: float = 1e-3
    ti_random: float | None = 1.0  # deviation of tokens beyond the words; None: that of the table
    use_pooler: bool = True  # end marks count as words of the target
    real_pictures: bool = True  # False: steering begins from nothing but noise
    clip: float | None = 1.0  # longest gradient
    steps: int = 7  # of the optimiser, in each epoch
    weight_decay: float = 0.01
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps_opt: float = 1e-8
    schedule: Schedule = Schedule.CONST
    batch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_templates("prompts", self.prompts)
        self.check_ranges(
            {
                "ti_tokens": (1, 32),
                "ti_steps": (0, 100_000),
                "ti_batch": (1, 65536),
                "ti_lr": (0, 1000),
                "steps": (1, 100_000),
            }
        )
        for name, value in (("ti_random", self.ti_random), ("clip", self.clip)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"method.{name}: {value} is out of range", allowed="above 0, or null")
        if not math.isfinite(self.lr * self.epochs * self.steps):
            raise ConfigError("method.lr: the training would not end in numbers", found=self.lr)

    def trained(self, family: Family) -> list[str]:
        """Return the parameters of the group."""
        return cast("Diffusion", family).groups(self.group)
