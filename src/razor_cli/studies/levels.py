"""`razor data build levels`: how sure the unedited model is of each class of a taxonomy, and which level that
makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from razor_cli.bench import Bench, asked_of
from razor_cli.config.settings import Experiment
from razor_cli.data.ask import Traced
from razor_cli.data.taxonomy import levels
from razor_cli.errors import ConfigError
from razor_cli.escape import in_csv
from razor_cli.runs.rows import table_csv

COLUMNS = ("name", "parent", "confidence", "level")


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """One class: its parent, the model's mean probability of it in [0, 1] on validation pictures, its level
    if it has one.
    """

    name: str
    parent: str
    confidence: float
    level: str


def difficulty_of(experiment: Experiment) -> list[Difficulty]:
    """Return all classes of a run's taxonomy, the hardest to forget first. Raises ConfigError for a run
    without one.
    """
    data, scenario = experiment.data, experiment.scenario
    if not scenario.taxonomy or not isinstance(data, Traced):
        raise ConfigError(f"scenario={scenario.name} has no taxonomy", fix="scenario=fine_grained")
    parents, sure = data.difficulty(asked_of(experiment, Bench(experiment)))
    level = {name: which for which, names in levels(sure).items() for name in names}
    ranked = sorted(sure, key=lambda n: (-sure[n], n))
    return [Difficulty(name=n, parent=parents[n], confidence=sure[n], level=level.get(n, "")) for n in ranked]


def difficulty_csv(rows: Sequence[Difficulty]) -> str:
    """Return the text of a CSV file."""
    return table_csv(COLUMNS, [{k: in_csv(v) for k, v in vars(r).items()} for r in rows])
