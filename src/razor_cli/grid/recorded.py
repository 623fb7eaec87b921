"""Which jobs of a grid are recorded already: those that would be given the id of a run that is there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from razor_cli.config.settings import Experiment, classes_of, deciding, resolved
from razor_cli.errors import RazorError, headline
from razor_cli.runs.code import code_version
from razor_cli.runs.provenance import canonical_json
from razor_cli.runs.records import RunRecord

if TYPE_CHECKING:
    from razor_cli.contract.sets import Sets

YES, NO = "recorded", ""
UNSURE = f"{YES}: by its settings; which concepts are that difficult only the model can tell"


class NeedsModelError(Exception):
    """The pictures of a run can be listed with its model only."""


class Recorded:
    """The runs that are there. Sets are listed only for jobs whose settings and code are those of one."""

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self._ids = {r.run_id for r in records}
        self._like = {(canonical_json(deciding(r.settings)), r.provenance.code_version) for r in records}
        self._sets: dict[str, Sets] = {}
        self.untold: dict[str, None] = {}  # why of some jobs it cannot be told, in order

    def state(self, experiment: Experiment) -> str:
        """Return whether an experiment is recorded; what its settings name is read, and no model opened."""
        from razor_cli.bench import identified  # brings numpy, which what is only asked for must not

        settings = canonical_json(json.loads(canonical_json(deciding(resolved(experiment)))))
        code = code_version(experiment.model.family, *classes_of(experiment))
        if experiment.force or (settings, code) not in self._like:
            return NO
        try:
            _, identity = identified(experiment, self._listed(experiment))
        except NeedsModelError:
            return UNSURE
        except RazorError as error:  # its pictures or weights are gone or damaged, now or for good
            self.untold[headline(error)] = None
            return NO
        return YES if identity.run_id in self._ids else NO

    def _listed(self, experiment: Experiment) -> Sets:
        """Return the sets; those of jobs that differ in method and measures only are listed once."""
        from razor_cli.config.asked import ask_of

        ask = ask_of(
            experiment,
            experiment.scenario,
            experiment.model,
            confidence=_needs_model,
            embed=_needs_model,
        )
        key = repr((experiment.data, ask))
        if key not in self._sets:
            self._sets[key] = experiment.data.sets(ask)
        return self._sets[key]


def _needs_model(_: Any, __: Mapping[str, Sequence[str]] | None = None) -> NoReturn:
    raise NeedsModelError
