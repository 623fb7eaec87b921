"""The user's photographs in place of pictures that a grid's model was never shown.

Experiments name what the embedded models know, `data=standin`. Where another model is asked and
`data.root=DIR` says where photographs lie, the points whose drawn pictures it cannot know take `data=folder`;
all others keep their data. Who names `data` on the command line has chosen for every block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from razor_cli.config import command_line
from razor_cli.config.check import parts_of
from razor_cli.config.compose import compose
from razor_cli.errors import RazorError
from razor_cli.grid.blocks import Asked, points
from razor_cli.grid.data_words import setting

FOLDER = "folder"
DECIDING = ("model", "scenario", "data")  # groups that decide whether a model knows the pictures


def placed(asked: Asked) -> list[tuple[dict[str, Any], str]]:
    """Return the points of a grid, each with the model that its drawn pictures gave way for, or "".

    Composes once for every model, scenario and kind of data, and only where a folder is named.
    """
    every = points(asked.blocks)
    if not asked.name or "data" in asked.given or not any(setting(word) == "root" for word in asked.words):
        return [(point, "") for point in every]
    known: dict[tuple[str, ...], str] = {}
    found = []
    for point in every:
        words = tuple(f"{key}={point[key]}" for key in DECIDING if key in point)
        if words not in known:
            known[words] = _untaught(asked, words)
        found.append((point | {"data": FOLDER} if known[words] else point, known[words]))
    return found


def _untaught(asked: Asked, words: Iterable[str]) -> str:
    """Return the model that was never shown what the kind of data draws, or "" where it knows them or
    something is wrong, which the check reports.
    """
    request = command_line.read([*asked.words, "grid=[]", *words], multirun=asked.multirun, extra=asked.extra)
    try:
        parts = parts_of(compose(request), request.allowed)
    except RazorError:
        return ""
    model, scenario, data = (parts[key] for key in DECIDING)
    untaught = getattr(data, "untaught", None)
    if model is None or scenario is None or untaught is None:
        return ""
    return str(model.name) if untaught(scenario.pictures.value, model.stand_in) else ""


def told(moved: Iterable[str]) -> list[str]:
    """Return a line for each model that photographs were taken for, from what `placed` says of every job."""
    models = [model for model in moved if model]
    return [
        f"data.root: {count} job{' takes' if count == 1 else 's take'} data={FOLDER}, as model={model} was "
        "never shown what data=standin draws"
        for model, count in Counter(models).items()
    ]
