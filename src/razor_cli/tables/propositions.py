"""The paper's propositions as measured: for every claim how often it holds, and the numbers behind it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from razor_cli.errors import headline
from razor_cli.runs.folder import Run
from razor_cli.runs.reading import parse_rows
from razor_cli.tables.cells import Number, aside, remark
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.flips import flipped, preset_settings, shown

TITLE = "RAZOR's propositions as measurements"
Row = Mapping[str, str]
OUTCOMES = ("HOLDS", "DOES NOT HOLD", "UNDECIDED")
COLUMNS = (
    *("claim", "method", "target", "quantity"),
    remark("outcome"),
    "value",
    aside("95 % interval"),
    aside("n"),
    remark("what was seen"),
)
NAMES = {
    "P1": "P1, minimality",
    "P2": "P2, forgetting",
    "P3": "P3, retention",
    "P4": "P4, scale law of φ",
}
NOTES = (
    "The statements are taken as written in src/razor_cli/studies/finding.py; the reference quotes only the "
    "formula of P4.",
    "`scoreboard`: a model that draws or answers is judged by the numbers its searches look at, on "
    "validation data, and none has an interval. What must go is what the Target asks, in small steps what "
    "guides them.",
    "P1 is judged by the Target of the method's own settings: on the half of the validation pictures "
    "that the search saw, and on "
    "the half it did not. A trimmed edit just meets its Target on the first, so that anything breaks it "
    "there.",
    "P2: means over forget pairs the search did not see, normal intervals. The retain threshold is the "
    "mean similarity of retain "
    "pairs after the edit.",
    "Where most forget pairs lay below the retain pairs' mean before the edit, the second claim of P2 "
    "says nothing.",
    "P3: all components chosen first move once along the blended direction; the step size is the same "
    "for every rho, and at rho "
    "1 it moves no component by more than 1 % of its norm. HOLDS: the excess is below 0 for every rho, "
    "with its interval. The "
    "bound depends on the unit of L_f: the cosine loss lies in 0 to 2, one on the zero-shot head is in "
    "nats and keeps it easily.",
    "P4: exact while everything else is held. In the model a changed weight changes the gradient too, "
    "which the law leaves out.",
)


def read_rows(output_dir: Path, tell: Callable[[str], None] = lambda _: None) -> list[dict[str, str]]:
    """Return the rows that `razor propositions` recorded below a folder, as text, file by file; `tell` is
    given a note on each file that cannot be read and is left out.

    Of several files on the same weights, settings, target and seed only the newest counts: others are of
    earlier versions of the code. A method is named with the settings in which it differs from its preset, a
    model with its weights where there are several of a name.
    """
    newest: dict[tuple[str, ...], tuple[str, str, list[dict[str, str]]]] = {}
    for file in sorted((output_dir / "propositions").glob("*.csv")):
        try:
            rows = parse_rows(file.read_text(encoding="utf-8"))
            place, found = _recorded(rows, json.loads(file.with_suffix(".json").read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            tell(f"left out: {file}: {headline(error)}")
            continue
        if rows:
            newest[place] = max(found, newest.get(place, found), key=lambda f: f[0])
    several = Counter(
        rows[0]["model"] for rows in {weights: rows for _, weights, rows in newest.values()}.values()
    )
    return [
        row | {"model": f"{row['model']} [{weights[:8]}]" if several[row["model"]] > 1 else row["model"]}
        for _, weights, rows in newest.values()
        for row in rows
    ]


def _recorded(
    rows: Sequence[Row], record: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, str, list[dict[str, str]]]]:
    """Return what tells rows of one measurement from those of others, and when they were measured, on which
    weights, with the rows.
    """
    origin, settings = record["provenance"], record["settings"]
    method = _labelled(rows[0]["method"], settings["method"], record.get("family")) if rows else ""
    sets = json.dumps(settings.get("data"), sort_keys=True)
    named = ("model", "scenario", "target", "seed", "judged_on") if rows else ()
    place = (origin["weights_hash"], sets, method, *(rows[0][k] for k in named))
    return place, (origin["finished"], origin["weights_hash"], [{**row, "method": method} for row in rows])


def _labelled(name: str, settings: Mapping[str, object], family: str | None) -> str:
    differing = [f"{k}={shown(v)}" for k, v in flipped(settings, preset_settings(name, family)).items()]
    return name + (f" ({', '.join(differing)})" if differing else "")


def beside(runs: Sequence[Run]) -> Document:
    """Return the table of what is recorded in the output folders of some runs."""
    left_out: list[str] = []
    folders = sorted({r.folder.parents[3] for r in runs})
    document = build([row for folder in folders for row in read_rows(folder, left_out.append)])
    return replace(document, notes=[*document.notes, *left_out])


def build(rows: Sequence[Row]) -> Document:
    """Return the table from recorded rows: a panel that counts, then a panel of claims per model and
    proposition.
    """
    claims = [r for r in rows if r["outcome"]]
    if not claims:
        notes = ["Nothing is recorded: razor propositions target=NAME method=razor,razor/paper"]
        return Document(name="propositions", title=TITLE, panels=[], notes=notes)
    models = list(dict.fromkeys(_model(r) for r in claims))
    panels = [_counts(model, [r for r in claims if _model(r) == model]) for model in models]
    for model in models:
        for key, title in NAMES.items():
            own = [r for r in claims if _model(r) == model and r["proposition"] == key]
            if own:
                lines = sorted((_line(r) for r in own), key=lambda line: line[:3])
                where = f"{title} | {model}"
                panels.append(Panel(title=where, columns=COLUMNS, rows=lines, labels=4))
    seen = {r["judged_on"] for r in claims}
    notes = [*NOTES, f"Pictures: {', '.join(sorted(seen))}."]
    return Document(name="propositions", title=TITLE, panels=panels, notes=notes)


def _model(row: Row) -> str:
    return row["model"] + (" STAND-IN" if row["stand_in"] == "true" else "")


def _counts(model: str, claims: Sequence[Row]) -> Panel:
    lines = []
    for key, claim, method in sorted({(r["proposition"], r["claim"], r["method"]) for r in claims}):
        own = [
            r["outcome"]
            for r in claims
            if (r["proposition"], r["claim"], r["method"]) == (key, claim, method)
        ]
        lines.append((key, claim, method, *(str(own.count(o)) for o in OUTCOMES)))
    return Panel(
        title=f"How often | {model}", columns=("", "claim", "method", *OUTCOMES), rows=lines, labels=3
    )


def _line(row: Row) -> tuple[str, ...]:
    low, high = (_number(row[k]) for k in ("low", "high"))
    pictures = "" if row["judged_on"] == "validation" else f" on {row['judged_on']} pictures"
    return (
        row["claim"],
        row["method"],
        f"{row['scenario']} {row['target']}{pictures}",
        row["quantity"],
        row["outcome"],
        _value(row),
        f"{low} to {high}" if low != "–" and high != "–" else "–",
        row["n"],
        row["note"],
    )


def _value(row: Row) -> str:
    if not row["value"]:
        return "–"
    low, high = (float(row[k]) if row[k] else None for k in ("low", "high"))
    text = f"{_number(row['value'])} {row['unit']}".rstrip()
    n = int(row["n"]) if row["n"] else None
    return Number(text, float(row["value"]), interval=(low, high), n=n, seeds=1, note=row["unit"])


def _number(text: str) -> str:
    return f"{float(text):.3g}" if text else "–"
