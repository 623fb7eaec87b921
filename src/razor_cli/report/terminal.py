"""What `razor-run` prints at its end and `razor show` prints again: one run, read from its recorded files
only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from razor_cli.metrics.score import Score
from razor_cli.report.cells import Words, heading, interval, number
from razor_cli.runs.folder import DONE, Run
from razor_cli.runs.records import Decision, RunRecord
from razor_cli.runs.rows import NOT_COMPUTED, ScoreRow, state_order

# (heading, metric, pattern of the variant): the reading that is shown of each metric
FORGOTTEN = (
    ("M1 mean prompt", "m1", "dual/mean_of_classes"),
    ("M1 generic", "m1", "dual/generic"),
    ("M2 similarity", "m2", "prompt"),
)
KEPT = (
    ("M3 drift", "m3", "retain_sq_drift/*/base"),
    ("M4 generic", "m4", "dual/generic"),
    ("M5 retrieval", "m5", "retrieval/base"),
    ("others' accuracy", "others_acc", "macro"),
    ("zero-shot mean", "zero_shot", "mean"),
)
TRACED = (  # of a run on a taxonomy, in distribution and out of it
    ("Quality", "quality"),
    ("Utility kept", "utility"),
    ("Q-U", "q_u"),
    ("D_f fine", "df_fine"),
    ("D_f coarse", "df_coarse"),
    ("D_r fine", "dr_fine"),
    ("D_r coarse", "dr_coarse"),
)
DISTRIBUTIONS = {"in": "Fine labels forgotten, coarse labels kept", "ood": "The same out of distribution"}
OTHERS_DROP, WORST_DROP = (
    ("others_acc_drop", "macro/base"),
    "others_worst",
)  # the latter's variant is a concept's name
BESIDE = (  # (heading, metric without what it is measured from, variant)
    ("JSD forget", "jsd", "forget"),
    ("JSD among others", "jsd", "forget_without_target"),
    ("JSD retain", "jsd", "retain"),
    ("same top-1 forget", "top1_agreement", "forget"),
    ("same top-1 retain", "top1_agreement", "retain"),
)
PRIVLEAK = ("PrivLeak caption", "privleak", "own_caption")
RECOVERY = ("rec", "dual/generic")
UNRELATED = re.compile(r"zs_(?P<suite>.+?)(?<!_drop)")
COMPONENTS_SHOWN = 12
STYLES = {Decision.ACCEPTED: "bold green", Decision.REJECTED: "bold red", Decision.UNDECIDED: "bold yellow"}
STATE_STYLES = {"base": "", "control": "", "edit": "bold"}


@dataclass(frozen=True)
class Column:
    """One metric as a column: its heading, and its score under (state, quantization)."""

    heading: str
    scores: dict[tuple[str, str], Score]


def print_report(console: Console, run: Run) -> None:
    """Print a complete run: what was forgotten and kept, what was edited, the cost, the verdict, and the
    files.
    """
    words = Words(console.options.ascii_only)
    record, rows = run.record, run.scores
    keys = _results(rows)
    _print_header(console, words, record)
    _print_scores(console, words, "What was forgotten", [_column(rows, *c) for c in FORGOTTEN], keys)
    _print_recovery(console, words, rows)
    _print_scores(
        console, words, "What was kept", [_column(rows, *c) for c in (*KEPT, *_unrelated(rows))], keys
    )
    for where, title in DISTRIBUTIONS.items():
        if columns := [c for name, metric in TRACED if (c := _column(rows, name, metric, where)).scores]:
            _print_scores(console, words, title, columns, keys)
    _print_beside(console, words, rows)
    console.print()
    _print_others(console, words, rows)
    console.print()
    _print_components(console, words, record)
    console.print()
    _print_cost(console, words, record)
    _print_verdict(console, words, record)
    _print_files(console, words, run)


def _print_header(console: Console, words: Words, record: RunRecord) -> None:
    console.print()
    console.print(
        Text(words(f'forget "{record.target}"'), style="bold"),
        Text(words(f"· {record.method} · run {record.run_id}")),
    )
    where = record.provenance
    model = Text(words(f"{record.model} ({record.family})"))
    if record.stand_in:
        model.append(
            "  STAND-IN: small, trained by this project; its numbers say nothing about a real model",
            style="bold yellow",
        )
    sizes = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in where.set_sizes.items())
    computed = (
        f"{where.device}, {where.dtype}, {where.threads} threads, seed {record.seed}, {where.finished[:10]}"
    )
    fields: list[tuple[str, str | Text]] = [
        ("model", model),
        ("data", f"{record.scenario}, {record.data}: {sizes}"),
    ]
    _fields(console, words, [*fields, ("computed", computed), *(("note", note) for note in record.notes)])


def _unrelated(rows: Sequence[ScoreRow]) -> list[tuple[str, str, str]]:
    matches = (UNRELATED.fullmatch(r.score.metric) for r in rows)
    return [(m["suite"].replace("_", " "), m[0], "top1") for m in {m[0]: m for m in matches if m}.values()]


def _column(rows: Sequence[ScoreRow], title: str, metric: str, pattern: str) -> Column:
    fitting = (r for r in rows if r.score.metric == metric and fnmatchcase(r.score.variant, pattern))
    found = {(r.state, r.quantization): r.score for r in fitting}
    return Column(heading(title, next(iter(found.values()), None)), found)


def _keys(rows: Iterable[ScoreRow]) -> list[tuple[str, str]]:
    """Return every (state, quantization) of a run: states in their order, quantizations as recorded."""
    return sorted(dict.fromkeys((r.state, r.quantization) for r in rows), key=lambda key: state_order(key[0]))


def _results(rows: Iterable[ScoreRow]) -> list[tuple[str, str]]:
    """Return the keys of what is reported on its own; a base of another seed is a yardstick for the others
    only.
    """
    return [key for key in _keys(rows) if key[0] != "reseeded"]


def _state(key: tuple[str, str]) -> str:
    return key[0].split(" ")[0]  # a row of the block beside other models carries its width in the first part


def _label(key: tuple[str, str]) -> str:
    return key[0] if key[1] == "none" else " ".join(key)


def _table(title: str | None) -> Table:
    style = {"title_justify": "left", "title_style": "bold"} if title else {}
    return Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, **style)  # type: ignore[arg-type]


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
    heads = [words(c.heading) for c in columns]
    widths = [
        1 + max([*map(len, heads[i].split("\n")), *(len(cells[i, k].plain) for k in keys)])
        for i in range(len(columns))
    ]
    room = console.width - max([len("weights"), *(len(_label(key)) for key in keys)])
    for part, chosen in enumerate(chunks(widths, room)):
        console.print()
        table = _table(title if part == 0 else None)
        table.add_column("weights", no_wrap=True, overflow="crop")
        for i in chosen:
            table.add_column(heads[i], justify="right", no_wrap=True, overflow="crop")
        for key, following in zip(keys, [*keys[1:], keys[-1]], strict=True):
            style = STATE_STYLES.get(_state(key), "")
            table.add_row(
                _label(key),
                *(cells[i, key] for i in chosen),
                style=style,
                end_section=_state(following) != _state(key),
            )
        console.print(table)
    _fields(console, words, [(f"[{i}]", note) for i, note in enumerate(notes, 1)])


def chunks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return column numbers cut into as few groups as fit into `room`, of sizes as equal as possible."""
    for count in range(1, len(widths) + 1):
        size = -(-len(widths) // count)
        groups = [list(range(start, min(start + size, len(widths)))) for start in range(0, len(widths), size)]
        if count == len(widths) or all(sum(widths[i] + 2 for i in group) <= room for group in groups):
            return groups
    return []


def _print_beside(console: Console, words: Words, rows: Sequence[ScoreRow]) -> None:
    """Print how far edit and base are from a model retrained without the target, beside how far two bases
    are; or nothing.
    """
    states = {r.state for r in rows}
    if not states & {"oracle", "reseeded"}:
        return
    columns, oracle = [], "oracle" in states
    for title, metric, variant in BESIDE:
        first = _column(rows, title, f"{'oracle' if oracle else 'base'}_{metric}", variant)
        scores = _beside(first.scores, ("edit", "base", "reseeded"), "vs oracle") if oracle else {}
        bases = _column(rows, title, f"base_{metric}", variant).scores
        scores |= _beside(bases, ("reseeded",) if oracle else ("edit", "reseeded"), "vs base")
        columns.append(Column(first.heading, scores))
    if oracle:
        leaks = _column(rows, *PRIVLEAK)
        columns.append(
            Column(leaks.heading, _beside(leaks.scores, ("edit", "base", "reseeded"), "vs oracle"))
        )
    keys = list(dict.fromkeys(key for c in columns for key in c.scores))
    title = "Beside a model retrained without the target" if oracle else "Beside a base of another seed"
    _print_scores(console, words, title, columns, keys)


def _beside(
    scores: Mapping[tuple[str, str], Score], states: Sequence[str], name: str
) -> dict[tuple[str, str], Score]:
    """Return rows of the block, in the order of `states`: the edit at every width, other models in full
    precision.
    """
    shown = [
        key for state in states for key in scores if key[0] == state and (state == "edit" or key[1] == "none")
    ]
    return {(_label(key), name): scores[key] for key in shown}


def _score_cell(words: Words, score: Score | None, footnotes: list[str]) -> Text:
    if score is None:
        return Text(words("–"), style="dim")
    if score.value is None:
        reason = score.reason if score.reason.startswith(NOT_COMPUTED) else NOT_COMPUTED + score.reason
        if reason not in footnotes:
            footnotes.append(reason)
        return Text(words(f"– [{footnotes.index(reason) + 1}]"), style="dim")
    return Text(number(score.value, score.unit)) + Text(interval(score), style="dim")


def _print_recovery(console: Console, words: Words, rows: Sequence[ScoreRow]) -> None:
    found = [r for r in rows if (r.score.metric, r.score.variant) == RECOVERY and r.score.value is not None]
    each = [
        f"{r.quantization} {number(r.score.value or 0.0, r.score.unit)}{interval(r.score)}"
        for r in found
        if r.state == "edit"
    ]
    if each:
        _fields(
            console,
            words,
            [("recovery", "share of the forgetting that quantization undoes: " + ", ".join(each))],
        )


def _print_others(console: Console, words: Words, rows: Sequence[ScoreRow]) -> None:
    """Print how each state moved the concepts that should stay: their mean, and the one that lost most."""
    means = {
        (r.state, r.quantization): r.score for r in rows if (r.score.metric, r.score.variant) == OTHERS_DROP
    }
    worst = {(r.state, r.quantization): r.score for r in rows if r.score.metric == WORST_DROP}
    keys = [
        key
        for key in _results(rows)
        if any(s and s.value is not None for s in (means.get(key), worst.get(key)))
    ]
    if not keys:
        return
    table = _table("What the edit did to the others (accuracy, points)")
    table.add_column("weights", no_wrap=True, overflow="crop")
    table.add_column(words("mean drop ↓"), justify="right", no_wrap=True, overflow="crop")
    table.add_column(words("worst drop ↓"), justify="right", no_wrap=True, overflow="crop")
    table.add_column("of which concept", overflow="fold")
    notes: list[str] = []
    for key in keys:
        hit = worst.get(key)
        name = hit.variant if hit and hit.value is not None else ""
        cells = [_score_cell(words, score, notes) for score in (means.get(key), hit)]
        table.add_row(_label(key), *cells, Text(words(name)), style=STATE_STYLES.get(key[0], ""))
    console.print(table)
    _fields(console, words, [(f"[{i}]", note) for i, note in enumerate(notes, 1)])


def _print_components(console: Console, words: Words, record: RunRecord) -> None:
    parts = record.components
    if not parts:
        console.print("No component was edited.")
        return
    table = _table(f"Edited components ({len(parts)})")
    for name, justify in (
        ("component", "left"),
        ("kind", "left"),
        ("φ", "right"),
        ("relative step (%)", "right"),
    ):
        table.add_column(words(name), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for part in parts[:COMPONENTS_SHOWN]:
        step = None if part.relative_step is None else 100 * part.relative_step
        numbers = [words("–") if x is None else f"{x:.3g}" for x in (part.phi, step)]
        table.add_row(Text(words(part.name)), " ".join(filter(None, (part.tower, part.kind))), *numbers)
    console.print(table)
    if len(parts) > COMPONENTS_SHOWN:
        console.print(f"and {len(parts) - COMPONENTS_SHOWN} more, all in run.json", highlight=False)


def _print_cost(console: Console, words: Words, record: RunRecord) -> None:
    cost = record.cost
    rest = max(0.0, cost.seconds - cost.gradient_seconds - cost.search_seconds)
    hits = f" ({cost.gradient_cache_hits} gradients from the cache)" if cost.gradient_cache_hits else ""
    patch = "no patch" if cost.patch_bytes is None else f"patch {cost.patch_bytes:,} bytes"
    edit = (
        f"{cost.seconds:.1f} s = gradients {cost.gradient_seconds:.1f} + search "
        f"{cost.search_seconds:.1f} + rest {rest:.1f}{hits}"
    )
    passes = (
        f"{cost.forwards:,} pictures forward, {cost.backwards:,} backward; {cost.evaluations:,} trials scored"
    )
    whole = f"{cost.run_seconds:.1f} s in all, peak memory {cost.peak_rss_mb:,.0f} MB, {patch}"
    console.print(Text("Cost", style="bold"))
    _fields(console, words, [("edit", edit), ("passes", passes), ("run", whole)])


def _print_verdict(console: Console, words: Words, record: RunRecord) -> None:
    if record.verdict is None:
        return
    console.print()
    console.print(
        Text("Verdict: ", style="bold")
        + Text(record.verdict.decision.value, style=STYLES[record.verdict.decision])
    )
    _fields(console, words, [(words("·"), reason) for reason in record.verdict.reasons])


def _print_files(console: Console, words: Words, run: Run) -> None:
    folder, here = run.folder.resolve(), Path.cwd()
    shown = folder.relative_to(here) if folder.is_relative_to(here) else folder
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != DONE)
    console.print()
    console.print(Text("Files: ", style="bold") + Text(words(f"{shown.as_posix()}/")), soft_wrap=True)
    _fields(console, words, [("", "  ".join(names))])


def _fields(console: Console, words: Words, fields: Sequence[tuple[str, str | Text]]) -> None:
    """Print labels with texts that wrap beside them, not under them."""
    if not fields:
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, overflow="crop")
    grid.add_column()
    for label, text in fields:
        grid.add_row(Text(label), Text(words(text)) if isinstance(text, str) else text)
    console.print(grid)
