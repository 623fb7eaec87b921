"""The family of a run: its model says it, files that name `${family}` are answered by it, nobody sets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from razor_cli.config.conf_files import FAMILY, families, groups
from razor_cli.config.schema import Problem


def is_family(key: str) -> bool:
    """Tell whether a key of the command line is the group of families, or in it."""
    return key == FAMILY or key.startswith(f"{FAMILY}.")


def not_chosen(word: str, roots: Sequence[Path]) -> Problem:
    """Return the problem of a command line that sets the family beside the model."""
    return Problem(
        what=f"{word}: the family is not chosen by itself, the model says its own",
        allowed=", ".join(f"model={name}" for name in groups(roots)["model"]),
        found=word,
        fix="model=NAME",
    )


def family_fits(node: Mapping[str, Any], model: Any) -> list[Problem]:
    """The family that the other files were chosen for must be the model's."""
    composed = node.get(FAMILY, model.family)
    if composed == model.family:
        return []
    return [
        Problem(
            what=f"model.family={model.family}, and the rest of the configuration is composed for the family "
            f"{composed}",
            allowed="the family that the model's file says",
            found=model.family,
            fix=f'"defaults: [override /family@_global_.family: {model.family}]" in the file of '
            f"model={model.name}, and no other override of the family",
        )
    ]


def no_answer(missing: str | None, roots: Sequence[Path]) -> Problem | None:
    """Return the problem of a file that a family lacks, `method/razor/<family>`; None for another one."""
    group, _, rest = (missing or "").partition("/")
    option, _, family = rest.rpartition("/")
    asked = any((root / group / f"{option}.yaml").is_file() for root in roots)
    if not option or not asked or family not in families(roots):
        return None
    served = {f.stem for root in roots for f in (root / group / option).glob("*.yaml")} & families(roots)
    return Problem(
        what=f"{group}={option} has nothing for the family {family}",
        allowed=f"models of the family {' or '.join(sorted(served))}",
        found=f"family={family}",
        fix=f"another {group}, or a file {group}/{option}/{family}.yaml in a folder given by --config-dir",
    )
