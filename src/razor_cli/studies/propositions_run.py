"""Measure the paper's propositions on one model and one target, and keep the rows:
<output_dir>/propositions/<id>.csv.

The id is made of settings, weights, pictures and code, so the same request finds its rows; the record with
settings and provenance stands beside them as <id>.json, written first: rows that are there are complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from razor_cli.config.settings import Experiment, resolved
from razor_cli.contract.components import Component, parameters, swapped
from razor_cli.contract.edit import Cost, Edit
from razor_cli.data.disjoint import six_sets
from razor_cli.data.sets import ConceptSets, Judged, Pairs
from razor_cli.dual.board import Board
from razor_cli.dual.gradients import Named, batches
from razor_cli.dual.losses import pair_cosines
from razor_cli.engine.lab import HEAD_LOSSES, Lab, shared_cache
from razor_cli.engine.saliency import Saliency, measure, select
from razor_cli.engine.search import Aim, norm
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.load import load
from razor_cli.methods.razor import Razor
from razor_cli.run import kind_of, sets_of
from razor_cli.runs import provenance
from razor_cli.runs.code import code_version
from razor_cli.runs.folder import write_atomic
from razor_cli.runs.rows import table_csv
from razor_cli.studies import propositions as p

RHOS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
STEP = 0.01  # P3: no component moves by more than this share of its norm at rho 1
SCALED = 8  # P4: so many components are scaled in the model, evenly spread
FACTOR = 2.0  # ... by this much
SAMPLE = 128  # ... and their gradients taken on so many pictures of each set
BATCH = 128
SCORED, SEARCHED = "scored half", "searched half"
COLUMNS = (
    "id",
    "model",
    "stand_in",
    "scenario",
    "data",
    "target",
    "method",
    "seed",
    "judged_on",
    "proposition",
    "claim",
    "at",
    "quantity",
    "value",
    "low",
    "high",
    "n",
    "unit",
    "outcome",
    "note",
)
Stage = Callable[[str], AbstractContextManager[Callable[[str], None]]]


def measured(experiment: Experiment, stage: Stage) -> tuple[Path, bool]:
    """Return the file of an experiment's rows, and whether they were computed now.

    Raises ConfigError for a method other than RAZOR, whose propositions these are.
    """
    method, m = experiment.method, experiment.model
    if not isinstance(method, Razor):
        allowed = "method=razor, razor_paper, razor_alg1, razor_anchor"
        raise ConfigError("the propositions are RAZOR's", allowed=allowed, found=f"method={method.name}")
    started = provenance.now()
    with stage(f"loading {m.name}"):
        model = load(
            name=m.name,
            library=m.library,
            architecture=m.full_architecture,
            weights=m.weights,
            device=m.device,
        )
        sets = sets_of(experiment)
    settings = resolved(experiment) | {
        "propositions": {"rhos": RHOS, "step": STEP, "factor": FACTOR, "sample": SAMPLE}
    }
    inputs = provenance.Inputs(
        weights=model.weights_hash(), data=sets.fingerprints(), code=code_version(m.family, type(method))
    )
    name = provenance.run_id(settings, inputs)
    folder = experiment.output_dir / "propositions"
    path = folder / f"{name}.csv"
    if path.is_file() and not experiment.force:
        return path, False
    lab = Lab(model=model, sets=sets, cache=shared_cache(experiment.output_dir), seed=experiment.seed)
    findings, edit = of_target(model, sets, method, lab, stage)
    origin = provenance.collect(
        inputs,
        device=model.device,
        dtype="float32",
        threads=torch.get_num_threads(),
        seed=experiment.seed,
        started=started,
        set_sizes={n: len(v) for n, v in six_sets(sets).items()},
    )
    record = {
        "id": name,
        "settings": settings,
        "provenance": origin.model_dump(),
        "components": edit.components,
        "cost": asdict(edit.cost),
        "notes": edit.notes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(
        path.with_suffix(".json"), json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n"
    )
    head = {
        "id": name,
        "model": m.name,
        "stand_in": m.stand_in,
        "scenario": experiment.scenario.name,
        "data": kind_of(experiment).value,
        "target": sets.target,
        "method": method.name,
        "seed": experiment.seed,
        "judged_on": experiment.judged_on.value,
    }
    write_atomic(path, table_csv(COLUMNS, [head | asdict(f) for f in findings]))
    return path, True


def of_target(
    model: Clip, sets: ConceptSets, method: Razor, lab: Lab, stage: Stage
) -> tuple[list[p.Finding], Edit]:
    """Edit once, and return the findings of all four propositions with the edit; the model is as before
    afterwards.
    """
    with stage(f"forgetting {sets.target} with {method.name}") as say:
        lab.say = say
        edit = method.edit(model, sets, lab)
        lab.say = lambda _: None
    components = model.components(method.granularity, method.towers, method.include_projections)
    with stage("P1: the edit without each component"):
        moved = [c for c in components if c.name in set(edit.components)]
        findings = [
            f
            for judged, name in ((sets.validation, SEARCHED), (sets.evaluation, SCORED))
            for f in needed(model, sets, judged, method, edit, moved, name)
        ]
    with stage("P2: similarities of forget pairs"):
        findings += forgotten(model, sets.evaluation, edit)
    with stage("P3: one small step at each rho"):
        forget, retain = lab.gradients(method.plan)
        chosen = first_choice(model, components, method, forget, retain)
        for judged, name in (
            (Judged(sets.forget, sets.retain), "pictures of the edit"),
            (sets.evaluation, SCORED),
        ):
            findings += p.retention(rho_sweep(model, sets, judged, method, chosen, forget, retain), name)
    with stage("P4: scaled weights and gradients"):
        findings += p.scale_law(
            components,
            parameters(model),
            forget,
            retain,
            alpha=method.alpha,
            epsilon=method.epsilon,
            power=method.norm_power,
        )
        findings += scaled_in_model(model, components, method, lab)
    return findings, edit


def aim_of(method: Razor, board: Board) -> Aim:
    """Return the Target of a method against a board's unedited model; no floor plays a part."""
    return Aim(
        base=dict(board.base),
        m1=method.target_m1,
        prompts=method.target_m1_prompts,
        m4_drop=method.target_m4_drop,
        m5=method.target_m5,
        floor_m5=0.0,
        floor_m4_drop=100.0,
        floor_others_drop=100.0,
    )


def needed(
    model: Clip,
    sets: ConceptSets,
    judged: Judged,
    method: Razor,
    edit: Edit,
    moved: Sequence[Component],
    name: str,
) -> list[p.Finding]:
    """Return P1 of an edit on some judged pictures."""
    board = Board(
        model, replace(sets, validation=judged), Cost(), fast=False
    )  # the plain one: edits of any shape
    base = {n: parameters(model)[n].clone() for n in edit.values}
    edited = {n: v.to(base[n].dtype) for n, v in edit.values.items()}
    full = board.trial(edited, [])
    without = {c.name: board.trial(values, []) for c, values in p.without_each(base, edited, moved)}
    return p.minimality(aim_of(method, board), full, without, name)


@torch.no_grad()
def cosines(model: Clip, pairs: Pairs) -> Tensor:
    """Return <v, t> of every pair [n] at the weights as they are."""
    parts = []
    for batch in batches(model, pairs, BATCH):
        parts.append(
            pair_cosines(model.encode_image(batch.pixels), model.encode_text(batch.tokens)[batch.rows])
        )
    return torch.cat(parts)


def forgotten(model: Clip, judged: Judged, edit: Edit) -> list[p.Finding]:
    """Return P2 of an edit."""
    before = cosines(model, judged.forget)
    with swapped(model, edit.values):
        return p.forgetting(before, cosines(model, judged.forget), cosines(model, judged.retain))


def first_choice(
    model: Clip, components: Sequence[Component], method: Razor, forget: Named, retain: Named
) -> list[Component]:
    """Return K at the unedited weights, by phi."""
    scored = measure(
        components,
        parameters(model),
        forget,
        retain,
        alpha=method.alpha,
        epsilon=method.epsilon,
        power=method.norm_power,
    )
    kept = select([s.phi for s in scored], method.tau, method.tau_mode.value, method.max_components)
    return [components[i] for i in kept]


def rho_sweep(
    model: Clip,
    sets: ConceptSets,
    judged: Judged,
    method: Razor,
    chosen: Sequence[Component],
    forget: Named,
    retain: Named,
) -> list[p.RhoPoint]:
    """Move all of K along the blended direction by one fixed step at each rho, and return what each pair's
    losses do.
    """
    live = parameters(model)
    again = (method.mismatch_form, method.mismatch_set, method.forget_loss) == ("signed", "forget", "cosine")
    extra = (
        method.lambda_mismatch if again else 0.0
    )  # no other mismatch has a gradient at the unedited weights

    def directions(rho: float) -> list[list[Tensor]]:
        weight = method.lambda_forget * rho + extra
        return [
            p.blended(c.views(forget), c.views(retain), weight, method.lambda_retain, method.normalize.value)
            for c in chosen
        ]

    sizes = [
        norm(c.views(live)) / length
        for c, d in zip(chosen, directions(1.0), strict=True)
        if (length := norm(d)) > 0
    ]
    size = STEP * min(sizes, default=0.0)
    before = pair_losses(model, sets, judged, method)
    points = []
    for rho in RHOS:
        values = {n: live[n].clone() for c in chosen for n in c.params}
        for component, direction in zip(chosen, directions(rho), strict=True):
            for view, change in zip(component.views(values), direction, strict=True):
                view.sub_(change, alpha=size)
        with swapped(model, values):
            after = pair_losses(model, sets, judged, method)
        points.append(
            p.RhoPoint(rho=rho, forget_change=after[0] - before[0], retain_change=after[1] - before[1])
        )
    return points


@torch.no_grad()
def pair_losses(model: Clip, sets: ConceptSets, judged: Judged, method: Razor) -> tuple[Tensor, Tensor]:
    """Return L_f of each forget pair [n] as the method has it, and L_r of each retain pair [m]: its two
    cross-entropies' mean.
    """
    retain = []
    for batch in batches(model, judged.retain, method.retain_batch):
        texts = model.encode_text(batch.tokens)[batch.rows]
        logits = model.scale * model.encode_image(batch.pixels) @ texts.T
        retain.append(-(logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()) / 2)
    if method.forget_loss == "cosine":
        return 1 - cosines(model, judged.forget), torch.cat(retain)
    prompts = model.encode_text(model.tokenize([sets.prompts[n] for n in sets.class_names]))
    names = sets.forget_names
    images = torch.cat([model.encode_image(b.pixels) for b in batches(model, judged.forget, BATCH)])
    head = HEAD_LOSSES[method.forget_loss.value]
    concepts = judged.forget.concepts[: len(images)]
    forget = [
        head(image[None], prompts, names.index(c) if c in names else 0, model.scale, len(names))
        for image, c in zip(images, concepts, strict=True)
    ]
    return torch.stack(forget), torch.cat(retain)


def scaled_in_model(model: Clip, components: Sequence[Component], method: Razor, lab: Lab) -> list[p.Finding]:
    """Return P4 with weights multiplied in the model, for some components spread over both towers."""
    some = [
        components[i * len(components) // min(SCALED, len(components))]
        for i in range(min(SCALED, len(components)))
    ]

    def saliency(component: Component) -> Saliency:
        forget, retain = lab.gradients(method.plan, at_base=False, sample=SAMPLE)
        return measure(
            [component],
            parameters(model),
            forget,
            retain,
            alpha=method.alpha,
            epsilon=method.epsilon,
            power=method.norm_power,
        )[0]

    forget, retain = lab.gradients(method.plan, at_base=False, sample=SAMPLE)
    before = measure(
        some,
        parameters(model),
        forget,
        retain,
        alpha=method.alpha,
        epsilon=method.epsilon,
        power=method.norm_power,
    )
    after = []
    for component in some:
        values = {n: parameters(model)[n].clone() for n in component.params}
        for view in component.views(values):
            view.mul_(FACTOR)
        with swapped(model, values):
            after.append(saliency(component))
    return p.scale_on_model(before, after, FACTOR, method.norm_power)
