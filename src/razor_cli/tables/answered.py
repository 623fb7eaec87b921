"""Tables of models that answer: identity by identity and in the mean, published numbers beside measured ones
(RAZOR Tables 6 and 8, SLUG's slide).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from razor_cli.runs.folder import Run
from razor_cli.tables.answered_printed import NOTES, PRINTED, SHAPES, TITLES, Shape
from razor_cli.tables.answered_rows import (
    Asked,
    asked_of,
    cells,
    further_measures,
    means,
    paired,
    printed_measures,
    quantized_measures,
    recorded,
    samples,
)
from razor_cli.tables.cells import DIFFERENCE, PUBLISHED, Heading, Meaning, Number, aside
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.heads import head_of
from razor_cli.tables.hints import not_run
from razor_cli.tables.layout import ABSENT, compared, half_width, mean_cell, plural
from razor_cli.tables.selection import Measure, by_model, left_out, sample, usable, versions

FAMILY, SCENARIO = "llava", "identity"
PICTURES = {
    "portraits": "drawn portraits (in place of CelebA)",
    "celeba": "CelebA photographs",
}
WIDTHS = ("none", "int8", "int4", "bnb_int8", "nf4", "fp4")
HEADS = ("identity", "method")
AVERAGE, UNEDITED = "average", "unedited"


def build(runs: Sequence[Run], name: str) -> Document:
    """Return one of SHAPES from recorded runs; it computes no score, only means over runs."""
    shape = SHAPES[name]
    own = [r for r in usable(runs) if _belongs(r, shape)]
    panels: list[Panel] = []
    for model, found in by_model(own).items():
        panels += Page(shape=shape, where=model, runs=found).panels()
    panels = panels or Page(shape=shape, where="", runs=[]).panels()
    notes = [*shape.notes, *NOTES, *left_out(runs, lambda r: _belongs(r, shape)), *versions(own)]
    title = f"{shape.title}: published numbers beside measured ones"
    return Document(name=name, title=title, panels=panels, notes=notes)


def _belongs(run: Run, shape: Shape) -> bool:
    r = run.record
    presets = {p for known in shape.methods.values() for p in known}
    return (r.family, r.scenario) == (FAMILY, SCENARIO) and r.method in presets and r.target in shape.targets


@dataclass(frozen=True, kw_only=True)
class Page:
    """What one model's runs, or none, come to beside one published table."""

    shape: Shape
    where: str
    runs: Sequence[Run]

    @cached_property
    def asked(self) -> Asked:
        """How they were asked."""
        return asked_of(self.runs)

    @property
    def comparable(self) -> bool:
        """Whether a difference to what is printed has a meaning."""
        return bool(self.runs) and not self.runs[0].record.stand_in

    def presets(self, method: str) -> list[str]:
        """Return the presets of a printed method that were run, its recommended one where none was."""
        known = self.shape.methods[method]
        return [p for p in known if any(r.record.method == p for r in self.runs)] or [known[0]]

    def of(self, preset: str, target: str | None = None) -> list[Run]:
        """Return the runs of a preset."""
        return [r for r in self.runs if r.record.method == preset and target in (None, r.record.target)]

    def panels(self) -> list[Panel]:
        """Return published beside measured, then what else was measured, where anything was."""
        found = [self._beside()]
        if self.runs:
            found += [self._further(), *self._quantized()]
        return [*found, *self._against()]

    def _title(self, what: str) -> str:
        if not self.runs:
            return f"{what} | nothing measured"
        targets = {r.record.target for r in self.runs}
        seeds = plural(len({r.record.seed for r in self.runs}), "seed")
        data = self.runs[0].record.data
        pictures = PICTURES.get(data, f"own pictures ({data})")
        identities = f"{len(targets)} of {len(self.shape.targets)} identities"
        return f"{what} | {self.where}, {pictures}: {identities}, {seeds}"

    def _beside(self) -> Panel:
        measures = printed_measures(self.asked)
        columns = [
            *HEADS,
            *(
                Heading(f"published {TITLES[m.key]}", replace(head_of(m).meaning, source=PUBLISHED))
                for m in measures
            ),
            *(head_of(m, beside=True) for m in measures),
            *(head_of(m, DIFFERENCE) for m in measures if self.comparable),
            aside("runs"),
        ]
        rows = [self._row(("all", UNEDITED), self.shape.base, self.runs, "base")]
        for method in self.shape.methods:
            for preset in self.presets(method):
                rows += self._identities(method, preset)
                rows += self._averages(method, preset)
        title = self._title(f"{self.shape.model} as published")
        return Panel(title=title, columns=tuple(columns), rows=rows)

    def _identities(self, method: str, preset: str) -> Iterable[tuple[str, ...]]:
        for target in self.shape.targets:
            printed = self.shape.of(method, target)
            why = (
                self._missing(preset, target) if self.of(preset) else ABSENT
            )  # else the average's row says it
            yield self._row((target, preset), printed, self.of(preset, target), "edit", why)

    def _averages(self, method: str, preset: str) -> Iterable[tuple[str, ...]]:
        own = self.of(preset)
        there = len({r.record.target for r in own})
        whole = len(self.shape.targets)
        label = AVERAGE if there in (0, whole) else f"{AVERAGE} (measured: {there} of {whole})"
        recomputed, printed = self.shape.recomputed(method), self.shape.as_printed(method)
        why = self._missing(preset)
        yield self._row((label, preset), recomputed, own, "edit", why)
        if printed:
            yield self._row((f"{AVERAGE}, as printed", preset), printed, [], "edit", ABSENT)
        if recorded(own, "control"):
            yield self._row((label, f"control of {preset}"), {}, own, "control")

    def _missing(self, preset: str, target: str = "") -> str:
        """Return the command that runs what is missing."""
        return not_run(self.shape.name, self.runs, method=preset, target=target)

    def _row(
        self,
        labels: tuple[str, str],
        printed: Mapping[str, str],
        runs: Sequence[Run],
        state: str,
        why: str = ABSENT,
    ) -> tuple[str, ...]:
        """Return a row: labels, what is printed, what was measured or why nothing was, how many runs."""
        measures = printed_measures(self.asked)
        left = [*labels, *(printed.get(key) or ABSENT for key in PRINTED)]
        if not runs:
            blank = len(measures) * (2 if self.comparable else 1) - 1
            return (*left, why, *[""] * blank, "0")
        found = samples(runs, measures, state)
        differences = [
            _difference(list(means(found[m.key]).values()), printed.get(m.key), m.digits) for m in measures
        ]
        more = differences if self.comparable else []
        return (*left, *cells(found, measures), *more, str(len(runs)))

    def _further(self) -> Panel:
        """Return what no published table has, averages first."""
        measures = further_measures(self.asked)
        before = Measure(key="before", title="FA before", unit="%", metric="fa", variant=self.asked.naming)
        rows = [self._measured(("all", UNEDITED), self.runs, "base", before, measures)]
        done = [p for m in self.shape.methods for p in self.presets(m) if self.of(p)]
        for preset in done:
            rows.append(self._measured((AVERAGE, preset), self.of(preset), "edit", before, measures))
            if recorded(self.of(preset), "control"):
                label = (AVERAGE, f"control of {preset}")
                rows.append(self._measured(label, self.of(preset), "control", before, measures))
        for preset in done:
            for target in self.shape.targets:
                if own := self.of(preset, target):
                    rows.append(self._measured((target, preset), own, "edit", before, measures))
        columns = (*HEADS, head_of(before), *map(head_of, measures), aside("runs"))
        return Panel(title=self._title("What else was measured"), columns=columns, rows=rows)

    @staticmethod
    def _measured(
        labels: tuple[str, str],
        runs: Sequence[Run],
        state: str,
        before: Measure,
        measures: Sequence[Measure],
    ) -> tuple[str, ...]:
        base = cells(samples(runs, [before], "base"), [before])
        return (*labels, *base, *cells(samples(runs, measures, state), measures), str(len(runs)))

    def _quantized(self) -> Iterable[Panel]:
        """Yield averages under every quantization, where some run has any."""
        measures = quantized_measures(self.asked)
        lines = [("base", UNEDITED, list(self.runs))]
        lines += [("edit", p, self.of(p)) for m in self.shape.methods for p in self.presets(m)]
        rows = [
            (name, width, *cells(samples(runs, measures, state, width), measures), str(len(runs)))
            for state, name, runs in lines
            for width in WIDTHS
            if recorded(runs, state, width)
        ]
        if any(width != WIDTHS[0] for _, width, *_ in rows):
            columns = ("method", "weights", *map(head_of, measures), aside("runs"))
            title = self._title("Averages under quantization")
            yield Panel(title=title, columns=columns, rows=rows, width=1)

    def _against(self) -> Iterable[Panel]:
        """Yield the differences of two methods over the same identities, where there are any."""
        if len(self.shape.methods) < 2:
            return
        (first, preset), (second, other) = ((m, self.presets(m)[0]) for m in self.shape.methods)
        rows: list[tuple[str, ...]] = []
        for m in printed_measures(self.asked):
            printed = paired(self.shape.values(first, m.key), self.shape.values(second, m.key))
            one, two = (sample(self.of(p), m) for p in (preset, other))
            found = paired(means(one), means(two))
            told = "→".join(sign or ABSENT for sign in (_sign(m, printed), compared(m, one, two)))
            measured = mean_cell(found, m.digits)
            rows.append(
                (
                    TITLES[m.key],
                    mean_cell(printed),
                    m.heading,
                    measured,
                    told,
                    f"{len(printed)}, {len(found)}",
                )
            )
        if any(row[1] != ABSENT or row[3] != ABSENT for row in rows):
            columns = (
                "published",
                Heading(f"{first} − {second}", Meaning(metric="difference", source=PUBLISHED)),
                aside("measured"),
                Heading(f"{preset} − {other}", Meaning(metric="difference")),
                aside(f"{first} is"),
                aside("identities"),
            )
            title = self._title(f"{first} against {second}")
            yield Panel(title=title, columns=columns, rows=rows, labels=1)


def _difference(found: Sequence[float], printed: str | None, digits: int) -> str:
    """Return measured minus printed; of an average the part before ±."""
    text = (printed or "").partition(" ")[0].rstrip("?")
    if not found or not text:
        return ABSENT
    apart = statistics.fmean(found) - float(text)
    return Number(f"{apart:+.{digits}f}", apart, n=len(found))


def _sign(measure: Measure, differences: Sequence[float]) -> str:
    """Return + or − where printed differences tell, ≈ where they do not, nothing for fewer than two."""
    half = half_width(differences)
    if half is None:
        return ""
    mean = statistics.fmean(differences) * (1 if measure.direction == "up" else -1)
    return "≈" if abs(mean) <= half else "+" if mean > 0 else "−"
