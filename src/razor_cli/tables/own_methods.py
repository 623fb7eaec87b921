"""Runs of methods whose preset is a user's own file, told apart by the settings that they were run with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy

from razor_cli.config.conf_files import labelled
from razor_cli.runs.folder import Run
from razor_cli.tables.flips import bare, shown

NOTE = (
    "A method of your own has a row for each of its settings: its name says which, where its runs differ in "
    "one. Which of them its file sets, a table does not know."
)


def is_foreign(run: Run) -> bool:
    """Tell whether nothing that ships with the package has the name of a run's method."""
    return run.record.method not in labelled("method")


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """Return the same runs; where those of one method of a user's own differ in a setting, each under the
    method's name and its settings, `push (share=0.3)`, so that they never stand in one row.

    A recorded run does not say what its preset was, and the file may have changed since.
    """
    foreign: dict[str, list[dict[str, str]]] = {}
    for run in filter(is_foreign, runs):
        foreign.setdefault(run.record.method, []).append(_settings(run))
    varied = {method: _varied(settings) for method, settings in foreign.items()}
    return [_renamed(run, varied.get(run.record.method, ())) for run in runs]


def _settings(run: Run) -> dict[str, str]:
    own = run.record.settings.get("method")
    return dict(_flat(own)) if isinstance(own, Mapping) else {}


def _flat(settings: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the settings of a method as the command line names them; its class is one of them."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", text) for inner, text in _flat(bare(value)))
        elif key != "name":
            yield "class" if key == "_target_" else key, shown(value)


def _varied(settings: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    every = dict.fromkeys(key for own in settings for key in own)
    return tuple(key for key in every if len({own.get(key) for own in settings}) > 1)


def _renamed(run: Run, varied: Sequence[str]) -> Run:
    if not varied:
        return run
    own, r = _settings(run), run.record
    words = ", ".join(f"{key}={own[key]}" for key in varied if key in own)
    again = copy(run)
    again.record = r.model_copy(update={"method": f"{r.method} ({words})" if words else r.method})
    return again


def notes(runs: Sequence[Run]) -> list[str]:
    """Return a note on names that `told_apart` gave, if runs have any."""
    return [NOTE] if any(is_foreign(run) for run in runs) else []
