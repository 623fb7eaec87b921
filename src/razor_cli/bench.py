"""What a run works on: its model, opened when it is first asked for, and its sets, listed without one. And
which run that makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from razor_cli.config.amounts import bytes_of
from razor_cli.config.asked import ask_of
from razor_cli.config.settings import Experiment, classes_of, deciding, resolved
from razor_cli.contract.family import Drawing, Family, TwoTowered
from razor_cli.contract.sets import Sets
from razor_cli.data.ask import Ask
from razor_cli.runs import provenance
from razor_cli.runs.code import code_version
from razor_cli.runs.records import Identity

Opener = Callable[[Any], Family]  # of a model's settings


@dataclass
class Bench:
    """The model of an experiment, opened when it is first asked for."""

    experiment: Experiment
    opener: Opener | None = None
    _family: Family | None = field(default=None, init=False)

    @property
    def family(self) -> Family:
        """Return the loaded model."""
        if self._family is None:
            spec = self.experiment.model
            self._family = self.opener(spec) if self.opener else spec.open()
        return self._family

    @cached_property
    def supplies(self) -> Any:
        """What the unedited model draws and reads for the data, kept on disk with the run's other caches."""
        from razor_cli.engine.lab import shared_cache

        cache = shared_cache(self.experiment.output_dir, self.experiment.cache_gb * 2**30)
        return cast(Drawing, self.family).supplies(cache)


def sets_of(experiment: Experiment, bench: Bench | None = None) -> Sets:
    """Return the run's sets; another seed draws other pictures, unless data.seed holds them fixed.

    A level of difficulty as target is found with the model, which is opened only then.
    """
    ask, data = asked_of(experiment, bench), experiment.data
    sets = data.sets(ask)
    if not (experiment.sequence or experiment.compose):
        return sets
    from razor_cli.data.disjoint import check_steps  # pictures, of which asking knows nothing

    asks = ask.in_turn() if experiment.sequence else ask.of_each()
    steps: Any = tuple(data.sets(each) for each in asks)  # of the same kind as the whole
    whole = replace(sets, steps=steps)
    check_steps(whole)
    return whole


def memory_note(experiment: Experiment) -> str:
    """Return what the model takes, before it is loaded; nothing where its family does not say."""
    told = getattr(experiment.model, "memory_note", None)
    return "" if told is None else str(told(experiment.metrics, bytes_of(experiment.memory)))


def asked_of(experiment: Experiment, bench: Bench | None = None) -> Ask:
    """Return what the run's data may need of the rest of it."""
    opened = bench or Bench(experiment)

    def confidence(pairs: Any, prompts: Any) -> dict[str, float]:
        from razor_cli.dual.difficulty import class_confidence

        return class_confidence(cast(TwoTowered, opened.family).dual(), pairs, prompts)

    def draw(prompts: Any, seeds: Any, *, steps: int, guidance: float) -> Any:
        return opened.supplies.draw(prompts, seeds, steps=steps, guidance=guidance)

    def embed(prompts: Any) -> Any:
        return opened.supplies.embed(prompts)

    return ask_of(
        experiment, experiment.scenario, experiment.model, confidence=confidence, draw=draw, embed=embed
    )


def identified(experiment: Experiment, sets: Sets) -> tuple[provenance.Inputs, Identity]:
    """Return what decides a run's numbers beside its settings, and which run that makes it; nothing is
    loaded for it.
    """
    spec = experiment.model
    beside = {f"weights_{state}": found for state, found in spec.beside(sets.target).items()}
    beside |= {f"judge_{name}": found for name, found in experiment.metrics.judge_hashes(sets).items()}
    code = code_version(spec.family, *classes_of(experiment))
    inputs = provenance.Inputs(weights=spec.weights_hash(), data=sets.fingerprints() | beside, code=code)
    return inputs, Identity(
        run_id=provenance.run_id(deciding(resolved(experiment)), inputs),
        model=spec.name,
        family=spec.family,
        stand_in=spec.stand_in,
        scenario=experiment.scenario.name,
        data=experiment.data.label(experiment.scenario.pictures.value),
        target=sets.target,
        method=experiment.method.name,
        seed=experiment.seed,
        judged_on=experiment.judged_on.value,
    )
