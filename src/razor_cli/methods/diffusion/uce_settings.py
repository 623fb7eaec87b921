"""UCE: unified concept editing, a closed form for the matrices that read a prompt (WACV 2024; reference code
rohitgandikota/unified-concept-editing). Imports no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from razor_cli.contract.family import DENOISER
from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.choices import Solver, Technique, TokenRows
from razor_cli.methods.diffusion.wording import check_templates


@dataclass(frozen=True, kw_only=True)
class UceSettings:
    """Hyper-parameters of UCE; each knob is explained in conf/method/uce.yaml."""

    needs: ClassVar[frozenset[str]] = frozenset({DENOISER})
    stochastic: ClassVar[bool] = False

    name: str = "uce"  # label in tables and folder of the runs
    concepts: dict[str, list[str]] = field(default_factory=dict)  # kind -> templates; none: the sets' own
    anchor: str | None = None  # None: the anchor of the sets
    technique: Technique = Technique.REPLACE
    rows: TokenRows = TokenRows.LAST
    preserve: int | None = None  # None: all retain prompts of the sets
    preserve_empty: bool = False
    preserve_rows: TokenRows = TokenRows.LAST
    lamb: float = 0.5
    erase_scale: float = 1.0
    preserve_scale: float | None = 1.0  # None: 1 / number of prompts, at least 0.1
    with_to_k: bool = True
    solver: Solver = Solver.AUTO

    def __post_init__(self) -> None:
        check_templates("concepts", self.concepts)
        ranges = {"erase_scale": self.erase_scale, "preserve_scale": self.preserve_scale}
        for name, value in ranges.items():
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"method.{name}: {value} is out of range", allowed="0 or more")
        if not 0 < self.lamb < math.inf:
            raise ConfigError(f"method.lamb: {self.lamb} is out of range", allowed="above 0")
        if self.preserve is not None and self.preserve < 0:
            raise ConfigError(
                f"method.preserve: {self.preserve} is out of range", allowed="0 or more, or null"
            )
