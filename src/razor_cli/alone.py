"""An edit by itself: found as a run finds it, with log and patch, and neither evaluated nor recorded."""

from __future__ import annotations

import time
from pathlib import Path

from razor_cli.bench import Bench, Opener, identified, sets_of
from razor_cli.config.settings import Experiment
from razor_cli.progress import Progress
from razor_cli.runs import provenance
from razor_cli.runs.folder import Run
from razor_cli.screen import Screen


def edit_alone(experiment: Experiment, console: Screen, folder: Path, *, opener: Opener | None = None) -> Run:
    """Return a run of which there is the edit alone, in `folder`: its change, its log and its examples."""
    from razor_cli.engine.compute import Job, discard_steps, edited

    started, clock, progress = provenance.now(), time.perf_counter(), Progress(console)
    bench, run = Bench(experiment, opener), Run(folder, partial=folder)
    with progress.stage("building the sets"):
        sets = sets_of(experiment, bench)
    inputs, identity = identified(experiment, sets)
    with progress.stage(f"loading {experiment.model.name}"):
        family = bench.family
    job = Job(
        experiment=experiment,
        family=family,
        sets=sets,
        run=run,
        identity=identity,
        inputs=inputs,
        progress=progress,
        started=started,
        clock=clock,
    )
    edited(job)
    discard_steps(job)
    return run
