"""What the propositions are judged on, measured on a model: boards, cosines, losses of pairs, scores anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from razor_cli.contract.components import Component, Moduled, parameters, swapped
from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import Board, Named
from razor_cli.data.sets import ConceptSets, Judged, Pairs
from razor_cli.dual.board import DualBoard
from razor_cli.dual.gradients import batches
from razor_cli.dual.losses import pair_cosines, sigmoid_terms
from razor_cli.dual.named_losses import HEAD_LOSSES
from razor_cli.dual.view import DualEncoder
from razor_cli.engine.lab import Lab
from razor_cli.engine.saliency import Saliency, measure, select
from razor_cli.engine.search import Aim, norm
from razor_cli.methods.razor import Razor
from razor_cli.studies import edit_claims, step_claims
from razor_cli.studies.finding import Finding

RHOS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
STEP = 0.01  # P3: no component moves by more than this share of its norm at rho 1
SCALED = 8  # P4: so many components are scaled in the model, evenly spread
FACTOR = 2.0  # ... by this much
SAMPLE = 128  # ... and their gradients taken on so many pictures of each set
BATCH = 128


def choices() -> dict[str, object]:
    """Return what is chosen here and not by a setting, for the record."""
    return {"rhos": RHOS, "step": STEP, "factor": FACTOR, "sample": SAMPLE}


def aim_of(method: Razor, board: Board) -> Aim:
    """Return the Target of a method against a board's unedited model; no floor plays a part."""
    return Aim.of(board, method.target)


def needed(
    model: DualEncoder,
    sets: ConceptSets,
    judged: Judged,
    method: Razor,
    edit: Edit,
    moved: Sequence[Component],
    name: str,
) -> list[Finding]:
    """Return P1 of an edit on some judged pictures."""
    # The plain board: edits of any shape.
    board = DualBoard(model, replace(sets, validation=judged), Cost(), fast=False)
    base = {n: parameters(model)[n].clone() for n in edit.values}
    edited = {n: v.to(base[n].dtype) for n, v in edit.values.items()}
    full = board.trial(edited, [])
    without = {c.name: board.trial(values, []) for c, values in edit_claims.without_each(base, edited, moved)}
    return edit_claims.minimality(aim_of(method, board), full, without, name)


@torch.no_grad()
def cosines(model: DualEncoder, pairs: Pairs) -> Tensor:
    """Return <v, t> of every pair [n] at the weights as they are."""
    parts = []
    for batch in batches(model, pairs, BATCH):
        parts.append(
            pair_cosines(model.encode_image(batch.pixels[:]), batch.texts(model.encode_text(batch.tokens)))
        )
    return torch.cat(parts)


def forgotten(model: DualEncoder, judged: Judged, edit: Edit) -> list[Finding]:
    """Return P2 of an edit."""
    before = cosines(model, judged.forget)
    with swapped(model, edit.values):
        return edit_claims.forgetting(before, cosines(model, judged.forget), cosines(model, judged.retain))


def scores(
    model: Moduled, components: Sequence[Component], method: Razor, forget: Named, retain: Named
) -> list[Saliency]:
    """Return phi of each component as the method weighs it, at the weights as they are."""
    alpha, epsilon, power = method.alpha, method.epsilon, method.norm_power
    return measure(components, parameters(model), forget, retain, alpha=alpha, epsilon=epsilon, power=power)


def first_choice(
    model: Moduled, components: Sequence[Component], method: Razor, forget: Named, retain: Named
) -> list[Component]:
    """Return K at the unedited weights, by phi."""
    phis = [s.phi for s in scores(model, components, method, forget, retain)]
    kept = select(phis, method.tau, method.tau_mode.value, method.max_components)
    return [components[i] for i in kept]


def rho_sweep(
    model: DualEncoder,
    sets: ConceptSets,
    judged: Judged,
    method: Razor,
    chosen: Sequence[Component],
    forget: Named,
    retain: Named,
) -> list[step_claims.RhoPoint]:
    """Move all of K along the blended direction by one fixed step at each rho, and return what each pair's
    losses do.
    """
    before = pair_losses(model, sets, judged, method)
    points = []
    for rho, values in small_steps(model, method, chosen, forget, retain):
        with swapped(model, values):
            after = pair_losses(model, sets, judged, method)
        points.append(
            step_claims.RhoPoint(
                rho=rho, forget_change=after[0] - before[0], retain_change=after[1] - before[1]
            )
        )
    return points


def small_steps(
    model: Moduled,
    method: Razor,
    chosen: Sequence[Component],
    forget: Named,
    retain: Named,
    sign: float = -1.0,
) -> Iterator[tuple[float, Named]]:
    """Yield each rho with the tensors of K, all moved along the blended direction by one step whose size is
    the same for every rho. `sign` of g_f in what is subtracted: -1 climbs the forget loss, 1 goes down it.
    """
    live = parameters(model)
    again = (method.mismatch_form, method.mismatch_set, method.forget_loss) == ("signed", "forget", "cosine")
    # No other mismatch has a gradient at the unedited weights.
    extra = method.lambda_mismatch if again else 0.0

    def directions(rho: float) -> list[list[Tensor]]:
        weight = -sign * method.lambda_forget * rho + extra
        return [
            step_claims.blended(
                c.views(forget), c.views(retain), weight, method.lambda_retain, method.normalize.value
            )
            for c in chosen
        ]

    sizes = [
        norm(c.views(live)) / length
        for c, d in zip(chosen, directions(1.0), strict=True)
        if (length := norm(d)) > 0
    ]
    size = STEP * min(sizes, default=0.0)
    for rho in RHOS:
        values = {n: live[n].clone() for c in chosen for n in c.params}
        for component, direction in zip(chosen, directions(rho), strict=True):
            for view, change in zip(component.views(values), direction, strict=True):
                view.sub_(change, alpha=size)
        yield rho, values


@torch.no_grad()
def pair_losses(
    model: DualEncoder, sets: ConceptSets, judged: Judged, method: Razor
) -> tuple[Tensor, Tensor]:
    """Return L_f of each forget pair [n] as the method has it, and L_r of each retain pair [m]: its two
    cross-entropies' mean, or its terms of the sigmoid loss.
    """
    retain = []
    for batch in batches(model, judged.retain, method.retain_batch or max(1, len(judged.retain))):
        images, texts = (  # of all N_r in one batch, bounded parts at a time
            torch.cat([encode(part[:]) for part in rows.split(BATCH)])
            for encode, rows in ((model.encode_image, batch.pixels), (model.encode_text, batch.tokens))
        )
        retain.append(_retain_terms(model, images, batch.texts(texts)))
    if method.forget_loss == "cosine":
        return 1 - cosines(model, judged.forget), torch.cat(retain)
    prompts = model.encode_text(model.tokenize([sets.prompts[n] for n in sets.class_names]))
    names = sets.forget_names
    images = torch.cat([model.encode_image(b.pixels[:]) for b in batches(model, judged.forget, BATCH)])
    head = HEAD_LOSSES[method.forget_loss]
    concepts = judged.forget.concepts[: len(images)]
    forget = [
        head(image[None], prompts, names.index(c) if c in names else 0, model.scale, len(names))
        for image, c in zip(images, concepts, strict=True)
    ]
    return torch.stack(forget), torch.cat(retain)


def _retain_terms(model: DualEncoder, images: Tensor, texts: Tensor) -> Tensor:
    if model.bias is not None:
        return sigmoid_terms(images, texts, model.scale, model.bias)
    logits = model.scale * images @ texts.T
    return -(logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()) / 2


def scaled_in_model(
    model: Moduled, components: Sequence[Component], method: Razor, lab: Lab
) -> list[Finding]:
    """Return P4 with weights multiplied in the model, for some components spread over both towers."""
    count = min(SCALED, len(components))
    some = [components[i * len(components) // count] for i in range(count)]
    before = scores(model, some, method, *lab.gradients(method.plan, at_base=False, sample=SAMPLE))
    after = []
    for component in some:
        values = {n: parameters(model)[n].clone() for n in component.params}
        for view in component.views(values):
            view.mul_(FACTOR)
        with swapped(model, values):
            anew = lab.gradients(method.plan, at_base=False, sample=SAMPLE)
            after += scores(model, [component], method, *anew)
    return step_claims.scale_on_model(before, after, FACTOR, method.norm_power)
