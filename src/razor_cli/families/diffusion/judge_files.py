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

from razor_cli.errors import ConfigError, WeightsError, nearest
from razor_cli.runs.remembered import file_hash

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
        file, wrong = self.folder / f"{role}.json", "no names by kind"
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            kinds = found["kinds"]
            wrong = "" if kinds and all(e["labels"] for e in kinds.values()) else wrong
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            wrong = type(error).__name__
        if wrong:
            raise ConfigError(
                f"metrics.judges: '{self.folder}' has no description of a judge for {role} that can be read",
                allowed=f"{role}.json with the names that each kind's classifier knows",
                found=wrong,
                fix="razor data judge --checkpoint=FILE --kind=style --out=DIR describes one of the "
                "benchmark's, razor data judge CANVAS trains one; or metrics.judged_by=zero_shot with "
                "model.companion=DIR",
            )
        return found

    def hash(self, role: str) -> str:
        """Return the hash of what a role answers by: of its one file, or of all that its kinds name."""
        described = self.described(role)
        each = {k: str(e["sha256"]) for k, e in described["kinds"].items() if "sha256" in e}
        whole = [str(described["sha256"])] if "sha256" in described else []
        if whole and not each:
            return whole[0]
        said = "\n".join([*whole, *(f"{kind} {found}" for kind, found in sorted(each.items()))])
        return hashlib.sha256(said.encode()).hexdigest()

    def check_weights(self, role: str, kinds: Iterable[str]) -> None:
        """Refuse a classifier whose weights are not there, or are others than its description says; their
        checksum is remembered.
        """
        described = self.described(role)
        for kind in kinds:
            entry = described["kinds"][kind]
            file = self.folder / entry.get("file", f"{role}.safetensors")
            wanted = entry.get("sha256") or described.get("sha256")
            found = file_hash(file) if file.is_file() else "no such file"
            if found != wanted:
                raise WeightsError(
                    f"metrics.judges: the classifier for {role} of kind '{kind}' is not there: '{file}'",
                    allowed=f"the file '{file.name}' with sha256 {wanted}",
                    found=found,
                    fix="fetch that file, or describe another: "
                    f"razor data judge --checkpoint=FILE --kind={kind} --role={role} --out={self.folder}",
                )

    def check_apart(self, one: str, other: str) -> None:
        """Refuse a classifier that two roles share: what guides a search does not judge what it led to."""
        first, second = (self.described(role) for role in (one, other))
        for kind in sorted(first["kinds"].keys() & second["kinds"].keys()):
            own, another = (d["kinds"][kind].get("sha256") or d.get("sha256") for d in (first, second))
            if own == another:
                raise ConfigError(
                    f"metrics.judges: the same classifier of kind '{kind}' is there for {one} and {other}",
                    allowed="two that were trained apart",
                    found=str(own),
                    fix=f"razor data judge CANVAS --kind={kind} --role={other} --seed=1 --out={self.folder}, "
                    "or metrics.search_pictures=0: a search by contexts of prompts alone",
                )

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
