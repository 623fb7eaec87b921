"""The computation of one run: edit, save, evaluate every state under every quantization, record."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.config.settings import Experiment, composed
from razor_cli.contract.budget import budget_of
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import Change, Companions, Exam, Family
from razor_cli.contract.place import Key, Place
from razor_cli.contract.sets import Sets
from razor_cli.engine.changes import Weights
from razor_cli.engine.effect import refuse_idle, unseen_notes
from razor_cli.engine.evaluation import BASE, CONTROL, EDIT, Evaluator
from razor_cli.engine.lab import Lab, shared_cache
from razor_cli.engine.record import Done, Saving, weights_of
from razor_cli.engine.turns import Turns
from razor_cli.escape import in_json
from razor_cli.figure import at_the_cost_of_a_note
from razor_cli.metrics.score import Score
from razor_cli.progress import Progress
from razor_cli.runs.folder import SPLIT, Run, write_atomic
from razor_cli.runs.provenance import Inputs
from razor_cli.runs.records import Identity
from razor_cli.runs.rows import on_the_way
from razor_cli.weights.survival import survival_csv, survival_of


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to compute: what it is, what it works on, and where it goes."""

    experiment: Experiment
    family: Family
    sets: Sets
    run: Run
    identity: Identity
    inputs: Inputs
    progress: Progress
    started: str  # UTC
    clock: float  # of time.perf_counter at the start


def compute(job: Job) -> None:
    """Compute everything of one run and record it; nothing is visible under the run's name before the end."""
    e, run, family, sets = job.experiment, job.run, job.family, job.sets
    run.write_config(composed(e))
    lab = _lab(job)
    companions = family.companions(sets.target)  # one that does not fit is found before the work
    edit, size = edited(job, lab)
    lab.put_away()
    notes = list(companions.notes)
    changes = _changes(job, edit, notes)
    exam, found, scores = _scored(job, lab, changes, companions)
    notes += [
        *unseen_notes(edit, scores),
        *lab.notes,
        *exam.notes,
        *(lab.cache.notes() if lab.cache else ()),
        *sets.mended(),
    ]
    survival = survival_of(family, weights_of(edit), e.quantization)
    write_atomic(run.path("survival.csv"), survival_csv(survival))
    with at_the_cost_of_a_note(notes, "pictures of the run"):
        exam.draw(run.path(""), found)
    done = Done(
        experiment=e,
        identity=job.identity,
        inputs=job.inputs,
        family=family,
        sets=sets,
        edit=edit,
        scores=scores,
        survival=survival,
        notes=notes,
        patch_bytes=size,
        started=job.started,
        seconds=time.perf_counter() - job.clock,
    )
    run.finish(done.record())
    discard_steps(job)


def edited(job: Job, lab: Lab | None = None) -> tuple[Edit, int | None]:
    """Return the edit of a run and the bytes that its change takes, after log, examples and changes were
    written into the run's folder. Of several targets in turn, edits that a killed run kept are taken up.
    """
    run, lab = job.run, lab or _lab(job)
    with job.progress.stage(f"forgetting {job.sets.target} with {job.identity.method}") as say:
        lab.say = say
        if job.sets.steps:
            turns = Turns(method=job.experiment.method, lab=lab, folder=_kept_steps(job))
            edit = turns.edit(apart=job.experiment.compose)
        else:
            edit = job.experiment.method.edit(lab)
            refuse_idle(edit, job.family, job.sets)
    run.write_log(edit.log)
    write_atomic(run.path(SPLIT), in_json(job.sets.record(), indent=1))
    saving = Saving(folder=run.path(""), family=job.family, identity=job.identity, experiment=job.experiment)
    for state, change in edit.states.items():
        saving.save(change, f"_{state}")
    return edit, saving.save(edit.change)


def _kept_steps(job: Job) -> Path:
    """Return where the edits of several targets lie until the run is recorded."""
    return job.experiment.output_dir / "cache" / "steps" / job.identity.run_id


def discard_steps(job: Job) -> None:
    """Remove the kept edits of a request that is done."""
    shutil.rmtree(_kept_steps(job), ignore_errors=True)


def _lab(job: Job) -> Lab:
    e = job.experiment
    fast = e.engine == "fast"
    job.family.within(budget_of(e.memory, job.family.device, e.jobs))
    return Lab(
        family=job.family,
        sets=job.sets,
        settings=e.metrics,
        fast=fast,
        cache=shared_cache(e.output_dir, e.cache_gb * 2**30) if fast and not e.fresh else None,
        seed=e.seed,
        resume_dir=e.output_dir / "cache" / "training",
        code=job.inputs.code,
    )


def _changes(job: Job, edit: Edit, notes: list[str]) -> dict[str, Change]:
    """Return the states to evaluate in their order; a control that cannot be had is noted."""
    changes: dict[str, Change] = {BASE: Weights()}
    if job.experiment.control:
        control = edit.change.random_like(job.family, job.experiment.seed)
        if isinstance(control, str):
            notes.append(f"no control: {control}")
        else:
            changes[CONTROL] = control
    return {**changes, **edit.states, EDIT: edit.change, **edit.also}


def _scored(
    job: Job, lab: Lab, changes: Mapping[str, Change], companions: Companions
) -> tuple[Exam, Mapping[Key, Any], Mapping[Place, list[Score]]]:
    """Evaluate all states and write scores; return them with the exam and its answers, for the pictures."""
    e = job.experiment
    schemes = list(dict.fromkeys(["none", *e.quantization.schemes]))  # drifts refer to full precision
    with job.progress.stage("evaluating base, control and edit") as say:
        exam = job.family.exam(job.sets, e.metrics, lab.cache, say)
        evaluator = Evaluator(
            family=job.family, exam=exam, settings=e.quantization, hashes=companions.hashes, say=say
        )
        whole = [state for state in changes if on_the_way(state)]
        found = dict(evaluator.states({**changes, **companions.states}, schemes, whole))
    with job.progress.stage("scoring"):
        scores = {Place(*key): measured for key, measured in exam.scores(found, e.seed).items()}
    steps = {state: on_the_way(state) or None for state in changes} | {EDIT: len(job.sets.steps) or None}
    job.run.write_scores(
        job.identity,
        {p if p.attack else p._replace(step=steps.get(p.state)): measured for p, measured in scores.items()},
    )
    return exam, found, scores
