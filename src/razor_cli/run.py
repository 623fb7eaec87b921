"""One experiment from checked settings to a recorded verdict: build, load, edit, evaluate, record.

A run that is recorded already is recognised before anything is loaded, and before torch is imported.
"""

from __future__ import annotations

import time

from razor_cli.bench import Bench, Opener, identified, memory_note, sets_of
from razor_cli.config.settings import Experiment
from razor_cli.progress import Progress, Say
from razor_cli.report.terminal import print_report
from razor_cli.runs import judged, provenance
from razor_cli.runs.folder import Run, open_run, try_place
from razor_cli.screen import Screen


def execute(experiment: Experiment, console: Screen | None = None) -> int:
    """Compute a run, or find it complete, print its report, and return the exit code.

    The verdict is that of today's bounds, which a run that is recorded already may not have been judged by.
    """
    console, clock = console or Screen(), time.perf_counter()
    run, computed = perform(experiment, console)
    if not computed:
        console.print(
            f"already recorded, nothing to compute ({time.perf_counter() - clock:.1f} s; force=true "
            "computes it again)"
        )
    acceptance = experiment.scenario.acceptance
    print_report(console, run, acceptance)
    verdict = judged.by_bounds(run, acceptance)
    return judged.exit_code(experiment.exit_on, verdict.decision if verdict else None)


def perform(
    experiment: Experiment,
    console: Screen,
    *,
    opener: Opener | None = None,
    say: Say | None = None,
) -> tuple[Run, bool]:
    """Return the complete run of an experiment, and whether it was computed now; the console is told the
    stages. `opener` opens the model where it is needed; a process of many runs may keep one open. `say` hears
    of a wait for another process; without it the console does.
    """
    started, clock, progress = provenance.now(), time.perf_counter(), Progress(console)
    bench, spec = Bench(experiment, opener), experiment.model
    try_place(experiment.output_dir, experiment.scenario.name, experiment.method.name, force=experiment.force)
    with progress.stage("building the sets"):
        sets = sets_of(experiment, bench)
    inputs, identity = identified(experiment, sets)
    where = (experiment.output_dir, identity.scenario, identity.method, identity.run_id)
    with open_run(*where, force=experiment.force, say=say or console.print) as run:
        computed = not run.complete
        if computed:
            from razor_cli.engine.compute import Job, compute

            if experiment.threads:
                import torch

                torch.set_num_threads(experiment.threads)
            if opener is None and (note := memory_note(experiment)):
                console.print(note, markup=False, highlight=False)
            with progress.stage(f"loading {spec.name}"):
                family = bench.family
            compute(
                Job(
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
            )
    return run, computed
