"""A folder of classifiers as its descriptions tell it, before any weight is read. Imports no torch.

Beside the weights of each role lies `ROLE.json`: the labels of every kind, accuracies, and the checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.errors import ConfigError, nearest

SEARCH, EXAM = "search", "exam"  # roles: who guides a search never judges what came of it
STAND_INS = Path(__file__).parent / "standins" / "judges"


@dataclass(frozen=True)
class JudgeFiles:
    """A folder of classifiers, one network for each role."""

    folder: Path

    def has(self, role: str) -> bool:
        """Tell whether there is a judge for a role."""
        return (self.folder / f"{role}.json").is_file()

    def described(self, role: str) -> Mapping[str, Any]:
        """Return what a description says. Raises ConfigError where there is none, or none that
        can be read.
        """
        file = self.folder / f"{role}.json"
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"metrics.judges: '{self.folder}' has no description of a judge for {role} that can be read",
                allowed=f"{role}.json beside {role}.safetensors",
                found=type(error).__name__,
                fix="metrics.judges=DIR, or metrics.judged_by=zero_shot with model.companion=DIR",
            ) from None
        kinds = found.get("kinds") if isinstance(found, dict) else None
        if not isinstance(kinds, dict) or not all(
            isinstance(k, dict) and k.get("labels") for k in kinds.values()
        ):
            raise ConfigError(
                f"metrics.judges: '{file}' is no description of a judge",
                allowed="kinds with the labels of each, as `razor data judge` writes it",
                found="no kinds" if not kinds else "a kind without labels",
            )
        return found

    def checksum(self, role: str, kinds: Iterable[str]) -> str:
        """Return the checksum of what judges some kinds: one network for all, or each its own."""
        described = self.described(role)
        own = {str(described["kinds"][k].get("sha256") or described.get("sha256", "")) for k in kinds}
        return own.pop() if len(own) == 1 else hashlib.sha256("".join(sorted(own)).encode()).hexdigest()

    def check(self, role: str, labels: Mapping[str, Iterable[str]]) -> None:
        """Refuse a judge that does not know a name it is to find, with the nearest it knows."""
        kinds = self.described(role)["kinds"]
        for kind, names in labels.items():
            if kind not in kinds:
                raise ConfigError(
                    f"metrics.judges: the judge for {role} knows no kind '{kind}'",
                    allowed=", ".join(kinds),
                    fix="metrics.judges=DIR of one that does, or metrics.judged_by=zero_shot",
                )
            known = kinds[kind]["labels"]
            if unknown := [n for n in names if n not in known]:
                close = nearest(unknown[0], known)
                raise ConfigError(
                    f"metrics.judges: the judge for {role} does not know the {kind} '{unknown[0]}'",
                    allowed=", ".join(known),
                    found=", ".join(unknown),
                    fix=f"did you mean {' or '.join(close)}?" if close else "metrics.judged_by=zero_shot",
                )


def embedded() -> JudgeFiles:
    """Return the classifiers of the stand-ins."""
    return JudgeFiles(STAND_INS)
