"""RECE: UCE again and again, each time on the rows that still bring the target back (Gong et al. 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.uce import Uce

if TYPE_CHECKING:
    from razor_cli.contract.family import Named
    from razor_cli.engine.lab import Lab
    from razor_cli.methods.diffusion.entries import Inputs


@dataclass(frozen=True, kw_only=True)
class Rece(Uce):
    """Hyper-parameters of RECE: UCE and its rounds; each is explained in conf/method/rece.yaml."""

    name: str = "rece"  # label in tables and folder of the runs
    rounds: int = 10
    gamma: float = 1e-3
    accumulate: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rounds <= 1000:
            raise ConfigError(f"method.rounds: {self.rounds} is out of range", allowed="0 to 1000")
        if not 0 < self.gamma < math.inf:
            raise ConfigError(f"method.gamma: {self.gamma} is out of range", allowed="above 0")

    def moved(self, lab: Lab, weights: Named, rows: Inputs) -> Named:
        """Return the matrices after UCE and all rounds in fp64."""
        from razor_cli.methods.diffusion.closed_form import revived
        from razor_cli.methods.diffusion.entries import input_of

        found, erased = self.solved(lab, weights, rows), rows
        kinds = {n: input_of(n, w, rows) for n, w in weights.items()}
        for number in range(self.rounds):
            lab.say(f"round {number + 1} of {self.rounds}")
            again = {}
            for kind in dict.fromkeys(kinds.values()):
                pairs = [(found[n], weights[n]) for n, k in kinds.items() if k == kind]
                again[kind] = rows[kind].instead_of(revived(pairs, rows[kind].own, self.gamma))
            erased = {k: erased[k].with_more(r) for k, r in again.items()} if self.accumulate else again
            found = self.solved(lab, weights if self.accumulate else found, erased)
        return found
