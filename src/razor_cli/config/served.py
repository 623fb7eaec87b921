"""Which methods serve which models, read from their files before anything is composed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from razor_cli.config.conf_files import first_file, groups, merged_settings, unanswered
from razor_cli.config.pairings import method_serves_model
from razor_cli.config.schema import build, locate
from razor_cli.config.settings import PLACES
from razor_cli.contract.spec import Spec
from razor_cli.errors import ConfigError, Problem


def families_served(method: str, roots: Sequence[Path]) -> list[str] | None:
    """Return the families with a model that a method serves; None where its settings or its class cannot be
    read here, such as those of a package that was not allowed.
    """
    answers = [(spec.family, serves(method, [spec], roots)) for spec in _specs(tuple(roots))]
    if any(answer is None for _, answer in answers):
        return None
    return sorted({family for family, answer in answers if answer})


def serves(method: str, models: Sequence[Spec], roots: Sequence[Path]) -> bool | None:
    """Tell whether a method runs on one of these models; None where it cannot be read here."""
    file = first_file(roots, "method", method)
    for spec in models:
        found = _method(file, spec.family)
        if found is None:
            return None
        if found and not method_serves_model(found[0], spec):
            return True
    return False


def like(model: str, roots: Sequence[Path]) -> list[Spec]:
    """Return the settings of a model by the name of its option; where it takes further words, those of its
    family's models.
    """
    values = merged_settings(first_file(roots, "model", model))
    if (found := _built("model", values)) is not None:
        return [found]
    family = getattr(locate(values.get("_target_"), PLACES["model"], "model"), "family", None)
    return [spec for spec in _specs(tuple(roots)) if spec.family == family]


@cache
def _specs(roots: tuple[Path, ...]) -> list[Spec]:
    """Return the settings of all models that can be read without further words."""
    files = [first_file(roots, "model", name) for name in groups(roots)["model"]]
    return [spec for file in files if (spec := _built("model", merged_settings(file))) is not None]


@cache
def _method(file: Path, family: str) -> tuple[Any, ...] | None:
    """Return the method that a file describes for a family; none where the family has no file that it asks
    for, None where it cannot be read here.
    """
    if unanswered(file, family):
        return ()
    found = _built("method", merged_settings(file, family))
    return None if found is None else (found,)


def _built(group: str, values: dict[str, Any]) -> Any:
    problems: list[Problem] = []
    try:
        return build(locate(values.get("_target_"), PLACES[group], group), values, group, problems)
    except ConfigError:
        return None
