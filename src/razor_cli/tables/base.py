"""Tables as values, and their four forms: Markdown, CSV, LaTeX (booktabs), HTML."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

import jinja2

from razor_cli.escape import in_csv, in_markdown, on_screen

FORMS = {"md": "markdown", "csv": "csv", "tex": "latex", "html": "html"}  # ending: name

HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ doc.title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #1b1b1b; }
table { border-collapse: collapse; margin: .6rem 0 1.6rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
td.absent { color: #777; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
li { margin: .2rem 0; }
</style></head><body>
<h1>{{ doc.title }}</h1>
{% for panel in doc.panels %}
<table><caption>{{ panel.title }}</caption>
<thead><tr>{% for c in panel.columns %}<th>{{ c }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in panel.rows %}{% set i = loop.index0 %}<tr>{% for cell in row -%}
<td>{% if (i, loop.index0) in panel.bold %}<strong>{{ cell }}</strong>{% else %}{{ cell }}{% endif %}</td>
{%- endfor %}</tr>
{% endfor %}</tbody></table>
{% endfor %}
<h2>Notes</h2><ul>{% for note in doc.notes %}<li>{{ note }}</li>{% endfor %}</ul>
</body></html>
"""
NARROW = 9  # columns; a wider LaTeX table is scaled to the page
WIDE = "\\resizebox{\\linewidth}{!}{%\n"
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\to$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "−": r"$-$",
    "Δ": r"$\Delta$",
    "·": r"$\cdot$",
    "²": r"$^2$",
    "φ": r"$\phi$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "–": "--",
    "×": r"$\times$",
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One block of a table; cells are finished texts. `bold` are (row, column) of cells that stand out."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    bold: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Document:
    """A table of the papers: panels, and notes that belong to them."""

    name: str
    title: str
    panels: list[Panel]
    notes: list[str] = field(default_factory=list)


def render(doc: Document, form: str) -> str:
    """Return a document in one of FORMS' endings."""
    return {"md": markdown, "csv": comma_separated, "tex": latex, "html": html}[form](doc)


def markdown(doc: Document) -> str:
    """Return GitHub-flavoured Markdown."""
    parts = [f"# {in_markdown(doc.title, cell=False)}\n"]
    for panel in doc.panels:
        rows = [
            [f"**{in_markdown(c)}**" if (i, j) in panel.bold else in_markdown(c) for j, c in enumerate(r)]
            for i, r in enumerate(panel.rows)
        ]
        lines = [[in_markdown(c) for c in panel.columns], ["---"] * len(panel.columns), *rows]
        parts.append(
            f"## {in_markdown(panel.title, cell=False)}\n\n"
            + "\n".join("| " + " | ".join(line) + " |" for line in lines)
            + "\n"
        )
    parts.append("## Notes\n\n" + "\n".join(f"- {in_markdown(n)}" for n in doc.notes) + "\n")
    return "\n".join(parts)


def comma_separated(doc: Document) -> str:
    """Return one CSV of all panels, the panel's title in the first column."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for panel in doc.panels:
        lines = [("panel", *panel.columns), *((panel.title, *row) for row in panel.rows)]
        writer.writerows([in_csv(cell) for cell in line] for line in lines)
    return out.getvalue()


def latex(doc: Document) -> str:
    """Return booktabs tables, one per panel."""
    parts = []
    for panel in doc.panels:
        narrow = len(panel.columns) <= NARROW
        rule = "l" * 2 + "r" * (len(panel.columns) - 2)
        rows = [
            [rf"\textbf{{{_tex(c)}}}" if (i, j) in panel.bold else _tex(c) for j, c in enumerate(row)]
            for i, row in enumerate(panel.rows)
        ]
        body = "\n".join(" & ".join(row) + r" \\" for row in rows)
        head = " & ".join(_tex(c) for c in panel.columns) + r" \\"
        parts.append(
            "\\begin{table}\n\\centering\\small\n"
            f"\\caption{{{_tex(doc.title)}: {_tex(panel.title)}}}\n"
            f"{'' if narrow else WIDE}\\begin{{tabular}}{{{rule}}}\n\\toprule\n{head}\n\\midrule\n{body}\n"
            f"\\bottomrule\n\\end{{tabular}}{'' if narrow else '}'}\n\\end{{table}}\n"
        )
    notes = "".join(f"% {on_screen(n)}\n" for n in doc.notes)
    return "\n".join(parts) + notes


def _tex(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(c, c) for c in on_screen(text))


def html(doc: Document) -> str:
    """Return a page of its own; every text is escaped."""
    return jinja2.Environment(autoescape=True, finalize=on_screen).from_string(HTML).render(doc=doc)
