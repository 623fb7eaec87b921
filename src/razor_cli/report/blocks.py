"""The part of a report that shows scores: blocks of readings, sentences, other models, the worst hit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape

from rich.console import Console
from rich.text import Text

from razor_cli.metrics.judges import reading_of
from razor_cli.metrics.score import Score
from razor_cli.report.cells import Words, chunks, heading, interval, number, print_fields, table
from razor_cli.report.layout import Attacked, Beside, Block, Facts, Part, Reading, Sentence, Spread, Turns
from razor_cli.report.turned import Turned, turned
from razor_cli.runs.rows import NOT_COMPUTED, ScoreRow, on_the_way, state_order

STATE_STYLES = {"base": "", "control": "", "edit": "bold"}


@dataclass(frozen=True)
class Column:
    """One metric as a column: its heading, and its score under (state, quantization)."""

    heading: str
    scores: dict[tuple[str, str], Score]


def print_part(console: Console, words: Words, part: Part, rows: Sequence[ScoreRow], target: str) -> None:
    """Print one part of a family's layout from recorded scores, or nothing where it has none."""
    match part:
        case Block():
            _print_scores(console, words, part.title, columns_of(rows, part), results(rows))
        case Sentence():
            _print_sentence(console, words, part, rows)
        case Beside():
            _print_beside(console, words, part, rows)
        case Spread():
            _print_spread(console, words, part, rows)
        case Turns():
            _print_turns(console, words, turned(part, rows, target), part.title)
        case Facts():
            _print_facts(console, words, part, rows)


def print_attacked(console: Console, words: Words, part: Attacked, rows: Sequence[ScoreRow]) -> None:
    """Print states that were attacked, under each attack the unedited model first, and which attacks say
    nothing of an edit; or nothing where there was none.
    """
    each: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if row.attack:
            each.setdefault(_attack(row), []).append(row)
    if not each:
        return
    labelled = [
        replace(r, state=f"{attack}: {r.state}")
        for attack, own in each.items()
        for r in sorted(own, key=lambda r: state_order(r.state))
    ]
    columns = [c for reading in part.block.readings for c in _columns(labelled, reading)]
    keys = list(dict.fromkeys((r.state, r.quantization) for r in labelled))
    _print_scores(console, words, part.block.title, columns, keys)
    said = {attack: _idle(part, own) for attack, own in each.items()}
    notes = [(attack, warning) for attack, warning in said.items() if warning]
    if not any(row.state == "oracle" for row in rows):
        notes.append(("note", part.alone))
    print_fields(console, words, notes)


def _idle(part: Attacked, rows: Sequence[ScoreRow]) -> str:
    """Return the warning that an attack says nothing of an edit, or nothing."""
    of_base = [r for r in rows if r.state == "base"]
    base = next((score for reading in part.lost for score in _found(of_base, reading).values()), None)
    if base is None or base.value is None or base.value <= part.most:
        return ""
    high, low = (None if x is None else 100 - x for x in (base.ci_low, base.ci_high))
    found = replace(base, value=100 - base.value, ci_low=low, ci_high=high)
    return part.warning.format(share=number(100 - base.value, base.unit) + interval(found))


def _attack(row: ScoreRow) -> str:
    return row.attack if row.step is None else f"{row.attack} ({row.step} steps)"


def columns_of(rows: Sequence[ScoreRow], part: Block) -> list[Column]:
    """Return the columns of a block that have a score."""
    return [c for reading in part.readings for c in _columns(rows, reading) if c.scores]


def _columns(rows: Sequence[ScoreRow], reading: Reading) -> list[Column]:
    """Return the column of a reading, or where it has no heading one for each metric that fits."""
    if reading.heading:
        return [_column(rows, reading)]
    before, _, after = reading.metric.partition("*")
    metrics = dict.fromkeys(r.score.metric for r in rows if _fits(r.score.metric, reading))
    names = {m: m.removeprefix(before).removesuffix(after).replace("_", " ") for m in metrics}
    return [_column(rows, replace(reading, heading=name, metric=escape(m))) for m, name in names.items()]


def _fits(metric: str, reading: Reading) -> bool:
    return fnmatchcase(metric, reading.metric) and not fnmatchcase(metric, reading.but)


def _found(rows: Sequence[ScoreRow], reading: Reading) -> dict[tuple[str, str], Score]:
    """Return the scores of a reading by state and quantization."""
    return {
        (r.state, r.quantization): r.score
        for r in rows
        if _fits(r.score.metric, reading) and fnmatchcase(r.score.variant, reading.variant)
    }


def _column(rows: Sequence[ScoreRow], reading: Reading) -> Column:
    found = _found(rows, reading)
    return Column(heading(reading.heading, next(iter(found.values()), None)), found)


def _keys(rows: Iterable[ScoreRow]) -> list[tuple[str, str]]:
    """Return every (state, quantization) of a run: states in their order, quantizations as recorded."""
    return sorted(dict.fromkeys((r.state, r.quantization) for r in rows), key=lambda key: state_order(key[0]))


def results(rows: Iterable[ScoreRow]) -> list[tuple[str, str]]:
    """Return the keys of what is reported on its own; a base of another seed is a yardstick for the others
    only, and what lies on the way to an edit has a block of its own.
    """
    return [key for key in _keys(rows) if key[0] != "reseeded" and not on_the_way(key[0])]


def _state(key: tuple[str, str]) -> str:
    return key[0].split(" ")[0]  # a row of the block beside other models carries its width in the first part


def label(key: tuple[str, str]) -> str:
    """Return how a row is called: by its state, and its width where that is not full precision."""
    return key[0] if key[1] == "none" else " ".join(key)


def _print_scores(
    console: Console, words: Words, title: str, columns: list[Column], keys: list[tuple[str, str]]
) -> None:
    """Print columns under one title, in as many tables, one under the other, as the terminal's width asks
    for.
    """
    columns = [c for c in columns if c.scores]
    notes: list[str] = []
    cells = {
        (i, key): _score_cell(words, c.scores.get(key), notes) for i, c in enumerate(columns) for key in keys
    }
    heads = ["\n".join(map(words, c.heading.split("\n"))) for c in columns]
    widths = [
        1 + max([*map(len, heads[i].split("\n")), *(len(cells[i, k].plain) for k in keys)])
        for i in range(len(columns))
    ]
    room = console.width - max([len("weights"), *(len(label(key)) for key in keys)])
    for part, chosen in enumerate(chunks(widths, room)):
        console.print()
        shown = table(title if part == 0 else None)
        shown.add_column("weights", no_wrap=True, overflow="crop")
        for i in chosen:
            shown.add_column(heads[i], justify="right", no_wrap=True, overflow="crop")
        for key, following in zip(keys, [*keys[1:], keys[-1]], strict=True):
            style = STATE_STYLES.get(_state(key), "")
            shown.add_row(
                label(key),
                *(cells[i, key] for i in chosen),
                style=style,
                end_section=_state(following) != _state(key),
            )
        console.print(shown)
    print_fields(console, words, [(f"[{i}]", note) for i, note in enumerate(notes, 1)])


def _print_beside(console: Console, words: Words, part: Beside, rows: Sequence[ScoreRow]) -> None:
    """Print how far edit and base are from a model retrained without the target, beside how far two bases
    are; or nothing.
    """
    states = {r.state for r in rows}
    if not states & {"oracle", "reseeded"}:
        return
    columns, oracle = [], "oracle" in states
    for reading in part.readings:
        of_oracle, of_base = (
            _column(rows, replace(reading, metric=reading.metric.format(model=m))) for m in ("oracle", "base")
        )
        scores = _beside(of_oracle.scores, ("edit", "base", "reseeded"), "vs oracle") if oracle else {}
        scores |= _beside(of_base.scores, ("reseeded",) if oracle else ("edit", "reseeded"), "vs base")
        columns.append(Column((of_oracle if oracle else of_base).heading, scores))
    for reading in part.of_oracle if oracle else ():
        own = _column(rows, reading)
        columns.append(Column(own.heading, _beside(own.scores, ("edit", "base", "reseeded"), "vs oracle")))
    keys = list(dict.fromkeys(key for c in columns for key in c.scores))
    _print_scores(console, words, part.title if oracle else part.title_without, columns, keys)


def _beside(
    scores: Mapping[tuple[str, str], Score], states: Sequence[str], name: str
) -> dict[tuple[str, str], Score]:
    """Return rows of the block, in the order of `states`: the edit at every width, other models in full
    precision.
    """
    shown = [
        key for state in states for key in scores if key[0] == state and (state == "edit" or key[1] == "none")
    ]
    return {(label(key), name): scores[key] for key in shown}


def _score_cell(words: Words, score: Score | None, footnotes: list[str]) -> Text:
    if score is None:
        return Text(words("–"), style="dim")
    if score.value is None:
        reason = score.reason if score.reason.startswith(NOT_COMPUTED) else NOT_COMPUTED + score.reason
        if reason not in footnotes:
            footnotes.append(reason)
        return Text(words(f"– [{footnotes.index(reason) + 1}]"), style="dim")
    return Text(number(score.value, score.unit)) + Text(interval(score), style="dim")


def _print_sentence(console: Console, words: Words, part: Sentence, rows: Sequence[ScoreRow]) -> None:
    lines = []
    for reading in part.readings:
        each = [
            f"{width} {number(score.value, score.unit)}{interval(score)}"
            for (state, width), score in _found(rows, reading).items()
            if state == "edit" and score.value is not None
        ]
        lines += [f"{reading.heading} {', '.join(each)}".strip()] if each else []
    if lines:
        print_fields(console, words, [(part.label, f"{part.text}: " + "; ".join(lines))])


def _print_facts(console: Console, words: Words, part: Facts, rows: Sequence[ScoreRow]) -> None:
    scores = {r.score.variant: r.score for r in rows if r.score.metric == part.metric}
    each = [
        f"{variant} {number(score.value, score.unit)}{interval(score)} of {score.n:,}"
        if score.value is not None
        else f"{variant} {score.reason}"
        for variant, score in scores.items()
    ]
    if each:
        print_fields(console, words, [(part.label, f"{part.text}: " + "; ".join(each))])


def _print_turns(console: Console, words: Words, found: Turned | None, title: str) -> None:
    """Print what became of each of several targets at each state, and what edits cost the others."""
    if found is None:
        return
    console.print()
    shown, notes = table(title), list[str]()
    shown.add_column("weights", overflow="fold")
    first = next(iter(found.lines.values()))
    for name, score in zip((*found.targets, *found.heads), first, strict=True):
        shown.add_column(heading(words(name), score), justify="right", overflow="fold")
    for state, scores in found.lines.items():
        cells = [_score_cell(words, score, notes) for score in scores]
        shown.add_row(words(found.label(state)), *cells, style=STATE_STYLES.get(state, ""))
    console.print(shown)
    costs = [
        f"{name} {number(before.value, before.unit)} → {number(after.value, after.unit)}"
        for name, before, after in found.costs()
        if before.value is not None and after.value is not None
    ]
    label = "composing" if found.apart else "later steps"
    said = "each alone, then together" if found.apart else "after its own step, then at the end"
    fields = [(label, f"{said}: {'; '.join(costs)}")] if costs else []
    print_fields(console, words, [*fields, *((f"[{i}]", note) for i, note in enumerate(notes, 1))])


def _print_spread(console: Console, words: Words, part: Spread, rows: Sequence[ScoreRow]) -> None:
    """Print how each state moved the concepts that should stay: their mean, and the one that lost most."""
    means, worst = _found(rows, part.mean), _found(rows, part.worst)
    keys = [
        key
        for key in results(rows)
        if any(s and s.value is not None for s in (means.get(key), worst.get(key)))
    ]
    console.print()
    if not keys:
        return
    shown = table(part.title)
    shown.add_column("weights", no_wrap=True, overflow="crop")
    for reading in (part.mean, part.worst):
        shown.add_column(words(reading.heading), justify="right", no_wrap=True, overflow="crop")
    shown.add_column(part.which, overflow="fold")
    notes: list[str] = []
    for key in keys:
        hit = worst.get(key)
        name = reading_of(hit.variant) if hit and hit.value is not None else ""
        cells = [_score_cell(words, score, notes) for score in (means.get(key), hit)]
        shown.add_row(label(key), *cells, Text(words(name)), style=STATE_STYLES.get(key[0], ""))
    console.print(shown)
    print_fields(console, words, [(f"[{i}]", note) for i, note in enumerate(notes, 1)])
