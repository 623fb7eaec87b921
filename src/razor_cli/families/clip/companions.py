"""Models that a run is held against: retrained without the target (the oracle), and the base trained with
another seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from razor_cli.contract.components import parameters
from razor_cli.data.sources.photo import same
from razor_cli.errors import WeightsError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.libraries import check_fit
from razor_cli.weights.checkpoint import read_state, state_hash


@dataclass(frozen=True, kw_only=True)
class Companions:
    """Weights of other models of the base's architecture, by the state they are evaluated as."""

    states: Mapping[str, Mapping[str, Tensor]] = field(
        default_factory=dict
    )  # oracle, reseeded -> every parameter, as stored
    hashes: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each, for the run's id and the cache
    notes: tuple[str, ...] = ()

    def fingerprints(self) -> dict[str, str]:
        """Return the hashes by names that can stand among those of the data."""
        return {f"weights_{state}": found for state, found in self.hashes.items()}


def load_companions(
    model: Clip,
    target: str,
    *,
    oracle: str | Mapping[str, str] | None,
    reseeded: str | None,
    folder: Path | None = None,
) -> Companions:
    """Read the weights that `model.oracle` and `model.reseeded` name.

    `oracle` is a file or folder of weights retrained without the target, or a mapping of targets to such
    files: one for another target than the run's is not used, and a note says so. A bare file name is looked
    for in `folder` (a stand-in's own). Raises WeightsError for what is not there, damaged, or of another
    architecture.
    """
    chosen, notes = oracle, []
    if oracle is not None and not isinstance(oracle, str):
        chosen = next((file for name, file in oracle.items() if same(name) == same(target)), None)
        if chosen is None and oracle:
            notes.append(
                f"oracle: not used, it was retrained without {', '.join(oracle)}; this run forgets {target}"
            )
    elif oracle is not None:
        notes.append(f"oracle: '{Path(oracle).name}' is taken to be retrained without {target}")
    states, hashes = {}, {}
    for state, file in (("oracle", chosen), ("reseeded", reseeded)):
        if isinstance(file, str):
            states[state], hashes[state] = _read(model, f"model.{state}", file, folder)
    return Companions(states=states, hashes=hashes, notes=tuple(notes))


def _read(model: Clip, key: str, file: str, folder: Path | None) -> tuple[dict[str, Tensor], str]:
    path = Path(file).expanduser()
    inside = folder / path if folder and path.name == file else path
    if inside.exists():
        path = inside
    if not path.exists():
        raise WeightsError(
            f"{key}: no such file or folder", found=file, fix=f"{key}=FILE, or {key}=null to go without"
        )
    stored = read_state(path)
    check_fit(model.module, stored, f"{key}='{path.name}'")
    return {name: stored[name] for name in parameters(model)}, state_hash(stored)
