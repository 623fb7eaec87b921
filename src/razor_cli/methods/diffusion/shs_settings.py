"""SHS (Scissorhands, Wu & Harandi 2024; reference code JingWu321/Scissorhands, and UnlearnCanvas's copy).
Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.choices import Forgetting, Reinit
from razor_cli.methods.diffusion.relearn_settings import Relearned


@dataclass(frozen=True, kw_only=True)
class ShsSettings(Relearned):
    """Hyper-parameters of Scissorhands; each knob is explained in conf/method/shs.yaml."""

    name: str = "shs"  # label in tables and folder of the runs
    group: str = "full"  # parameters that train
    sparsity: float = 0.99
    trim_pictures: int | None = 4  # forget pictures that decide; None: all of them
    trim_guidance: float = 0.0
    reinit_group: Reinit = Reinit.ATTN2
    reinit_std: float = 0.02
    forget: Forgetting = Forgetting.RELABEL
    project_every: int | None = None  # steps from one projection to the next; None: none
    margin: float = 0.5  # of the projection

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges(
            {
                "sparsity": (0, 1),
                "trim_guidance": (0, 1000),
                "reinit_std": (0, 1000),
                "margin": (0, 1000),
            }
        )
        for name in ("trim_pictures", "project_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"method.{name}: {value} is out of range", allowed="1 or more, or null")
