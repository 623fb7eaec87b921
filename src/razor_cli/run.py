"""One experiment from checked settings to a recorded verdict: load, build, edit, save, quantize, evaluate, record."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from razor_cli import __version__, plots, provenance
from razor_cli.data.build import Kind, build_sets
from razor_cli.data.disjoint import six_sets, split_record
from razor_cli.data.halves import doubled, on_validation
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.evaluation import Evaluator, Key, score_all
from razor_cli.engine.lab import Lab, shared_cache
from razor_cli.methods.base import Edit
from razor_cli.methods.random_control import control_of
from razor_cli.metrics.clip import Features, similarity
from razor_cli.metrics.score import Score
from razor_cli.metrics.verdict import judge, parse_bounds, summary
from razor_cli.models.base import parameters
from razor_cli.models.dual import Clip
from razor_cli.models.load import load
from razor_cli.patch import write_patch
from razor_cli.progress import Progress
from razor_cli.quantization import weight_report
from razor_cli.quantization_scope import transposed_weights
from razor_cli.records import CostRecord, Decision, Identity, RunRecord, Verdict, edited_components
from razor_cli.report import print_report
from razor_cli.results import Run, open_run, write_atomic
from razor_cli.settings import Data, DataKind, Experiment, resolved

REJECTED = 3  # exit code with exit_on_reject=true
SHOWN = 12  # concepts in the cosine matrices


def execute(experiment: Experiment, console: Console | None = None) -> int:
    """Compute a run, or find it complete, print its report, and return the exit code."""
    console = console or Console()
    logging.getLogger("root").setLevel(logging.WARNING)  # open_clip logs to the root logger while it loads
    if experiment.threads:
        torch.set_num_threads(experiment.threads)
    started, clock = provenance.now(), time.perf_counter()
    progress = Progress(console)
    with progress.stage(f"loading {experiment.model.name}"):
        m = experiment.model
        model = load(name=m.name, library=m.library, architecture=m.full_architecture, weights=m.weights, device=m.device)
    with progress.stage("building the sets"):
        sets = sets_of(experiment)
    prints = sets.fingerprints()
    run_id = provenance.run_id(resolved(experiment), model.weights_hash(), prints, provenance.code_version())
    identity = Identity(
        run_id=run_id, model=m.name, family=m.family, stand_in=m.stand_in, scenario=experiment.scenario.name,
        data=kind_of(experiment).value, target=sets.target, method=experiment.method.name, seed=experiment.seed,
        judged_on=experiment.judged_on.value,
    )  # fmt: skip
    with open_run(experiment.output_dir, identity.scenario, identity.method, run_id, force=experiment.force) as run:
        if run.complete:
            console.print(
                f"already recorded, nothing to compute ({time.perf_counter() - clock:.1f} s; force=true computes it again)"
            )
        else:
            compute(experiment, model, sets, run, identity, progress, started, clock)
        print_report(console, run)
        verdict = run.record.verdict
    return REJECTED if experiment.exit_on_reject and verdict and verdict.decision is Decision.REJECTED else 0


def compute(
    experiment: Experiment,
    model: Clip,
    sets: ConceptSets,
    run: Run,
    identity: Identity,
    progress: Progress,
    started: str,
    clock: float,
) -> None:
    """Compute everything of one run and record it; nothing is visible under the run's name before the end."""
    run.write_config(resolved(experiment))
    fast = experiment.engine == "fast"
    cache = shared_cache(experiment.output_dir) if fast else None
    with progress.stage(f"forgetting {sets.target} with {identity.method}") as say:
        lab = Lab(model=model, sets=sets, fast=fast, cache=cache, seed=experiment.seed, say=say)
        edit = experiment.method.edit(model, sets, lab)
    run.write_log(edit.log)
    write_atomic(run.path("split.json"), json.dumps(split_record(sets), indent=1, ensure_ascii=False))
    with progress.stage("evaluating base, control and edit") as say:
        evaluator = Evaluator(model=model, sets=sets, members=sets.forget, cache=cache, say=say)
        changes: dict[str, Mapping[str, torch.Tensor]] = {"base": {}, "edit": edit.values}
        if experiment.control:
            changes = {"base": {}, "control": control_of(model, edit.values, experiment.seed), "edit": edit.values}
        schemes = list(dict.fromkeys(["none", *experiment.quantization.schemes]))  # drifts and drops refer to full precision
        found = dict(evaluator.states(changes, schemes, experiment.quantization))
    with progress.stage("scoring"):
        scores = score_all(found, experiment.metrics, experiment.seed)
    run.write_scores(identity, scores)
    draw(run, evaluator, sets)
    patch = save_patch(run.path("patch.safetensors"), edit, model, sets, experiment, identity)
    run.finish(record_of(experiment, identity, model, sets, edit, scores, patch, started, time.perf_counter() - clock))


def kind_of(experiment: Experiment) -> Kind:
    """Return which source shows the target."""
    embedded = experiment.data.kind in (DataKind.STANDIN, DataKind.CIFAR10)
    return Kind(experiment.scenario.pictures.value) if embedded else Kind(experiment.data.kind.value)


def sets_of(experiment: Experiment) -> ConceptSets:
    """Return the run's sets; another seed draws other pictures, unless data.seed holds them fixed."""
    data: Data = experiment.data
    sizes = Sizes(**{f.name: getattr(data, f"n_{f.name}") for f in dataclasses.fields(Sizes)})
    held_back = experiment.judged_on == "validation"  # then evaluation pictures take no part at all
    sets = build_sets(
        kind=kind_of(experiment), target=experiment.target, domain=experiment.scenario.domain, aliases=tuple(data.aliases),
        keyword=data.keyword, root=data.root, retain_root=data.retain_root, retain_domain=data.retain_domain,
        cifar_root=data.cifar_root or "auto", class_names=tuple(data.class_names),
        sizes=doubled(sizes) if held_back else sizes, max_corrupt=data.max_corrupt,
        suites=tuple(s.value for s in experiment.scenario.suites), min_forget=data.min_forget, stand_in=experiment.model.stand_in,
        seed=experiment.seed if data.seed is None else data.seed,
    )  # fmt: skip
    return on_validation(sets) if held_back else sets


def draw(run: Run, evaluator: Evaluator, sets: ConceptSets) -> None:
    """Draw the two pictures from the full-precision base and edit."""
    before, after = evaluator.features[("base", "none")], evaluator.features[("edit", "none")]
    target = sets.target
    title = f"Forgetting {target}: picture-caption cosines"
    plots.similarity_histograms(run.path("similarity.png"), *_cosines(before, after), title=title)
    rows = [target, *sets.retain_names[: SHOWN - 1]]
    matrices = [_matrix(f, len(rows)) for f in (before, after)]
    keep = [i for i in range(len(rows)) if all(bool(torch.isfinite(m[i]).all()) for m in matrices)]
    names = [rows[i] for i in keep]
    first, second = (m[keep][:, keep].numpy() for m in matrices)
    plots.cosine_matrices(run.path("cosines.png"), first, second, names, names, title=f"Text-image cosines, {target} first")


def _cosines(before: Features, after: Features) -> list[Any]:
    forget = [similarity(f.forget_images, f.forget_captions).numpy() for f in (before, after)]
    retain = [similarity(f.retain_images, f.retain_captions).numpy() for f in (before, after)]
    return [*forget, *retain]


def _matrix(f: Features, count: int) -> torch.Tensor:
    """Return the mean cosine of each concept's pictures with each prompt [count, count]; NaN for a concept without pictures."""
    groups = [f.forget_images, *(f.retain_images[f.retain_concepts == i] for i in range(1, count))]
    return torch.stack([(g @ f.class_prompts[:count].T).mean(0) for g in groups])


def save_patch(path: Path, edit: Edit, model: Clip, sets: ConceptSets, experiment: Experiment, identity: Identity) -> int | None:
    """Write the patch and return its size in bytes; None if the edit changes nothing."""
    if not edit.values:
        return None
    settings = {"method": identity.method, "scenario": identity.scenario, "version": __version__}
    write_patch(
        path, {n: v.cpu() for n, v in edit.values.items()}, model.stored, method=identity.method, target=sets.target,
        name_target=experiment.patch_names_target, settings=settings,
    )  # fmt: skip
    return path.stat().st_size


def record_of(
    experiment: Experiment, identity: Identity, model: Clip, sets: ConceptSets, edit: Edit, scores: dict[Key, list[Score]],
    patch_bytes: int | None, started: str, seconds: float,
) -> RunRecord:  # fmt: skip
    """Return run.json."""
    bounds = parse_bounds(experiment.scenario.acceptance)
    judged = judge(scores, bounds) if bounds else None
    verdict = Verdict(decision=Decision(judged.outcome.value), reasons=summary(judged, bounds)) if judged else None
    pairs = six_sets(sets) | {f"suite_{x.name}": x.pairs for x in sets.suites}
    origin = provenance.collect(
        device=model.device, dtype="float32", threads=torch.get_num_threads(), seed=experiment.seed, started=started,
        weights_hash=model.weights_hash(), data_fingerprints=sets.fingerprints(), set_sizes={n: len(p) for n, p in pairs.items()},
    )  # fmt: skip
    notes = [*sets.notes, *edit.notes, *survival(experiment, model, edit)]
    cost = CostRecord.of(edit.cost, run_seconds=seconds, peak_rss_mb=provenance.peak_rss_mb(), patch_bytes=patch_bytes)
    return RunRecord(
        **identity.model_dump(), settings=resolved(experiment), provenance=origin, cost=cost, verdict=verdict,
        components=edited_components(edit.components, edit.log), notes=notes,
    )  # fmt: skip


def survival(experiment: Experiment, model: Clip, edit: Edit) -> list[str]:
    """Return per quantization how much of the edit's direction survives rounding in the changed matrices."""
    notes = []
    live = parameters(model)
    for scheme in experiment.quantization.schemes:
        before = {n: live[n] for n in edit.values}
        rows = weight_report(before, edit.values, scheme, experiment.quantization, transposed_weights(model))
        if rows:
            codes, cosine = (sum(getattr(r, k) for r in rows) / len(rows) for k in ("codes_changed", "cos_survive"))
            notes.append(
                f"{scheme}: {100 * codes:.1f} % of the codes of the edited matrices change, cosine to the edit {cosine:.2f}"
            )
    return notes
