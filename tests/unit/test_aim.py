"""What a step search aims at: the Target, the floors of every trial, and how far metrics are from both."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from random import Random

from aims import BASE, TARGET, aim, line

from razor_cli.dual.goals import GOALS
from razor_cli.engine.search import Aim

GENERIC = {"m1_generic": 55.0, "m4_drop": 2.0, "m5": 98.0}  # against the neutral prompt alone
MEAN = {"m1_mean": 55.0, "m4_drop": 2.0, "m5": 98.0}  # against the mean of the other classes


def test_met_needs_forgetting_and_utility() -> None:
    good = BASE | {"m1": 55.0, "m1_generic": 55.0, "m4_generic": 78.0, "util": 98.0}
    assert aim().met(good)
    for worse in ({"m1": 55.1}, {"m1_generic": 55.1}, {"m4_generic": 77.9}, {"util": 97.9}):
        assert not aim().met(good | worse)
    measured = aim(BASE | {"util": 90.0})  # M5 as printed is 95 in both, a gain and a loss of 5 points
    assert measured.met(good | {"util": 95.0, "m5": 95.0}) and not measured.met(
        good | {"util": 85.0, "m5": 95.0}
    )
    assert aim(target=GENERIC).met(good | {"m1": 100.0})
    assert aim(target=MEAN).met(good | {"m1_generic": 100.0})
    alone = {k: v for k, v in good.items() if k not in {"m1", "margin"}}  # no other classes
    for target in (TARGET, GENERIC, MEAN):  # the generic prompt, whichever was asked for
        assert aim({k: BASE[k] for k in alone}, target).met(alone)
        assert not aim({k: BASE[k] for k in alone}, target).met(alone | {"m1_generic": 55.1})


def test_stable_looks_at_utility_only_and_a_gain_is_no_drop() -> None:
    assert aim().stable(BASE)
    assert aim().stable(BASE | {"m1": 0.0, "m4_generic": 78.0, "util": 90.0, "others": 0.0})
    assert aim().stable(BASE | {"m4_generic": 100.0})
    assert not aim().stable(BASE | {"m4_generic": 77.9})
    assert not aim().stable(BASE | {"util": 89.9})
    assert not aim(others_drop=3.0).stable(BASE | {"others": 86.9})
    assert aim(others_drop=3.0).stable(BASE | {"others": 87.0})
    kept = aim(BASE | {"util": 90.0})  # M5 as printed is 80 in both, a gain and a loss of 20 points
    assert kept.stable(BASE | {"util": 110.0, "m5": 80.0}) and not kept.stable(
        BASE | {"util": 70.0, "m5": 80.0}
    )
    assert kept.stable(BASE | {"util": 80.0, "m5": 90.0}) and not kept.stable(
        BASE | {"util": 79.9, "m5": 89.9}
    )
    halves = {"m4_generic": 78.5, "util": 94.0, "others": 88.0}
    for name, value in halves.items():
        assert aim(others_drop=3.0).stable(BASE | {name: value})
        assert not aim(others_drop=3.0).stable(BASE | {name: value}, share=0.5)


def test_score_rises_as_the_target_nears() -> None:
    scores = [aim().score(line(s)) for s in (0.0, 0.2, 0.4, 0.5, 0.9)]
    assert scores[0] < scores[1] < scores[2] < scores[3] == scores[4] == 0.0
    for margin in ("margin", "margin_generic"):  # M1 still at 100: the margin tells the two apart
        assert aim().score(BASE) < aim().score(BASE | {margin: BASE[margin] / 2}) < 0
    assert aim().score(BASE | {"m2": 5.0}) == aim().score(BASE), (
        "all texts moving away together is no forgetting"
    )
    assert aim(target=GENERIC).score(BASE | {"m1_generic": 50.0}) == 0.0


@dataclass(frozen=True, kw_only=True)
class Former:
    """The aim as it was with a field for every bound, which spoke of these metrics only."""

    base: dict[str, float]
    m1: float
    prompts: str  # m1: both, m1_mean, m1_generic
    m4_drop: float
    m5: float
    floor_m5: float
    floor_m4_drop: float
    floor_others_drop: float
    others_drop: float | None = None

    def both(self, found: dict[str, float], name: str) -> list[float]:
        generic = found[f"{name}_generic"]
        mean = found.get(name, generic)
        return {"m1": [mean, generic], "m1_mean": [mean], "m1_generic": [generic]}[self.prompts]

    def lost(self, found: dict[str, float]) -> tuple[float, float, float]:
        """Return the points lost of retrieval, of the forget pictures' neighbours and of other concepts."""
        others = self.base.get("others", 0.0) - found.get("others", 0.0)
        return (
            max(0.0, self.base["util"] - found["util"]),
            self.base["m4_generic"] - found["m4_generic"],
            others,
        )

    def met(self, found: dict[str, float]) -> bool:
        util, m4, others = self.lost(found)
        kept = 100 - util >= self.m5 and m4 <= self.m4_drop
        kept = kept and (self.others_drop is None or others <= self.others_drop)
        return kept and all(v <= self.m1 for v in self.both(found, "m1"))

    def stable(self, found: dict[str, float], share: float) -> bool:
        util, m4, others = self.lost(found)
        within = m4 <= share * self.floor_m4_drop and others <= share * self.floor_others_drop
        finite = all(math.isfinite(v) for v in found.values())
        return finite and within and util <= share * (100 - self.floor_m5)

    def score(self, found: dict[str, float]) -> float:
        excess = sum(max(0.0, v - self.m1) for v in self.both(found, "m1"))
        left = sum(max(0.0, v) for v in self.both(found, "margin"))
        return -excess - left if excess > 0 else 0.0

    def shortfall(self, found: dict[str, float]) -> float:
        util, m4, others = self.lost(found)
        over = 0.0 if self.others_drop is None else max(0.0, others - self.others_drop)
        beyond = max(0.0, m4 - self.m4_drop) + max(0.0, self.m5 - (100 - util))
        return -self.score(found) + beyond + over


NAMES = ("m1", "m1_generic", "margin", "margin_generic", "m2", "m4_generic", "util", "others")
BOUNDS = ("m1", "m4_drop", "m5", "floor_m5", "floor_m4_drop", "floor_others_drop")


def case(draw: Random) -> tuple[Former, dict[str, float], float]:
    """Return a former aim, metrics near its bounds or anywhere, and a share of what may be spent.

    All are eighths: sums of them are exact, so that bounds are hit and not only passed.
    """
    absent = draw.choice([(), ("m1", "margin"), ("others",), ("m1", "margin", "others")])
    names = [n for n in NAMES if n not in absent]
    base, found = ({n: draw.randint(-80 if "margin" in n else 0, 800) / 8 for n in names} for _ in range(2))
    if draw.random() < 0.8:  # little is lost, and little may be
        found |= {
            n: base[n] + draw.randint(-24, 8) / 8 for n in ("m4_generic", "util", "others") if n in base
        }
    bounds = {n: draw.randint(0, 800) / 8 for n in BOUNDS}
    if draw.random() < 0.8:
        bounds |= {n: draw.randint(0, 32) / 8 for n in BOUNDS if n.endswith("drop")}
        bounds |= {n: 100 - draw.randint(0, 32) / 8 for n in ("m5", "floor_m5")}
    if draw.random() < 0.1:
        found[draw.choice(names)] = draw.choice([math.inf, -math.inf])
    others_drop = draw.choice([None, draw.randint(0, 32) / 8])
    prompts = draw.choice(["m1", "m1_mean", "m1_generic"])
    former = Former(base=base, prompts=prompts, others_drop=others_drop, **bounds)
    return former, found, draw.choice([0.25, 0.5, 1.0])


def now(former: Former) -> Aim:
    target = {
        "m1": None,  # what an override of the preset's leaves of it
        former.prompts: former.m1,
        "m4_drop": former.m4_drop,
        "m5": former.m5,
        "others_drop": former.others_drop,
    }
    floors = ("m5", "m4_drop", "others_drop")
    floor = {name: getattr(former, f"floor_{name}") for name in floors}
    return Aim.against(former.base, GOALS, target, floor)


def test_the_aim_of_names_is_the_former_one_of_fields() -> None:
    draw, answers = Random(0), Counter()
    for _ in range(20_000):
        former, found, share = case(draw)
        aimed, met, stable = now(former), former.met(found), former.stable(found, share)
        assert aimed.forgetting(found) == former.both(found, "m1"), (former, found)
        assert aimed.met(found) is met, (former, found)
        assert aimed.stable(found, share) is stable, (former, found, share)
        assert aimed.score(found) == former.score(found), (former, found)
        if all(math.isfinite(v) for v in found.values()):
            assert aimed.shortfall(found) == former.shortfall(found), (former, found)
            assert (aimed.shortfall(found) == 0) is met, (former, found)
        answers[met, stable, former.score(found) == 0] += 1
    possible = {(m, s, z) for m in (True, False) for s in (True, False) for z in (True, False) if z or not m}
    assert answers.keys() == possible and min(answers.values()) > 100  # the cases are not all alike
