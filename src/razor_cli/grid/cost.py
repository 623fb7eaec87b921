"""How long a job will take and how much memory it needs: from recorded runs like it, else from a count of
passes by the model's family.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from razor_cli.config.settings import Experiment, deciding, resolved
from razor_cli.config.several import targets_of
from razor_cli.contract.spec import Attacking, Estimate, Work
from razor_cli.grid.points import Job
from razor_cli.runs.provenance import canonical_json
from razor_cli.runs.records import RunRecord

RECORDED = "recorded runs"
USUAL_COMPONENTS = 8  # that a search steps through
UNBOUNDED_COMPONENTS = 16  # where the method bounds none: what saliency chose on the embedded model


def estimate(job: Job, records: Sequence[RunRecord]) -> Estimate:
    """Return what a job will cost: the mean of the recorded runs most like it, else the count."""
    like = _alike(job.experiment, records)
    if like:
        seconds, memory = (
            sum(v) / len(like)
            for v in zip(*((r.cost.run_seconds, r.cost.peak_rss_mb) for r in like), strict=True)
        )
        return Estimate(seconds=seconds, memory_mb=memory, source=RECORDED)
    return counted(job)


def _alike(experiment: Experiment, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return runs of the same method and model with sets of the same size, narrowed to the most similar ones
    there are.
    """
    wanted = json.loads(canonical_json(deciding(resolved(experiment))))
    own = (
        experiment.method.name,
        experiment.model.name,
        experiment.data.label(experiment.scenario.pictures.value),
    )
    found = [r for r in records if (r.method, r.model, r.data) == own]
    found = [r for r in found if _sizes(r.settings) == _sizes(wanted)]
    for key in ("scenario", "quantization", "control", "method"):
        found = [r for r in found if deciding(r.settings).get(key) == wanted.get(key)] or found
    return found


def _sizes(settings: Any) -> dict[str, object]:
    data = settings.get("data")
    return {k: v for k, v in data.items() if k.startswith("n_")} if isinstance(data, dict) else {}


def counted(job: Job) -> Estimate:
    """Return the count for one job: gradient passes or epochs, trials of a search, and the evaluation of
    every state.
    """
    e = job.experiment
    n = job.pictures or e.data.at_most
    knobs = {
        k: v for k, v in vars(e.method).items() if isinstance(v, int | float) and not isinstance(v, bool)
    }
    searched = knobs.get("search_steps", 0)
    rounds = knobs.get("grow_rounds", 0)
    unbounded = vars(e.method).get("max_components", USUAL_COMPONENTS) is None
    chosen = UNBOUNDED_COMPONENTS if unbounded else knobs.get("max_components", USUAL_COMPONENTS)
    states = 3 if e.control else 2
    edits = len(targets_of(e.target)) if e.sequence or e.compose else 1
    on_the_way = (edits - 1) * (1 if e.sequence else 2)  # in full precision
    asked, learnt = e.metrics.attacked(n["evaluation_forget"]) if isinstance(e.metrics, Attacking) else (0, 0)
    work = Work(
        seen=n["forget"] + n["retain"],
        tried=n["validation_forget"] + n["validation_retain"],
        judged=n["evaluation_forget"]
        + n["evaluation_retain"]
        + len(e.scenario.suites) * e.data.at_most["suite"],
        epochs=edits * (knobs.get("epochs", 1) + (rounds / 2 if searched else 0)),
        trained="epochs" in knobs,
        trials=edits * searched * (chosen + rounds),
        states=states * len({"none", *e.quantization.schemes}) + on_the_way,
        processes=e.jobs,
        attacks=states + on_the_way,
        asked=asked,
        learnt=learnt,
    )
    return e.model.cost(work)
