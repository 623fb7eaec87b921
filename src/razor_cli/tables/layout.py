"""Lines of samples to a panel: means with intervals, published beside measured, what is better than what,
best in bold.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scipy import stats

from razor_cli.tables.cells import DIFFERENCE, MEASURED, PUBLISHED, Number, aside, remark
from razor_cli.tables.document import Panel
from razor_cli.tables.heads import head_of
from razor_cli.tables.selection import Measure, Sample

ABSENT = "–"
WIDTH, WITHOUT = "weights", "without"  # heads of columns
LEAST = 3  # values whose interval is printed; of two it reaches six times their distance to each side
NAMED = 4  # targets that a cell names, of many
BETTER, WORSE, EVEN = "+", "−", "≈"
KEY = (
    "Measured cells are means with the half-width of their 95 % t interval, of fewer than three values "
    "without: over targets, each the mean of its seeds; "
    "of a single target, over its seeds, and then it says nothing about other targets. The last column "
    "counts runs. Bold: the "
    "best method of its weights, where its interval lies apart from those of all others; among methods that "
    "have all targets. without: targets of other rows that are not in this one's numbers.",
    "vs X: + better than X, − worse, ≈ not told apart, over the runs that both have (paired by target "
    "and seed), no sign where "
    "that is a single target and seed; before the arrow as published, after it as measured. agree: how "
    "many of these "
    "comparisons, where both tell apart, go the same way.",
)
DOUBTFUL = "?: cannot be right as printed (notes); it takes part in no difference and no comparison."


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row: its labels, its samples and printed texts by measure, and its part in comparisons.

    Lines of one `group` are compared. `role`: base, oracle, control or method; only methods can be best.
    `why` stands in place of the numbers of a line without runs.
    """

    labels: tuple[str, ...]
    group: str = ""
    role: str = "method"
    name: str = ""  # what comparisons call it
    samples: Mapping[str, Sample] = field(default_factory=dict)
    printed: Mapping[str, str] = field(default_factory=dict)
    doubtful: Collection[str] = ()  # printed cells that cannot be right, by measure
    why: str = ""

    @property
    def runs(self) -> int:
        """Return how many runs stand behind the line."""
        return max(map(len, self.samples.values()), default=0)

    def sound(self, measure: Measure) -> str:
        """Return a printed number that can be right, or nothing."""
        return "" if measure.key in self.doubtful else self.printed.get(measure.key) or ""

    def as_printed(self, measure: Measure) -> str:
        """Return a printed number, marked where it cannot be right."""
        text = self.printed.get(measure.key) or ABSENT
        return f"{text}?" if text != ABSENT and measure.key in self.doubtful else text


def units(found: Sample) -> list[float]:
    """Return the values that count as independent: a mean over seeds per target; of a single target, one per
    seed.
    """
    by_target: dict[str, list[float]] = {}
    for (target, _), value in found.items():
        by_target.setdefault(target, []).append(value)
    each = list(by_target.values())
    return each[0] if len(each) == 1 else [statistics.mean(own) for own in each]


def half_width(values: Sequence[float]) -> float | None:
    """Return half the 95 % t interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5


def mean_cell(values: Sequence[float], digits: int = 2, *, seeds: int | None = None) -> str:
    """Return the mean, of LEAST values or more with the half-width of its 95 % t interval; `–` of none."""
    if not values:
        return ABSENT
    half, mean = half_width(values) if len(values) >= LEAST else None, statistics.mean(values)
    text = _fixed(mean, digits)
    if half is None:
        return Number(text, mean, n=len(values), seeds=seeds)
    bounds = (mean - half, mean + half)
    return Number(f"{text} ± {half:.{digits}f}", mean, interval=bounds, n=len(values), seeds=seeds)


def sample_cell(found: Sample, digits: int = 2) -> str:
    """Return the mean over targets of a sample with its interval, as `units` takes it together."""
    return mean_cell(units(found), digits, seeds=len({seed for _, seed in found}))


def _fixed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def gain(measure: Measure, now: float, other: float) -> float:
    """Return how much better `now` is than `other`: positive is better, 0 for a measure without a
    direction.
    """
    if measure.direction == "zero":
        return abs(other) - abs(now)
    return {"down": other - now, "up": now - other}.get(measure.direction, 0.0)


def compared(measure: Measure, own: Sample, other: Sample) -> str:
    """Return + or − where the paired difference tells, ≈ where it does not, nothing with fewer than two
    common values.
    """
    gains = units({k: gain(measure, own[k], other[k]) for k in sorted(own.keys() & other.keys())})
    half = half_width(gains)
    if measure.direction == "none" or half is None:
        return ""
    mean = statistics.mean(gains)
    if mean == 0 or abs(mean) <= half:
        return EVEN
    return BETTER if mean > 0 else WORSE


def compared_printed(measure: Measure, own: str, other: str) -> str:
    """Return +, − or ≈ (equal) as printed, nothing where a number is missing."""
    if not own or not other or measure.direction == "none":
        return ""
    difference = gain(measure, float(own), float(other))
    return EVEN if difference == 0 else BETTER if difference > 0 else WORSE


def panel(
    title: str,
    heads: Sequence[str],
    lines: Sequence[Line],
    measures: Sequence[Measure],
    against: Sequence[str] = ("unedited",),
) -> Panel:
    """Return a panel of lines. `against` names the lines, one of each group, that the others are compared
    with.

    Published columns, differences and agreement stand there only if some line has printed numbers.
    """
    printed = [m for m in measures if any(line.printed.get(m.key) for line in lines)]
    partners = [name for name in against if any(line.name == name and line.runs for line in lines)]
    columns = [*heads, *(head_of(m, PUBLISHED) for m in printed)]
    first = len(columns)
    columns += [head_of(m, MEASURED, beside=bool(printed)) for m in measures]
    columns += [head_of(m, DIFFERENCE) for m in printed] + [aside(f"vs {name}") for name in partners]
    columns += [aside("agree")] if printed and partners else []
    lacking = [lacks(line, lines, measures) for line in lines]
    columns += ([remark(WITHOUT)] if any(lacking) else []) + [aside("runs")]
    rows = []
    for line, lacked in zip(lines, lacking, strict=True):
        left = [*line.labels, *(line.as_printed(m) for m in printed)]
        rest = len(columns) - len(left)
        if line.runs:
            told = [lacked or ABSENT] if any(lacking) else []
            rows.append((*left, *_measured(line, lines, measures, printed, partners), *told, str(line.runs)))
        else:
            told = [line.why, *[""] * (rest - 2)] if line.why else [ABSENT] * (rest - 1)
            rows.append((*left, *told, "0"))
    bold = {(i, first + j) for i, j in best(lines, measures)}
    return Panel(
        title=title,
        columns=tuple(columns),
        rows=rows,
        bold=frozenset(bold),
        labels=len(heads),
        width=heads.index(WIDTH) if WIDTH in heads else None,
    )


def lacks(line: Line, lines: Sequence[Line], measures: Sequence[Measure]) -> str:
    """Return which targets of the panel's other lines stand behind no number of this one. A measure that a
    line has not at all is a dash in its cell and not told here.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    there = [m for m in measures if line.samples.get(m.key)]
    for m in there:
        every = {target for other in lines for target, _ in other.samples.get(m.key, {})}
        if less := every - {target for target, _ in line.samples[m.key]}:
            found.setdefault(tuple(sorted(less)), []).append(m.title)
    return "; ".join(
        some(names) + ("" if len(of) == len(there) else f" ({', '.join(of)})") for names, of in found.items()
    )


def some(names: Sequence[str], most: int = NAMED) -> str:
    """Return names in a row, the first of many."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _measured(
    line: Line,
    lines: Sequence[Line],
    measures: Sequence[Measure],
    printed: Sequence[Measure],
    partners: Sequence[str],
) -> list[str]:
    cells = [sample_cell(line.samples.get(m.key, {}), m.digits) for m in measures]
    cells += [difference(line, m) for m in printed]
    agreed: list[bool] = []
    for name in partners:
        partner = next((x for x in lines if x.name == name and x.group == line.group), None)
        signs = _signs(line, partner, measures) if partner and partner is not line else []
        cells.append(", ".join(f"{m.title} {_arrow(a, b, printed)}" for m, a, b in signs) or ABSENT)
        agreed += [a == b for _, a, b in signs if a and b and EVEN not in (a, b)]
    if printed and partners:
        cells.append(f"{sum(agreed)} of {len(agreed)}" if agreed else ABSENT)
    return cells


def _signs(line: Line, partner: Line, measures: Sequence[Measure]) -> list[tuple[Measure, str, str]]:
    """Return (measure, as published, as measured) where there is a measured comparison."""
    signs = []
    for m in measures:
        measured = compared(m, line.samples.get(m.key, {}), partner.samples.get(m.key, {}))
        if measured:
            signs.append((m, compared_printed(m, line.sound(m), partner.sound(m)), measured))
    return signs


def _arrow(published: str, measured: str, printed: Sequence[Measure]) -> str:
    return f"{published}→{measured}" if printed and published else measured


def difference(line: Line, measure: Measure) -> str:
    """Return measured minus published, `–` where one is missing."""
    values, text = units(line.samples.get(measure.key, {})), line.sound(measure)
    if not values or not text:
        return ABSENT
    apart = statistics.mean(values) - float(text)
    return Number(f"{apart:+.{measure.digits}f}", apart, n=len(values))


def best(lines: Sequence[Line], measures: Sequence[Measure]) -> set[tuple[int, int]]:
    """Return (line, measure) of the best method of each group whose interval touches that of no other, among
    methods on all targets of the group.

    Where one of the methods has a single value, nobody is known to be apart from it.
    """
    found = set()
    for group in {line.group for line in lines}:
        own = [i for i, line in enumerate(lines) if (line.group, line.role) == (group, "method")]
        for j, m in enumerate(measures):
            samples = {i: s for i in own if (s := lines[i].samples.get(m.key)) and m.direction != "none"}
            every = {target for s in samples.values() for target, _ in s}
            spans = []
            for i, s in samples.items():
                if {target for target, _ in s} == every:
                    values = [gain(m, v, 0.0) for v in units(s)]
                    spans.append((statistics.mean(values), half_width(values), i))
            spans.sort(key=lambda s: -s[0])
            if len(spans) > 1 and all(_apart(spans[0], other) for other in spans[1:]):
                found.add((spans[0][2], j))
    return found


def _apart(first: tuple[float, float | None, int], second: tuple[float, float | None, int]) -> bool:
    """Tell whether two intervals have no point in common; a single value has none and tells nothing."""
    if first[1] is None or second[1] is None:
        return False
    return first[0] - first[1] > second[0] + second[1]


def plural(count: int, word: str, names: Iterable[str] = ()) -> str:
    """Return `3 targets (a, b, c)`."""
    listed = ", ".join(names)
    return f"{count} {word}{'' if count == 1 else 's'}" + (f" ({listed})" if listed else "")
