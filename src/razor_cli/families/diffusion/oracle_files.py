"""Where the pipeline lies that was trained without the target. Imports no torch: a run's id needs its hash
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.files import PipelineFiles
from razor_cli.weights.beside import CompanionFiles

ORACLE = "oracle"
KEY = f"model.{ORACLE}"
Given = str | Mapping[str, str] | None  # a folder or file, or one for each target
Read = Callable[[Path], tuple[PipelineFiles, list[WeightsError]]]


def oracle_of(given: Given, target: str, read: Read) -> tuple[PipelineFiles | None, tuple[str, ...]]:
    """Return the files of the oracle for a target, and what must be said of it. Raises WeightsError for files
    that are not there or cannot be used.
    """
    named = CompanionFiles(oracle=given)
    path = named.paths(target).get(ORACLE)
    return (None if path is None else _sound(path, read)), named.oracle_of(target)[1]


def oracle_problems(given: Given, read: Read) -> list[WeightsError]:
    """Return what is wrong with the oracles that the settings name, whatever target they are for."""
    found = []
    for name, file in {"": given}.items() if isinstance(given, str) else (given or {}).items():
        try:
            _sound(CompanionFiles(oracle=file).paths(name)[ORACLE], read)
        except WeightsError as error:
            found.append(error)
    return found


def _sound(path: Path, read: Read) -> PipelineFiles:
    try:
        files, wrong = read(path)
        if wrong:
            raise wrong[0]
    except WeightsError as error:
        what = error.what.replace("model.weights", KEY)
        what = what if KEY in what else f"{KEY}: {what}"
        fix = error.fix and error.fix.replace("model.weights", KEY)
        raise WeightsError(what, allowed=error.allowed, found=error.found, fix=fix) from error
    return files
