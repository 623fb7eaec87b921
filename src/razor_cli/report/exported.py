"""One recorded run for other programs and pages: as JSON, and as Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from razor_cli.escape import in_json, in_markdown
from razor_cli.report.blocks import columns_of, label, print_attacked, print_part, results
from razor_cli.report.cells import Words, interval, number
from razor_cli.report.differing import differing, sentence
from razor_cli.report.edited import numbers_of
from razor_cli.report.layout import Block, Part, layout_of, plain
from razor_cli.runs.folder import Run
from razor_cli.runs.rows import ScoreRow
from razor_cli.screen import Screen

WIDTH = 100  # of what stands in a page as a terminal prints it


def as_json(run: Run) -> str:
    """Return run.json with the settings that differ and every row of scores.csv."""
    scores = [
        {**asdict(row.score), **{k: v for k, v in asdict(row).items() if k != "score"}}
        for row in run.measured
    ]
    found: dict[str, Any] = {
        **run.record.model_dump(mode="json"),
        "differing": differing(run.record),
        "folder": str(run.folder),
        "scores": scores,
    }
    return in_json(found, indent=1) + "\n"


def as_markdown(run: Run) -> str:
    """Return the report as a page: tables of scores, and what else it has as a terminal prints it."""
    record, rows = run.record, run.scores
    stand_in = " STAND-IN" if record.stand_in else ""
    fields = {
        "run": record.run_id,
        "model": f"{record.model} ({record.family}){stand_in}",
        "data": f"{record.scenario}, {record.data}",
        "seed": str(record.seed),
        "settings": sentence(record),
        "finished": record.provenance.finished,
    }
    if record.verdict is not None:
        fields["verdict"] = record.verdict.decision.value + record.verdict.by
    layout = layout_of(record.family) or plain([r.score for r in rows])
    parts = [f"# forget {in_markdown(record.target, cell=False)}: {in_markdown(record.method, cell=False)}\n"]
    parts += ["".join(f"- {name}: {in_markdown(value)}\n" for name, value in fields.items())]
    parts += [text for part in layout.parts if (text := _part(part, rows, record.target))]
    if layout.attacked is not None:
        parts += [
            _printed(lambda console, words: print_attacked(console, words, layout.attacked, run.measured))
        ]
    parts += [
        _components(run),
        *(["".join(f"- {in_markdown(r)}\n" for r in record.verdict.reasons)] if record.verdict else []),
    ]
    return "\n".join(filter(None, parts))


def _part(part: Part, rows: Sequence[ScoreRow], target: str) -> str:
    if not isinstance(part, Block):
        return _printed(lambda console, words: print_part(console, words, part, rows, target))
    columns, keys = columns_of(rows, part), results(rows)
    if not columns:
        return ""
    heads = [" ".join(c.heading.split("\n")) for c in columns]
    cells = [[label(key), *(_cell(c.scores.get(key)) for c in columns)] for key in keys]
    return f"## {in_markdown(part.title, cell=False)}\n\n{_table(['weights', *heads], cells)}"


def _cell(score: Any) -> str:
    if score is None:
        return ""
    return score.reason if score.value is None else number(score.value, score.unit) + interval(score)


def _components(run: Run) -> str:
    parts = run.record.components
    if not parts:
        return ""
    numbered = numbers_of(parts)
    rows = [
        [p.name, p.kind, p.tower, *("" if (x := own[i]) is None else f"{x:.3g}" for own in numbered.values())]
        for i, p in enumerate(parts)
    ]
    return "## Edited components\n\n" + _table(["component", "kind", "tower", *numbered], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    escaped = [[in_markdown(cell) if line is not lines[1] else cell for cell in line] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in escaped)


def _printed(show: Any) -> str:
    """Return what is printed on a terminal, as a block of a page; nothing where it prints nothing."""
    out = io.StringIO()
    show(Screen(file=out, width=WIDTH, highlight=False), Words(ascii_only=False))
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")
    return f"```\n{text.replace('```', '` ` `')}\n```\n" if text else ""
