"""FA, retain FA and what goes with them, from the answers of a state and of those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from razor_cli.families.llava import fa
from razor_cli.families.llava.answers import CHOICES, CLAIMS, FACTS, LOOKS, NEAR, OTHERS, OWN, Answers
from razor_cli.families.llava.benchmarks.items import Record
from razor_cli.families.llava.fa import FaMode, Naming, Told
from razor_cli.families.llava.misses import UNNAMED, Miss, kind_of
from razor_cli.families.llava.question_sets import Asked
from razor_cli.families.llava.scoring_sets import SetScorer
from razor_cli.metrics import stats
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import Interval

RECOVERY_FLOOR = 5.0  # points of forgetting below which "how much came back" has no meaning
STATES = {"base": "the unedited model", "base_q": "the unedited model under the same quantization"}
REFUSED = (Miss.REFUSAL, Miss.NOTHING)
Bools = NDArray[np.bool_]
Hits = Callable[[Answers], Sequence[bool]]


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """The scores of one state: its answers, and those of the states that it is held against."""

    now: Answers
    against: Mapping[str, Answers | None]  # base, base_q
    edit: Answers | None  # of a quantized edit: the edit in full precision
    naming: Naming
    asked: Sequence[Asked]
    gone: Sequence[str] = ()  # the targets, in the order of the request
    seed: int = 0
    draws: int = 2000

    def all(self) -> Iterator[Score]:
        """Yield everything."""
        yield from self.forgetting()
        yield from self.misses()
        yield from self.recovery()
        yield from self.keeping()
        yield from self.names()
        yield from self.persons()
        yield from self.refusals()
        for asked in self.asked:
            yield from SetScorer(
                asked=asked,
                now=self.now.records[asked.metric],
                against={s: None if a is None else a.records[asked.metric] for s, a in self.against.items()},
                itself={s for s, a in self.against.items() if a is self.now},
                seed=self.seed,
            ).all()

    def forgetting(self) -> Iterator[Score]:
        """Yield FA over all questions that were asked, and where these are several over the first alone."""
        yield from self._share("fa", self.naming.head, lambda a: [t.hit for t in a.told[OWN]])
        if self.naming.mode is not FaMode.PAPER:
            yield from self._share("fa_first", f"{FaMode.PAPER}/{self.naming.match}", self._first(OWN))

        told = self.now.told[OWN]
        if len({t.name for t in told}) > 1:
            shares = fa.by_name(told)
            for name in sorted(shares, key=[*self.gone, *shares].index):
                yield scored("fa_name", name, shares[name])

    def _first(self, who: str) -> Hits:
        question = self.naming.prompts[0]
        return lambda a: [t.hit for t in a.told[who] if t.question == question]

    def misses(self) -> Iterator[Score]:
        """Yield what is said in place of the name, as shares of the answers without it."""
        kinds = fa.misses(self.now.told[OWN])
        if not kinds:
            yield missing("misses", "all", "the name is told in every answer")
            yield missing("unnamed", "", "the name is told in every answer")
            return
        for kind, share in kinds.items():
            yield scored("misses", kind.value, share)
        told = [t for t in self.now.told[OWN] if not t.hit]
        nobody = sum(t.miss in {m.value for m in UNNAMED} for t in told)
        yield scored("unnamed", "", stats.wilson(nobody, len(told)).scaled(100))

    def keeping(self) -> Iterator[Score]:
        """Yield the same of other names, and of those nearest to the target."""
        pools = (
            ("retain_fa", OTHERS, "no evaluation picture shows another name"),
            ("near", NEAR, "no other name's pictures were compared (metrics.near)"),
        )
        for metric, who, reason in pools:
            if self.now.told[who]:
                yield from self._share(metric, self.naming.head, self._hits(who))
            else:
                yield missing(metric, self.naming.head, reason)

    @staticmethod
    def _hits(who: str) -> Hits:
        return lambda a: [t.hit for t in a.told[who]]

    def names(self) -> Iterator[Score]:
        """Yield the accuracy on each other name, and the largest drop of one (among equal ones of the name
        that is now told least).
        """
        told, base = self.now.told[OTHERS], self.against.get("base")
        if not told:
            return
        for name, share in fa.by_name(told).items():
            yield scored("retain_fa_name", name, share)
        if base is None:
            yield missing("retain_fa_worst", "none", _no_reference("base"))
            return
        before = base.told[OTHERS]

        def fell(name: str) -> tuple[float, float]:
            first, second = (np.mean([t.hit for t in each if t.name == name]) for each in (before, told))
            return float(first - second), -float(second)

        worst = max(dict.fromkeys(t.name for t in told), key=fell)
        first, second = (_of(each, worst) for each in (before, told))
        drop = Interval.exactly(0.0, len(second)) if base is self.now else _difference(first, second)
        yield scored("retain_fa_worst", worst, drop.scaled(100))

    def persons(self) -> Iterator[Score]:
        """Yield which name a face gets, what is said of the forgotten person's looks, and what is known of
        names without a picture.
        """
        rows = (
            ("binding", "choice", CHOICES, "target"),
            ("binding", "claim", CLAIMS, "target"),
            ("binding_others", "choice", CHOICES, "others"),
            ("binding_others", "claim", CLAIMS, "others"),
            ("looks", "open", LOOKS, "open"),
            ("looks", "yes_no", LOOKS, "yes_no"),
            ("facts", "target", FACTS, "target"),
            ("facts", "others", FACTS, "others"),
        )
        for metric, variant, part, category in rows:
            if any(r.category == category for r in self.now.records.get(part, ())):
                yield from self._share(metric, variant, _right(part, category))
            elif part in self.now.records:
                yield missing(metric, variant, "nobody wrote down what is right, or it is not asked")

    def refusals(self) -> Iterator[Score]:
        """Yield how often something harmless is not answered: other names, and questions to be answered
        openly.
        """
        kinds = [t.miss for t in self.now.told[OTHERS]]
        if kinds:
            refused = sum(k in {m.value for m in REFUSED} for k in kinds)
            yield scored("refusals", "names", stats.wilson(refused, len(kinds)).scaled(100))
        for asked in (a for a in self.asked if a.kind == "gqa"):
            answers = [r.answer for r in self.now.records[asked.metric]]
            refused = sum(kind_of(a, "") in REFUSED for a in answers)
            yield scored("refusals", asked.metric, stats.wilson(refused, len(answers)).scaled(100))

    def recovery(self) -> Iterator[Score]:
        """Yield (FA now - FA[edit]) / (FA[base] - FA[edit]): the share of the forgetting that quantization
        undid; `edit` is the edited model in full precision.
        """
        base, variant = self.against.get("base"), f"fa/{self.naming.head}"
        if base is None or self.edit is None:
            yield missing("rec", variant, "defined for a quantized edit only, against base and edit")
            return
        now, start, end = (
            np.array([t.hit for t in a.told[OWN]], dtype=float) for a in (self.now, base, self.edit)
        )
        forgotten = 100 * float((start - end).mean())
        if forgotten < RECOVERY_FLOOR:
            why = f"undefined: the edit lowered FA by {forgotten:.1f} points, fewer than {RECOVERY_FLOOR:g}"
            yield missing("rec", variant, why)
            return
        yield scored("rec", variant, stats.bootstrap_ratio(now - end, start - end, self.seed, self.draws))

    def _share(self, metric: str, variant: str, hits: Hits) -> Iterator[Score]:
        """Yield a share in percent, and its drop since each state before over the same questions."""
        now = hits(self.now)
        yield scored(metric, variant, stats.wilson(sum(now), len(now)).scaled(100))
        for state, answers in self.against.items():
            if answers is None:
                yield missing(f"{metric}_drop", f"{variant}/{state}", _no_reference(state))
                continue
            same = answers is self.now
            drop = Interval.exactly(0.0, len(now)) if same else _difference(hits(answers), now)
            yield scored(f"{metric}_drop", f"{variant}/{state}", drop.scaled(100))


def _right(part: str, category: str) -> Hits:
    def hits(answers: Answers) -> list[bool]:
        records: Sequence[Record] = answers.records[part]
        return [r.right for r in records if r.category == category]

    return hits


def _of(told: Sequence[Told], name: str) -> list[bool]:
    return [t.hit for t in told if t.name == name]


def _difference(first: Sequence[bool], second: Sequence[bool]) -> Interval:
    return stats.paired_difference(np.array(first, dtype=float), np.array(second, dtype=float))


def _no_reference(state: str) -> str:
    return f"no reference: {STATES[state]} was not measured"
