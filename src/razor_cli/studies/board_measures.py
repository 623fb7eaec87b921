"""What the propositions are judged on where a family has no two towers that tell its sets apart: its
scoreboard, which speaks of validation data alone.

A board gives one number for each thing it looks at, so nothing here has an interval; the rows say it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from razor_cli.contract.components import Component, parameters_named
from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import Board, Metrics, Named
from razor_cli.engine.lab import Lab
from razor_cli.engine.search import Aim
from razor_cli.methods.razor import Razor
from razor_cli.methods.razor_blend import Blend
from razor_cli.studies import edit_claims, step_claims
from razor_cli.studies.finding import Finding, Outcome
from razor_cli.studies.proposition_measures import small_steps

JUDGED = "scoreboard"
BARE = "one number of the scoreboard, without interval"


def board_of(lab: Lab) -> Board:
    """Return a scoreboard of the unedited model that looks at as much as a search of its own may."""
    return lab.family.board(lab.sets, lab.settings, Cost(), fast=False, cache=lab.cache)


def of_edit(lab: Lab, method: Razor, edit: Edit, moved: Sequence[Component]) -> list[Finding]:
    """Return P1 and P2 of a finished edit."""
    board = board_of(lab)
    aim = Aim.of(board, method.target)
    base = {n: v.clone() for n, v in parameters_named(lab.family, edit.values).items()}
    edited = {n: v.to(base[n]) for n, v in edit.values.items()}
    full = board.trial(edited, moved)
    without = {
        c.name: board.trial(values, moved) for c, values in edit_claims.without_each(base, edited, moved)
    }
    told = edit_claims.minimality(aim, full, without, JUDGED, rise="rise of what must go, without it")
    return [*told, *forgotten(aim, full)]


def forgotten(aim: Aim, full: Metrics) -> list[Finding]:
    """Return P2 from the metrics of the edit: what must go against where it began, and against the Target."""
    findings = []
    for limit in aim.forget:
        before, after = aim.base[limit.metric], full[limit.metric]
        claims = [("ends at the Target's bound", limit.most, after <= limit.most)]
        if before > limit.most:  # else it was where it should be from the beginning
            claims.append(("ends below where it began", before, after < before))
        for claim, level, kept in claims:
            findings.append(
                Finding(
                    proposition="P2",
                    claim=f"{claim} ({JUDGED})",
                    quantity=f"{limit.metric} minus {level:.4g}",
                    value=after - level,
                    unit="points",
                    at=limit.metric,
                    outcome=Outcome.HOLDS if kept else Outcome.FAILS,
                    note=f"from {before:.4g} to {after:.4g}; {BARE}",
                )
            )
    return findings


def of_steps(
    lab: Lab, method: Razor, chosen: Sequence[Component], forget: Named, retain: Named
) -> list[Finding]:
    """Return P3: along the gradients themselves, which is the limit of small steps, and on the scoreboard.

    A forget loss that an edit goes down counts as what it falls. On the board L_f is what must go, the
    guide's where the method has one, and L_r the largest loss of what must stay, both in points. What a step
    this small does not move leaves the claim open.
    """
    board, sign = board_of(lab), Blend(method, lab).sign()
    aim = Aim.of(board, method.guide or method.target)
    limit, seen = [], []
    for rho, values in small_steps(lab.family, method, chosen, forget, retain, sign):
        base = parameters_named(lab.family, values)
        own, other = (sum(_inner(g[n], v - base[n]) for n, v in values.items()) for g in (forget, retain))
        limit.append(_point(rho, -sign * own, other))
        found = board.trial(values, chosen)
        seen.append(
            _point(rho, _fallen(aim, found), max((aim.lost(found, n) for n in aim.keep), default=0.0))
        )
    return [
        *step_claims.retention(limit, "gradients of the edit", bare=True),
        *step_claims.retention(seen, JUDGED, bare=True),
    ]


def _fallen(aim: Aim, found: Metrics) -> float:
    """Return by how much what must go came down, by what tells small steps apart where there is such."""
    names = [x.slope or x.metric for x in aim.forget]
    return max((aim.base[n] - found[n] for n in names), default=0.0)


def _inner(gradient: torch.Tensor, change: torch.Tensor) -> float:
    return float((gradient.double() * change.double()).sum())


def _point(rho: float, forget: float, retain: float) -> step_claims.RhoPoint:
    return step_claims.RhoPoint(
        rho=rho,
        forget_change=torch.tensor([forget], dtype=torch.float64),
        retain_change=torch.tensor([retain], dtype=torch.float64),
    )
