"""The propositions as a scoreboard tells them: which way each number counts, what leaves a claim open, and
that the model is left as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened

from razor_cli.contract.components import parameters
from razor_cli.contract.goals import Limit
from razor_cli.engine.search import Aim
from razor_cli.families.diffusion.board import DrawnBoard
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.settings import DrawnMetrics
from razor_cli.families.diffusion.spec import DiffusionSpec
from razor_cli.methods.razor_blend import Blend
from razor_cli.studies import board_measures, step_claims
from razor_cli.studies.finding import Finding, Outcome
from razor_cli.studies.proposition_measures import RHOS, first_choice, small_steps
from razor_cli.studies.propositions_run import of_target

AIM = Aim(
    base={"seen": 90.0, "spoilt": 2.0, "kept": 95.0},
    forget=(Limit(metric="seen", most=5.0), Limit(metric="spoilt", most=10.0)),
    keep={"kept": 3.0},
)


@pytest.fixture(params=list(Kind), ids=str)
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


@contextmanager
def stage(_: str) -> Iterator[Any]:
    yield lambda _: None


def outcomes(findings: list[Finding]) -> dict[tuple[str, str], Outcome | None]:
    return {(f.claim.split(" (")[0], f.at): f.outcome for f in findings if f.outcome is not None}


def test_what_must_go_is_held_against_its_beginning_and_against_the_target() -> None:
    found = outcomes(board_measures.forgotten(AIM, {"seen": 40.0, "spoilt": 30.0, "kept": 95.0}))
    assert found == {
        ("ends at the Target's bound", "seen"): Outcome.FAILS,
        ("ends below where it began", "seen"): Outcome.HOLDS,
        ("ends at the Target's bound", "spoilt"): Outcome.FAILS,  # there was nothing of it in the beginning
    }
    risen = board_measures.forgotten(AIM, {"seen": 95.0, "spoilt": 2.0, "kept": 95.0})
    assert outcomes(risen)["ends below where it began", "seen"] is Outcome.FAILS


@pytest.mark.parametrize(
    ("retain", "outcome"), [(0.1, Outcome.HOLDS), (2.0, Outcome.FAILS), (0.0, Outcome.OPEN)]
)
def test_steps_that_what_must_stay_does_not_feel_leave_the_claim_open(
    retain: float, outcome: Outcome
) -> None:
    points = [board_measures._point(rho, rho, retain * rho**2) for rho in RHOS]
    total, *rows = step_claims.retention(points, "scoreboard", bare=True)
    assert total.outcome is outcome and total.low is None and total.high is None
    assert [r.value for r in rows] == pytest.approx([(retain - 1) * rho**2 for rho in RHOS])
    assert all(r.low is None and r.high is None for r in rows)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what pictures would tell follow from contexts: no judge knows what random models draw."""

    def metrics(self: DrawnBoard, wanted: Any = None, lost: Any = None) -> dict[str, float]:
        found = self.text.metrics()
        gone, kept = found["text_gone"], found["text_kept"]
        told = {"recognised": 0.0 if gone < 97 else 100.0, "sure": gone, "ira": kept, "cra": kept}
        return found | told

    monkeypatch.setattr(DrawnBoard, "_metrics", metrics)


def test_a_small_step_goes_the_way_the_target_goes(family: Diffusion, seen: None) -> None:
    method, lab = (
        preset("razor", _family=DiffusionSpec.family),
        lab_of(family, settings=DrawnMetrics(search_pictures=0)),
    )
    forget, retain = lab.gradients(method.plan)
    components = family.components(method.granularity, method.towers, method.include_projections)
    chosen = first_choice(family, components, method, forget, retain)
    sign = Blend(method, lab).sign()
    assert sign == 1.0  # the distance to the anchor is gone down
    loss, before = family.loss(method.forget_loss, lab.sets), parameters(family)
    ways = {
        s: sum(
            float((forget[n] * (v - before[n])).sum())
            for n, v in list(small_steps(family, method, chosen, forget, retain, s))[-1][1].items()
        )
        for s in (sign, -sign)
    }
    assert ways[sign] < 0 < ways[-sign] and loss.direction == "down"
    limit = [f for f in board_measures.of_steps(lab, method, chosen, forget, retain) if f.at == "rho 1"]
    risen = [float(f.note.rsplit(" ", 1)[1]) for f in limit]
    assert len(risen) == 2 and all(r > 0 for r in risen)  # by the gradients, and by the board


def test_a_model_that_draws_gets_all_propositions_and_stays_as_it_was(family: Diffusion, seen: None) -> None:
    method, before = preset("razor", _family=DiffusionSpec.family), bits(family)
    findings, edit = of_target(
        lab_of(family, settings=DrawnMetrics(search_pictures=0)), method, stage, by_pairs=False
    )
    assert {f.proposition for f in findings} == {"P1", "P2", "P3", "P4"}
    assert same(before, bits(family))
    [total] = [f for f in findings if f.quantity == "redundant components"]
    assert total.n == len(edit.components) and total.outcome in Outcome
    assert all(f.value is None or torch.tensor(f.value).isfinite() for f in findings)
