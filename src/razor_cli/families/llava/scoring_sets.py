"""Scores of question sets, published or drawn, from the records of a state and of those before it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from razor_cli.families.llava.benchmarks import gqa, mmbench, mme
from razor_cli.families.llava.benchmarks.items import Record, Scores
from razor_cli.families.llava.question_sets import Asked
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import Interval

PERCENT = ("/acc", "/acc+", "unparsed")
# Where the share that was lost stands: of MME and its like the perception sum without sub-tasks that ask for
# names, of GQA and its like the accuracy.
LOSS = {"mme": "yes_no", "gqa": "open"}


@dataclass(frozen=True, kw_only=True)
class SetScorer:
    """The scores of one set in one state."""

    asked: Asked
    now: Sequence[Record]
    against: Mapping[str, Sequence[Record] | None]  # base, base_q
    itself: Collection[str] = ()  # of these, the states that are this one
    seed: int = 0

    def all(self) -> Iterator[Score]:
        """Yield values, drops and, where the set has one, the share that was lost."""
        yield from {"mme": self._mme, "gqa": self._gqa, "mmbench": self._mmbench}[self.asked.kind]()

    def _mme(self) -> Iterator[Score]:
        for parser in mme.Parser:
            now = _parsed(self.now, parser)
            for name, value in mme.scored(now, self.asked.parts, self.seed).values.items():
                if parser is mme.Parser.PREFIX4 or name in self.asked.parts.sums() or name == "unparsed":
                    unit = "%" if name.endswith(PERCENT) else None
                    yield scored(self.asked.metric, f"{parser}/{name}", value, unit)
            for state, before in self.against.items():
                first = None if before is None else _parsed(before, parser)
                found = None if first is None else mme.drops(first, now, self.asked.parts, self.seed)
                for name in self.asked.parts.sums():
                    yield self._drop(f"{parser}/{name}", name, state, found)
                if parser is mme.Parser.PREFIX4 and state == "base" and first is not None:
                    lost = mme.lost(first, now, self.asked.parts, self.seed)
                    yield self._loss(self._without_names, lost)

    @property
    def _without_names(self) -> str:
        """Return the perception sum without sub-tasks that ask for names."""
        return next((n for n in self.asked.parts.sums() if n.startswith("perception_without")), "perception")

    def _gqa(self) -> Iterator[Score]:
        for match in gqa.Match:
            now = _matched(self.now, match)
            for name, value in gqa.scored(now).values.items():
                if match is gqa.Match.IGNORE_CASE_PUNCT or name == "accuracy":
                    yield scored(self.asked.metric, f"{match}/{name}", value)
            for state, before in self.against.items():
                first = None if before is None else _matched(before, match)
                found = None if first is None else gqa.drops(first, now)
                yield self._drop(f"{match}/accuracy", "accuracy", state, found)
                if match is gqa.Match.IGNORE_CASE_PUNCT and state == "base" and first is not None:
                    yield self._loss("accuracy", gqa.lost(first, now, self.seed))

    def _mmbench(self) -> Iterator[Score]:
        head = self.asked.wording.value
        for name, value in mmbench.scored(self.now).values.items():
            yield scored(self.asked.metric, f"{head}/{name}", value)
        for state, before in self.against.items():
            found = None if before is None else mmbench.drops(before, self.now)
            yield self._drop(f"{head}/score", "score", state, found)

    def _drop(self, variant: str, name: str, state: str, found: Scores | None) -> Score:
        metric, whole = f"{self.asked.metric}_drop", f"{variant}/{state}"
        if found is None:
            return missing(metric, whole, "no reference: the unedited model was not measured there")
        if name not in found.values:
            return missing(metric, whole, found.reasons[name])
        value = found.values[name]
        return scored(metric, whole, Interval.exactly(0.0, value.n) if state in self.itself else value)

    def _loss(self, name: str, found: Scores) -> Score:
        variant = LOSS[self.asked.kind]
        if name not in found.values:
            return missing("answers_loss", variant, found.reasons[name])
        value = found.values[name]
        return scored(
            "answers_loss", variant, Interval.exactly(0.0, value.n) if "base" in self.itself else value
        )


def _parsed(records: Sequence[Record], parser: mme.Parser) -> list[Record]:
    """Return records as a parser reads their answers."""
    said = [(r, mme.parsed(r.answer, parser)) for r in records]
    return [replace(r, parsed=p, right=p == r.right_answer) for r, p in said]


def _matched(records: Sequence[Record], match: gqa.Match) -> list[Record]:
    """Return records as a rule matches their answers."""
    said = [(r, gqa.plain(r.answer, match)) for r in records]
    return [replace(r, parsed=p, right=p == gqa.plain(r.right_answer, match)) for r, p in said]
