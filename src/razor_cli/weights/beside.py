"""Which files hold the models that a run is held against. Imports no torch: a run's id needs their hashes
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from razor_cli.data.sources.photo import same
from razor_cli.errors import WeightsError


@dataclass(frozen=True, kw_only=True)
class CompanionFiles:
    """What `model.oracle` and `model.reseeded` name.

    `oracle` is a file or folder of weights retrained without the target, or a mapping of targets to such
    files. A bare file name is looked for in `folder` (a stand-in's own).
    """

    oracle: str | Mapping[str, str] | None = None
    reseeded: str | None = None
    folder: Path | None = None

    def oracle_of(self, target: str) -> tuple[str | None, tuple[str, ...]]:
        """Return the oracle's file for a target, and what must be said of it: one for another target is not
        used.
        """
        if self.oracle is None:
            return None, ()
        if isinstance(self.oracle, str):
            name = Path(self.oracle).name
            return self.oracle, (f"oracle: '{name}' is taken to be retrained without {target}",)
        chosen = next((file for name, file in self.oracle.items() if same(name) == same(target)), None)
        if chosen is None and self.oracle:
            others = ", ".join(self.oracle)
            return None, (f"oracle: not used, it was retrained without {others}; this run forgets {target}",)
        return chosen, ()

    def paths(self, target: str) -> dict[str, Path]:
        """Return the file or folder of every state. Raises WeightsError for one that is not there."""
        named = {"oracle": self.oracle_of(target)[0], "reseeded": self.reseeded}
        return {state: self._path(state, file) for state, file in named.items() if file is not None}

    def _path(self, state: str, file: str) -> Path:
        path = Path(file).expanduser()
        inside = self.folder / path if self.folder and path.name == file else path
        if inside.exists():
            return inside
        if not path.exists():
            key = f"model.{state}"
            raise WeightsError(
                f"{key}: no such file or folder", found=file, fix=f"{key}=FILE, or {key}=null to go without"
            )
        return path
