"""One experiment from checked settings to a recorded verdict: load, build, edit, save, quantize, evaluate,
record.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from razor_cli import __version__
from razor_cli.config.settings import Data, DataKind, Experiment, composed, resolved
from razor_cli.contract.method import Edit
from razor_cli.data.benchmarks import Benchmarks
from razor_cli.data.build import Kind, build_sets, resolve_cifar
from razor_cli.data.choices import LABELLED
from razor_cli.data.disjoint import shifted_sets, six_sets, split_record
from razor_cli.data.fine_grained import FineRequest, fine_sets
from razor_cli.data.fine_labelled import LabelledRequest, labelled_sets
from razor_cli.data.halves import doubled, on_validation
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.celeba import read_names
from razor_cli.data.sources.cifar10 import Cifar10
from razor_cli.dual.difficulty import class_confidence
from razor_cli.dual.measures import Features, forget_labels, similarity
from razor_cli.engine.evaluation import Evaluator, Key, score_all
from razor_cli.engine.lab import Lab, shared_cache
from razor_cli.families.clip.companions import Companions, load_companions
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.load import load
from razor_cli.families.clip.standins import DEFAULT, stand_in_folder
from razor_cli.methods.random_control import control_of
from razor_cli.metrics.score import Score
from razor_cli.metrics.verdict import judge, parse_bounds, summary
from razor_cli.progress import Progress
from razor_cli.report import plots
from razor_cli.report.terminal import print_report
from razor_cli.runs import provenance
from razor_cli.runs.code import code_version
from razor_cli.runs.folder import Run, open_run, write_atomic
from razor_cli.runs.records import CostRecord, Decision, Identity, RunRecord, Verdict, edited_components
from razor_cli.weights.patch import write_patch
from razor_cli.weights.survival import Survival, sized, survival_csv, survival_notes, survival_of

Opener = Callable[[Experiment], Clip]

REJECTED = 3  # exit code with exit_on_reject=true
SHOWN = 12  # concepts in the cosine matrices


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


def perform(experiment: Experiment, console: Console, opened: Opener | None = None) -> tuple[Run, bool]:
    """Return the complete run of an experiment, and whether it was computed now; the console is told the
    stages. `opened` gives the model where the caller keeps one; the run leaves it as it was, to the bit.
    """
    logging.getLogger("root").setLevel(logging.WARNING)  # open_clip logs to the root logger while it loads
    if experiment.threads:
        torch.set_num_threads(experiment.threads)
    started, clock = provenance.now(), time.perf_counter()
    progress = Progress(console)
    with progress.stage(f"loading {experiment.model.name}"):
        m, model = experiment.model, (opened or model_of)(experiment)
    with progress.stage("building the sets"):
        sets = sets_of(experiment, model)
    companions = companions_of(experiment, model, sets)
    prints = sets.fingerprints() | companions.fingerprints()
    inputs = provenance.Inputs(
        weights=model.weights_hash(), data=prints, code=code_version(m.family, type(experiment.method))
    )
    run_id = provenance.run_id(resolved(experiment), inputs)
    identity = Identity(
        run_id=run_id,
        model=m.name,
        family=m.family,
        stand_in=m.stand_in,
        scenario=experiment.scenario.name,
        data=kind_of(experiment).value,
        target=sets.target,
        method=experiment.method.name,
        seed=experiment.seed,
        judged_on=experiment.judged_on.value,
    )
    with open_run(
        experiment.output_dir, identity.scenario, identity.method, run_id, force=experiment.force
    ) as run:
        computed = not run.complete
        if computed:
            compute(experiment, model, sets, companions, run, identity, inputs, progress, started, clock)
    return run, computed


def compute(
    experiment: Experiment,
    model: Clip,
    sets: ConceptSets,
    companions: Companions,
    run: Run,
    identity: Identity,
    inputs: provenance.Inputs,
    progress: Progress,
    started: str,
    clock: float,
) -> None:
    """Compute everything of one run and record it; nothing is visible under the run's name before the end."""
    run.write_config(composed(experiment))
    fast = experiment.engine == "fast"
    cache = shared_cache(experiment.output_dir) if fast else None
    with progress.stage(f"forgetting {sets.target} with {identity.method}") as say:
        lab = Lab(
            model=model,
            sets=sets,
            fast=fast,
            cache=cache,
            seed=experiment.seed,
            say=say,
            resume_dir=experiment.output_dir / "cache" / "training",
        )
        edit = experiment.method.edit(model, sets, lab)
    run.write_log(edit.log)
    write_atomic(run.path("split.json"), json.dumps(split_record(sets), indent=1, ensure_ascii=False))
    with progress.stage("evaluating base, control and edit") as say:
        evaluator = Evaluator(
            model=model, sets=sets, members=sets.forget, cache=cache, hashes=companions.hashes, say=say
        )
        changes: dict[str, Mapping[str, torch.Tensor]] = {"base": {}, "edit": edit.values}
        if experiment.control:
            changes = {
                "base": {},
                "control": control_of(model, edit.values, experiment.seed),
                "edit": edit.values,
            }
        schemes = list(
            dict.fromkeys(["none", *experiment.quantization.schemes])
        )  # drifts and drops refer to full precision
        found = dict(evaluator.states(changes | dict(companions.states), schemes, experiment.quantization))
    with progress.stage("scoring"):
        scores = score_all(found, experiment.metrics, experiment.seed)
    run.write_scores(identity, scores)
    draw(run, evaluator, sets)
    survival = survival_of(model, edit.values, experiment.quantization)
    write_atomic(run.path("survival.csv"), survival_csv(survival))
    patch = save_patch(run.path("patch.safetensors"), edit, model, sets, experiment, identity)
    run.finish(
        record_of(
            experiment,
            identity,
            inputs,
            model,
            sets,
            companions,
            edit,
            scores,
            survival,
            patch,
            started,
            time.perf_counter() - clock,
        )
    )


def kind_of(experiment: Experiment) -> Kind:
    """Return which source shows the target."""
    embedded = experiment.data.kind in (DataKind.STANDIN, DataKind.CIFAR10)
    return Kind(experiment.scenario.pictures.value) if embedded else Kind(experiment.data.kind.value)


def model_of(experiment: Experiment) -> Clip:
    """Load the run's model."""
    m = experiment.model
    return load(
        name=m.name, library=m.library, architecture=m.full_architecture, weights=m.weights, device=m.device
    )


def sets_of(experiment: Experiment, model: Clip | None = None) -> ConceptSets:
    """Return the run's sets; another seed draws other pictures, unless data.seed holds them fixed.

    A level of difficulty as target is found with `model`, which is loaded if it is not given.
    """
    data: Data = experiment.data
    sizes = Sizes(**{f.name: getattr(data, f"n_{f.name}") for f in dataclasses.fields(Sizes)})
    held_back = experiment.judged_on == "validation"  # then evaluation pictures take no part at all
    sizes = doubled(sizes) if held_back else sizes
    if experiment.scenario.taxonomy:
        sets = traced_sets(experiment, sizes, model)
        return on_validation(sets) if held_back else sets
    sets = build_sets(
        kind=kind_of(experiment),
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


def traced_sets(experiment: Experiment, sizes: Sizes, model: Clip | None) -> ConceptSets:
    """Return the sets of a run on a taxonomy."""
    ask = traced_request(experiment, sizes, model)
    return labelled_sets(ask) if isinstance(ask, LabelledRequest) else fine_sets(ask)


def traced_request(experiment: Experiment, sizes: Sizes, model: Clip | None) -> FineRequest | LabelledRequest:
    """Return what a run on a taxonomy asks for, of embedded pictures or of labelled photographs."""
    data, scenario = experiment.data, experiment.scenario
    asked: dict[str, Any] = {
        "target": experiment.target,
        "forget": tuple(data.forget),
        "called": scenario.default_target,
        "coarse_text": data.coarse_text,
        "sizes": sizes,
        "seed": experiment.seed if data.seed is None else data.seed,
        "confidence": lambda pairs, prompts: class_confidence(model or model_of(experiment), pairs, prompts),
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


def draw(run: Run, evaluator: Evaluator, sets: ConceptSets) -> None:
    """Draw the two pictures from the full-precision base and edit."""
    before, after = evaluator.features[("base", "none")], evaluator.features[("edit", "none")]
    target = sets.target
    title = f"Forgetting {target}: picture-caption cosines"
    plots.similarity_histograms(run.path("similarity.png"), *_cosines(before, after), title=title)
    gone = len(sets.forget_names)
    shown = [*range(min(gone, SHOWN // 2)), *range(gone, len(sets.class_names))][
        :SHOWN
    ]  # numbers of the classes
    rows = [sets.class_names[i] for i in shown]
    matrices = [_matrix(f, shown) for f in (before, after)]
    keep = [i for i in range(len(rows)) if all(bool(torch.isfinite(m[i]).all()) for m in matrices)]
    names = [rows[i] for i in keep]
    first, second = (m[keep][:, keep].numpy() for m in matrices)
    write_atomic(run.path("cosines.csv"), plots.cosines_csv(first, second, names))
    plots.cosine_matrices(
        run.path("cosines.png"), first, second, names, names, title=f"Text-image cosines, {target} first"
    )


def _cosines(before: Features, after: Features) -> list[Any]:
    forget = [similarity(f.forget_images, f.forget_captions).numpy() for f in (before, after)]
    retain = [similarity(f.retain_images, f.retain_captions).numpy() for f in (before, after)]
    return [*forget, *retain]


def _matrix(f: Features, classes: list[int]) -> torch.Tensor:
    """Return the mean cosine of each class's pictures with each one's prompt [n, n]; NaN for a class without
    pictures.
    """
    labels = forget_labels(f)
    groups = [
        f.forget_images[labels == i] if i < f.forgotten else f.retain_images[f.retain_concepts == i]
        for i in classes
    ]
    return torch.stack([(g @ f.class_prompts[classes].T).mean(0) for g in groups])


def companions_of(experiment: Experiment, model: Clip, sets: ConceptSets) -> Companions:
    """Return the models that the run is held against; a stand-in's own lie beside its embedded weights."""
    m = experiment.model
    folder = stand_in_folder(m.architecture or DEFAULT) if m.stand_in else None
    return load_companions(model, sets.target, oracle=m.oracle, reseeded=m.reseeded, folder=folder)


def save_patch(
    path: Path, edit: Edit, model: Clip, sets: ConceptSets, experiment: Experiment, identity: Identity
) -> int | None:
    """Write the patch and return its size in bytes; None if the edit changes nothing."""
    if not edit.values:
        return None
    settings = {"method": identity.method, "scenario": identity.scenario, "version": __version__}
    write_patch(
        path,
        {n: v.cpu() for n, v in edit.values.items()},
        model.stored,
        method=identity.method,
        target=sets.target,
        name_target=experiment.patch_names_target,
        settings=settings,
    )
    return path.stat().st_size


def record_of(
    experiment: Experiment,
    identity: Identity,
    inputs: provenance.Inputs,
    model: Clip,
    sets: ConceptSets,
    companions: Companions,
    edit: Edit,
    scores: dict[Key, list[Score]],
    survival: list[Survival],
    patch_bytes: int | None,
    started: str,
    seconds: float,
) -> RunRecord:
    """Return run.json."""
    bounds = parse_bounds(experiment.scenario.acceptance)
    judged = judge(scores, bounds) if bounds else None
    verdict = (
        Verdict(decision=Decision(judged.outcome.value), reasons=summary(judged, bounds)) if judged else None
    )
    pairs = six_sets(sets) | {f"suite_{x.name}": x.pairs for x in sets.suites} | shifted_sets(sets)
    origin = provenance.collect(
        inputs,
        device=model.device,
        dtype="float32",
        threads=torch.get_num_threads(),
        seed=experiment.seed,
        started=started,
        set_sizes={n: len(p) for n, p in pairs.items()},
    )
    notes = [*sets.notes, *companions.notes, *edit.notes, *survival_notes(survival)]
    cost = CostRecord.of(
        edit.cost, run_seconds=seconds, peak_rss_mb=provenance.peak_rss_mb(), patch_bytes=patch_bytes
    )
    return RunRecord(
        **identity.model_dump(),
        settings=resolved(experiment),
        overrides=experiment.overrides,
        provenance=origin,
        cost=cost,
        verdict=verdict,
        components=sized(edited_components(edit.components, edit.log), model, edit.values),
        notes=notes,
    )
