"""Measure the paper's propositions on one model and one target, and keep the rows:
<output_dir>/propositions/<id>.csv.

The id is made of settings, weights, pictures and code, so the same request finds its rows; the record with
settings and provenance stands beside them as <id>.json, written first: rows that are there are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

import torch

from razor_cli.bench import sets_of
from razor_cli.config.settings import Experiment, deciding, resolved
from razor_cli.contract.budget import budget_of
from razor_cli.contract.components import Component, parameters
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import ANSWERS, DENOISER, Named
from razor_cli.data.sets import ConceptSets, Judged
from razor_cli.dual.view import DualEncoder
from razor_cli.engine.lab import Lab, shared_cache
from razor_cli.errors import ConfigError
from razor_cli.escape import in_json
from razor_cli.methods.razor import Razor
from razor_cli.runs import provenance
from razor_cli.runs.code import code_version
from razor_cli.runs.folder import sweep, write_atomic
from razor_cli.runs.rows import table_csv
from razor_cli.studies import board_measures
from razor_cli.studies import proposition_measures as on_model
from razor_cli.studies.finding import Finding
from razor_cli.studies.step_claims import retention, scale_law
from razor_cli.writable import require_writable

SCORED, SEARCHED = "scored half", "searched half"
COLUMNS = (
    *"id model stand_in scenario data target method seed judged_on".split(),
    *"proposition claim at quantity value low high n unit outcome note".split(),
)
Stage = Callable[[str], AbstractContextManager[Callable[[str], None]]]


def measured(experiment: Experiment, stage: Stage) -> tuple[Path, bool]:
    """Return the file of an experiment's rows, and whether they were computed now.

    Raises ConfigError for a method other than RAZOR, whose propositions these are.
    """
    method, m = experiment.method, experiment.model
    if not isinstance(method, Razor):
        allowed = "method=razor, razor/paper, razor/bounded, razor/alg1, razor/anchor"
        raise ConfigError("the propositions are RAZOR's", allowed=allowed, found=f"method={method.name}")
    require_writable(experiment.output_dir / "propositions", "output_dir")
    sweep(experiment.output_dir)
    started = provenance.now()
    with stage(f"loading {m.name}"):
        family = m.open()
        sets = sets_of(experiment)
    settings = deciding(resolved(experiment)) | {"propositions": on_model.choices()}
    inputs = provenance.Inputs(
        weights=family.weights_hash(), data=sets.fingerprints(), code=code_version(m.family, type(method))
    )
    name = provenance.run_id(settings, inputs)
    path = experiment.output_dir / "propositions" / f"{name}.csv"
    if path.is_file() and not experiment.force:
        return path, False
    cache = shared_cache(experiment.output_dir, experiment.cache_gb * 2**30)
    family.within(budget_of(experiment.memory, family.device, experiment.jobs))
    lab = Lab(family=family, sets=sets, settings=experiment.metrics, cache=cache, seed=experiment.seed)
    findings, edit = of_target(lab, method, stage, by_pairs=not m.offers & {DENOISER, ANSWERS})
    origin = provenance.collect(
        inputs,
        device=family.device,
        dtype="float32",
        threads=torch.get_num_threads(),
        seed=experiment.seed,
        started=started,
        set_sizes=sets.sizes(),
    )
    record = {
        "id": name,
        "family": m.family,
        "settings": settings,
        "provenance": origin.model_dump(),
        "components": edit.components,
        "cost": asdict(edit.cost),
        "notes": [*edit.notes, *cache.notes(), *sets.mended()],
    }
    _write(path, experiment, sets.target, record, findings)
    return path, True


def _write(
    path: Path,
    experiment: Experiment,
    target: str,
    record: Mapping[str, object],
    findings: Sequence[Finding],
) -> None:
    """Write the record, then the rows: rows that are there are complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = in_json(record, indent=1) + "\n"
    write_atomic(path.with_suffix(".json"), text)
    head = {
        "id": record["id"],
        "model": experiment.model.name,
        "stand_in": experiment.model.stand_in,
        "scenario": experiment.scenario.name,
        "data": experiment.data.label(experiment.scenario.pictures.value),
        "target": target,
        "method": experiment.method.name,
        "seed": experiment.seed,
        "judged_on": experiment.judged_on.value,
    }
    write_atomic(path, table_csv(COLUMNS, [head | asdict(f) for f in findings]))


def of_target(lab: Lab, method: Razor, stage: Stage, *, by_pairs: bool = True) -> tuple[list[Finding], Edit]:
    """Edit once, and return the findings of all four propositions with the edit; the model is as before
    afterwards. `by_pairs`: P1 to P3 are judged on pairs of pictures and texts, and otherwise by the family's
    scoreboard.
    """
    family = lab.family
    with stage(f"forgetting {lab.sets.target} with {method.name}") as say:
        lab.say = say
        edit = method.edit(lab)
        lab.say = lambda _: None
    components = family.components(method.granularity, method.towers, method.include_projections)
    moved = [c for c in components if c.name in set(edit.components)]
    findings = (_edit_by_pairs if by_pairs else _edit_by_board)(lab, method, edit, moved, stage)
    with stage("P3: one small step at each rho"):
        forget, retain = lab.gradients(method.plan)
        chosen = on_model.first_choice(family, components, method, forget, retain)
        steps = _steps_by_pairs if by_pairs else board_measures.of_steps
        findings += steps(lab, method, chosen, forget, retain)
    with stage("P4: scaled weights and gradients"):
        findings += scale_law(
            components,
            parameters(family),
            forget,
            retain,
            alpha=method.alpha,
            epsilon=method.epsilon,
            power=method.norm_power,
        )
        findings += on_model.scaled_in_model(family, components, method, lab)
    return findings, edit


def _edit_by_pairs(
    lab: Lab, method: Razor, edit: Edit, moved: Sequence[Component], stage: Stage
) -> list[Finding]:
    model: DualEncoder = lab.dual()
    sets: ConceptSets = lab.sets
    with stage("P1: the edit without each component"):
        findings = [
            f
            for judged, name in ((sets.validation, SEARCHED), (sets.evaluation, SCORED))
            for f in on_model.needed(model, sets, judged, method, edit, moved, name)
        ]
    with stage("P2: similarities of forget pairs"):
        findings += on_model.forgotten(model, sets.evaluation, edit)
    return findings


def _edit_by_board(
    lab: Lab, method: Razor, edit: Edit, moved: Sequence[Component], stage: Stage
) -> list[Finding]:
    with stage("P1 and P2: the edit, and without each component"):
        return board_measures.of_edit(lab, method, edit, moved)


def _steps_by_pairs(
    lab: Lab, method: Razor, chosen: Sequence[Component], forget: Named, retain: Named
) -> list[Finding]:
    model: DualEncoder = lab.dual()
    sets: ConceptSets = lab.sets
    findings = []
    for judged, name in (
        (Judged(sets.forget, sets.retain), "pictures of the edit"),
        (sets.evaluation, SCORED),
    ):
        sweep_of = on_model.rho_sweep(model, sets, judged, method, chosen, forget, retain)
        findings += retention(sweep_of, name)
    return findings
