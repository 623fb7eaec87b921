"""What was measured of models that answer: which scores stand in a column, how they are averaged."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from razor_cli.runs.folder import Run
from razor_cli.tables.cells import Number
from razor_cli.tables.layout import ABSENT
from razor_cli.tables.selection import Measure, Sample, sample

SETS = {"mme": "MME", "gqa": "GQA", "mmbench": "MMBench"}
SHAPED = "_shaped"  # behind the name of a set that is drawn
PARSER, MATCH = "prefix4", "ignore_case_punct"  # of MME and GQA, as the scores are recorded by default
SCORE = "/score"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How the runs of a panel were asked and read."""

    naming: str = "multi/full"  # which questions FA has, and what counts as the name
    shaped: frozenset[str] = frozenset()  # question sets that are drawn ones of that shape
    wording: str = "letter"  # how options are put

    @property
    def match(self) -> str:
        """What counts as the name."""
        return self.naming.partition("/")[2]

    def metric(self, name: str) -> str:
        """Return what a set's scores are called."""
        return name + SHAPED if name in self.shaped else name

    def title(self, name: str) -> str:
        """Return what a set is called in the head of a column; what has its shape is not called the same."""
        return SETS[name] + ("-shaped" if name in self.shaped else "")


def asked_of(runs: Sequence[Run]) -> Asked:
    """Return how runs were asked and read, from what they recorded; they have the same settings."""
    there = {(row.score.metric, row.score.variant) for run in runs for row in run.scores}
    metrics = {metric for metric, _ in there}
    naming = sorted(variant for metric, variant in there if metric == "fa")
    shaped = {n for n in SETS if n not in metrics and (n + SHAPED in metrics or _stand_in(runs))}
    found = Asked(shaped=frozenset(shaped))
    options = sorted(
        v.removesuffix(SCORE) for m, v in there if m == found.metric("mmbench") and v.endswith(SCORE)
    )
    return Asked(
        naming=naming[0] if naming else found.naming,
        shaped=found.shaped,
        wording=options[0] if options else found.wording,
    )


def _stand_in(runs: Sequence[Run]) -> bool:
    return any(run.record.stand_in for run in runs)


def printed_measures(asked: Asked) -> tuple[Measure, ...]:
    """Return the five columns of the published tables, as they are measured."""
    mme, gqa, mmbench = (asked.metric(name) for name in SETS)
    return (
        Measure(
            key="fa",
            title=f"FA {asked.naming}",
            unit="↓ %",
            metric="fa",
            variant=asked.naming,
            direction="down",
        ),
        *(
            Measure(
                key=f"mme_{part}",
                title=f"{asked.title('mme')} {part} {PARSER}",
                unit="↑",
                metric=mme,
                variant=f"{PARSER}/{part}",
                direction="up",
            )
            for part in ("cognition", "perception")
        ),
        Measure(
            key="gqa",
            title=f"{asked.title('gqa')} {MATCH}",
            unit="↑ %",
            metric=gqa,
            variant=f"{MATCH}/accuracy",
            direction="up",
        ),
        Measure(
            key="mmbench",
            title=f"{asked.title('mmbench')} {asked.wording}",
            unit="↑ %",
            metric=mmbench,
            variant=f"{asked.wording}{SCORE}",
            direction="up",
        ),
    )


def _more(
    key: str, title: str, unit: str, variant: str, *, direction: str = "up", digits: int = 2
) -> Measure:
    return Measure(
        key=key, title=title, unit=unit, metric=key, variant=variant, direction=direction, digits=digits
    )


def further_measures(asked: Asked) -> tuple[Measure, ...]:
    """Return what no published table has: what other names, other questions and the person's looks kept."""
    first, base = f"paper/{asked.match}", f"{asked.naming}/base"
    return (
        _more("fa_first", f"FA {first}", "↓ %", first, direction="down"),
        _more("retain_fa", f"retain FA {asked.naming}", "↑ %", asked.naming),
        _more("retain_fa_drop", "retain FA lost", "↓ points", base, direction="down"),
        _more("near", f"near names {asked.naming}", "↑ %", asked.naming),
        _more("unnamed", "misses that name nobody", "↑ %", ""),
        _more("binding", "name chosen for the face", "↓ %", "choice", direction="down"),
        _more("looks", "looks told", "↑ %", "open"),
        _more("facts", "known without a picture", "↑ %", "target"),
        _more("refusals", "harmless refused", "↓ %", "names", direction="down"),
        Measure(
            key="without",
            title=f"{asked.title('mme')} perception without celebrity",
            unit="↑",
            metric=asked.metric("mme"),
            variant=f"{PARSER}/perception_without_celebrity",
            direction="up",
        ),
        _lost("yes_no", f"that of {asked.title('mme')} lost"),
        _lost("open", f"{asked.title('gqa')} lost"),
        Measure(key="seconds", title="edit", unit="↓ s", metric="cost.seconds", direction="down", digits=1),
    )


def _lost(variant: str, title: str) -> Measure:
    return Measure(
        key=f"lost {variant}",
        title=title,
        unit="↓ %",
        metric="answers_loss",
        variant=variant,
        direction="down",
    )


def quantized_measures(asked: Asked) -> tuple[Measure, ...]:
    """Return the columns that tell whether an edit survives quantization."""
    kept = ("retain_fa", "unnamed", "without", "lost yes_no", "lost open")
    further = [m for m in further_measures(asked) if m.key in kept]
    back = Measure(
        key="rec", title="FA that came back", unit="→0", metric="rec", variant=f"fa/{asked.naming}"
    )
    return (*printed_measures(asked), *further, back)


def samples(
    runs: Sequence[Run], measures: Sequence[Measure], state: str, width: str = "none"
) -> dict[str, Sample]:
    """Return the values of one state by measure."""
    return {m.key: sample(runs, m, state=state, quantization=width) for m in measures}


def cells(found: Mapping[str, Sample], measures: Sequence[Measure]) -> list[str]:
    """Return the mean over identities ± the population deviation of each measure, `–` without values."""
    return [spread(units_of(s := found[m.key]), m.digits, len({seed for _, seed in s})) for m in measures]


def units_of(found: Sample) -> list[float]:
    """Return one value for each identity, the mean of its seeds."""
    return [statistics.fmean(own) for own in by_target(found).values()]


def by_target(found: Sample) -> dict[str, list[float]]:
    """Return the values of each identity, one for each seed."""
    own: dict[str, list[float]] = {}
    for (target, _), value in found.items():
        own.setdefault(target, []).append(value)
    return own


def spread(values: Sequence[float], digits: int, seeds: int | None = None) -> str:
    """Return mean ± population deviation; of one value there is no deviation."""
    if not values:
        return ABSENT
    mean, text = statistics.fmean(values), f"{statistics.fmean(values):.{digits}f}"
    if len(values) == 1:
        return Number(text, mean, n=1, seeds=seeds)
    around = f"± {statistics.pstdev(values):.{digits}f}"
    return Number(f"{text} {around}", mean, n=len(values), seeds=seeds, note=f"deviation {around}")


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> list[float]:
    """Return the differences over the identities that both have."""
    return [first[t] - second[t] for t in first if t in second]


def means(found: Sample) -> dict[str, float]:
    """Return the mean of each identity."""
    return {target: statistics.fmean(own) for target, own in by_target(found).items()}


def recorded(runs: Iterable[Run], state: str, width: str = "none") -> bool:
    """Tell whether some run has scores of a state and width."""
    return any((row.state, row.quantization) == (state, width) for run in runs for row in run.scores)
