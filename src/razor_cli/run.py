"""One experiment from checked settings to a recorded verdict: build, load, edit, evaluate, record.

A run that is recorded already is recognised before anything is loaded, and before torch is imported.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from razor_cli.config.settings import Data, DataKind, Experiment, classes_of, resolved
from razor_cli.contract.family import Family
from razor_cli.data.benchmarks import Benchmarks
from razor_cli.data.build import Kind, build_sets, resolve_cifar
from razor_cli.data.choices import LABELLED
from razor_cli.data.fine_grained import FineRequest, fine_sets
from razor_cli.data.fine_labelled import LabelledRequest, labelled_sets
from razor_cli.data.halves import doubled, on_validation
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.celeba import read_names
from razor_cli.data.sources.cifar10 import Cifar10
from razor_cli.dual.difficulty import class_confidence
from razor_cli.progress import Progress
from razor_cli.report.terminal import print_report
from razor_cli.runs import provenance
from razor_cli.runs.code import code_version
from razor_cli.runs.folder import Run, open_run
from razor_cli.runs.records import Decision, Identity

REJECTED = 3  # exit code with exit_on_reject=true
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


def execute(experiment: Experiment, console: Console | None = None) -> int:
    """Compute a run, or find it complete, print its report, and return the exit code."""
    console, clock = console or Console(), time.perf_counter()
    run, computed = perform(experiment, console)
    if not computed:
        console.print(
            f"already recorded, nothing to compute ({time.perf_counter() - clock:.1f} s; force=true "
            "computes it again)"
        )
    print_report(console, run)
    verdict = run.record.verdict
    return REJECTED if experiment.exit_on_reject and verdict and verdict.decision is Decision.REJECTED else 0


def perform(experiment: Experiment, console: Console, *, opener: Opener | None = None) -> tuple[Run, bool]:
    """Return the complete run of an experiment, and whether it was computed now; the console is told the
    stages. `opener` opens the model where it is needed; a process of many runs may keep one open.
    """
    started, clock, progress = provenance.now(), time.perf_counter(), Progress(console)
    bench, spec = Bench(experiment, opener), experiment.model
    with progress.stage("building the sets"):
        sets = sets_of(experiment, bench)
    beside = {f"weights_{state}": found for state, found in spec.beside(sets.target).items()}
    code = code_version(spec.family, *classes_of(experiment))
    inputs = provenance.Inputs(weights=spec.weights_hash(), data=sets.fingerprints() | beside, code=code)
    identity = Identity(
        run_id=provenance.run_id(resolved(experiment), inputs),
        model=spec.name,
        family=spec.family,
        stand_in=spec.stand_in,
        scenario=experiment.scenario.name,
        data=kind_of(experiment),
        target=sets.target,
        method=experiment.method.name,
        seed=experiment.seed,
        judged_on=experiment.judged_on.value,
    )
    where = (experiment.output_dir, identity.scenario, identity.method, identity.run_id)
    with open_run(*where, force=experiment.force) as run:
        computed = not run.complete
        if computed:
            from razor_cli.engine.compute import Job, compute

            if experiment.threads:
                import torch

                torch.set_num_threads(experiment.threads)
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


def kind_of(experiment: Experiment) -> str:
    """Return which source shows the target."""
    embedded = experiment.data.kind in (DataKind.STANDIN, DataKind.CIFAR10)
    return experiment.scenario.pictures.value if embedded else experiment.data.kind.value


def sets_of(experiment: Experiment, bench: Bench | None = None) -> ConceptSets:
    """Return the run's sets; another seed draws other pictures, unless data.seed holds them fixed.

    A level of difficulty as target is found with the model, which is loaded if it is not given.
    """
    data: Data = experiment.data
    sizes = Sizes(**{f.name: getattr(data, f"n_{f.name}") for f in dataclasses.fields(Sizes)})
    held_back = experiment.judged_on == "validation"  # then evaluation pictures take no part at all
    sizes = doubled(sizes) if held_back else sizes
    if experiment.scenario.taxonomy:
        sets = traced_sets(experiment, sizes, bench)
        return on_validation(sets) if held_back else sets
    sets = build_sets(
        kind=Kind(kind_of(experiment)),
        target=experiment.target,
        domain=experiment.scenario.domain,
        aliases=tuple(data.aliases),
        keyword=data.keyword,
        root=data.root,
        retain_root=data.retain_root,
        retain_domain=data.retain_domain,
        cifar_root=data.cifar_root or "auto",
        class_names=listed_names(data),
        sizes=sizes,
        max_corrupt=data.max_corrupt,
        suites=tuple(s.value for s in experiment.scenario.suites),
        min_forget=data.min_forget,
        stand_in=experiment.model.stand_in,
        seed=experiment.seed if data.seed is None else data.seed,
        benchmarks=benchmarks_of(data),
    )
    return on_validation(sets) if held_back else sets


def traced_sets(experiment: Experiment, sizes: Sizes, bench: Bench | None) -> ConceptSets:
    """Return the sets of a run on a taxonomy."""
    ask = traced_request(experiment, sizes, bench)
    return labelled_sets(ask) if isinstance(ask, LabelledRequest) else fine_sets(ask)


def traced_request(
    experiment: Experiment, sizes: Sizes, bench: Bench | None
) -> FineRequest | LabelledRequest:
    """Return what a run on a taxonomy asks for, of embedded pictures or of labelled photographs."""
    data, scenario = experiment.data, experiment.scenario
    asked: dict[str, Any] = {
        "target": experiment.target,
        "forget": tuple(data.forget),
        "called": scenario.default_target,
        "coarse_text": data.coarse_text,
        "sizes": sizes,
        "seed": experiment.seed if data.seed is None else data.seed,
        "confidence": lambda pairs, prompts: class_confidence(
            (bench or Bench(experiment)).family.dual(), pairs, prompts
        ),
    }
    if data.kind in LABELLED:
        assert data.root is not None  # pairings.py refuses it
        return LabelledRequest(
            root=data.root,
            taxonomy=data.taxonomy,
            prompts=data.prompts,
            ood_root=data.ood_root,
            suite_roots=data.suite_roots,
            max_corrupt=data.max_corrupt,
            min_forget=data.min_forget,
            **asked,
        )
    cifar = resolve_cifar(data.cifar_root or "auto")
    return FineRequest(
        pictures=scenario.pictures.value,
        domain=scenario.domain,
        suites=tuple(s.value for s in scenario.suites),
        cifar=Cifar10(cifar) if cifar else None,
        cache=None,
        **asked,
    )


def listed_names(data: Data) -> tuple[str, ...]:
    """Return the names without pictures that the settings and their file list."""
    return (*data.class_names, *(read_names(data.names_file) if data.names_file else ()))


def benchmarks_of(data: Data) -> Benchmarks:
    """Return which public benchmarks the data settings name."""
    return Benchmarks(**{f.name: getattr(data, f.name) for f in dataclasses.fields(Benchmarks)})
