"""The four forms of a table: Markdown, tidy CSV, LaTeX (booktabs), HTML."""

from __future__ import annotations

from collections.abc import Sequence

from razor_cli.escape import in_markdown
from razor_cli.tables.document import Document
from razor_cli.tables.latex import latex
from razor_cli.tables.page import page
from razor_cli.tables.tidy import comma_separated

FORMS = {"md": "markdown", "csv": "csv", "tex": "latex", "html": "html"}  # ending: name


def render(doc: Document, form: str, figures: Sequence[str] = ()) -> str:
    """Return a document in one of FORMS' endings; `figures` are names of files that a page shows."""
    if form == "html":
        return page(doc, figures)
    return {"md": markdown, "csv": comma_separated, "tex": latex}[form](doc)


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
    if doc.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {in_markdown(n)}" for n in doc.notes) + "\n")
    return "\n".join(parts)
