"""Models that a run is held against: retrained without the target (the oracle), and the base trained with
another seed.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from razor_cli.contract.components import Moduled
from razor_cli.contract.family import Companions
from razor_cli.engine.changes import Weights
from razor_cli.errors import WeightsError
from razor_cli.families.clip.beside import CompanionFiles
from razor_cli.families.clip.fit import fitted, statistics_of
from razor_cli.weights.checkpoint import read_state, state_hash


def load_companions(model: Moduled, target: str, files: CompanionFiles) -> Companions:
    """Read the weights that the settings name for a run on a target.

    Raises WeightsError for what is not there, damaged, or of another architecture.
    """
    states, hashes = {}, {}
    for state, path in files.paths(target).items():
        states[state], hashes[state] = _read(model.module, f"model.{state}", path)
    return Companions(states=states, hashes=hashes, notes=files.oracle_of(target)[1])


def _read(module: nn.Module, key: str, path: Path) -> tuple[Weights, str]:
    if statistics_of(module):
        raise WeightsError(
            f"{key}: a model with batch norms cannot be held against another one",
            found="running statistics, which are no weights and would stay those of model.weights",
            fix=f"{key}=null",
        )
    stored = read_state(path)
    fix = "it must be of the architecture that model.weights has"
    return Weights(values=fitted(module, stored, f"{key}='{path.name}'", fix)), state_hash(stored)
