"""What a process that works off a grid keeps from one job to the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from razor_cli.config.schema import plain
from razor_cli.contract.spec import Spec
from razor_cli.runs.provenance import canonical_json


class Kept:
    """One loaded model; it is dropped before another one is opened, so that two are never in memory."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._model: Any = None

    def get(self, key: Hashable, opening: Callable[[], Any]) -> Any:
        """Return the model of this key: the one that is kept, or a newly opened one in its place."""
        if self._model is None or self._key != key:
            self.drop()
            self._model, self._key = opening(), key
        return self._model

    def drop(self) -> None:
        """Keep nothing: after a failure nobody knows what the model is like."""
        self._model = self._key = None


def key_of(model: Spec) -> str:
    """Return what tells models apart: all their settings, and their weights."""
    return canonical_json([plain(model), model.weights_hash()])
