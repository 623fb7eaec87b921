"""Tables as pages for a browser: wide ones scroll in a box of their own, an index leads to all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup, escape

from razor_cli.escape import on_screen
from razor_cli.tables.cells import ASIDE, REMARK, kept_together, meaning_of

if TYPE_CHECKING:
    from razor_cli.tables.document import Document, Panel

FILES = ("style.css", "head.html", "table.html", "index.html")  # in the folder `pages`
OTHER_FORMS = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}
LONG = 34  # letters; a longer text breaks its lines
BRIEF = 32  # letters; a row's name up to here stays on one line where the page is wide
WORD = 12  # letters; a longer word may break behind one of its signs
COMMAND = re.compile(r"`([^`]+)`")


def page(doc: Document, figures: Sequence[str] = ()) -> str:
    """Return a page of one table with the figures that lie beside it; every text is escaped."""
    return rendered(
        "table.html",
        title=doc.title,
        doc=doc,
        panels=map(_shaped, doc.panels),
        notes=map(with_commands, doc.notes),
        figures=figures,
        forms=OTHER_FORMS,
    )


def _shaped(panel: Panel) -> Mapping[str, object]:
    """Return a panel as the page's template goes through it."""
    looks = [_look(panel, j) for j in range(len(panel.columns))]
    return {
        "title": panel.title,
        "heads": [
            {"text": _head(head), "look": look} for head, look in zip(panel.columns, looks, strict=True)
        ],
        "rows": [list(_cells(panel, i, looks)) for i in range(len(panel.rows))],
    }


def _head(text: str) -> Markup:
    """Return a head that breaks its lines where it can be read."""
    return _breakable(kept_together(text))


def _breakable(text: str) -> Markup:
    """Return a name whose long words break behind a sign rather than within a syllable."""
    words = on_screen(text).split(" ")
    return Markup(" ").join(
        Markup("<wbr>").join(re.split(r"(?<=[_/:=(,])(?=\w)", word)) if len(word) > WORD else escape(word)
        for word in words
    )


def with_commands(text: str) -> Markup:
    """Return a sentence with its commands set as such."""
    parts = COMMAND.split(on_screen(text))  # what stood between backquotes is every second one
    return Markup().join(
        Markup("<code>{}</code>").format(p) if k % 2 else escape(p) for k, p in enumerate(parts)
    )


def _cells(panel: Panel, i: int, looks: Sequence[Markup]) -> Iterable[Mapping[str, object]]:
    """Yield the cells of one row; a reason takes the place of the numbers."""
    row, j = panel.rows[i], 0
    while j < len(row):
        span, reason = 1, panel.is_reason(row, j)
        if reason:
            span += next((k for k, cell in enumerate(row[j + 1 :]) if cell), len(row) - j - 1)
        yield {
            "text": _breakable(row[j]) if j < panel.labels else row[j],
            "bold": (i, j) in panel.bold,
            "label": j < panel.labels,
            "reason": reason,
            "span": span,
            "look": looks[j],
        }
        j += span


def _look(panel: Panel, j: int) -> Markup:
    """Return the classes of a column's cells: the first stays in sight, texts stand left and may break."""
    texts = [row[j] for row in panel.rows if row[j] and not panel.is_reason(row, j)]
    told = meaning_of(panel.columns[j]).source in (ASIDE, REMARK) and not all(t.isdigit() for t in texts)
    long, label = any(len(text) > LONG for text in texts), j < panel.labels
    found = {
        "first": j == 0,
        "text": label or told or long or not texts,
        "long": long and not label,
        "brief": label and all(len(text) <= BRIEF for text in texts),
    }
    names = " ".join(name for name, on in found.items() if on)
    return Markup(f' class="{names}"' if names else "")  # the names above, nothing of a table's


def rendered(template: str, **given: object) -> str:
    """Return a page of one of FILES."""
    folder = resources.files("razor_cli.tables").joinpath("pages")
    texts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in FILES}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts), autoescape=True, finalize=_shown, trim_blocks=True
    )
    return environment.get_template(template).render(style=Markup(texts["style.css"]), **given)


def _shown(value: object) -> object:
    """Spell out what acts on a screen; what is markup already was made here."""
    return on_screen(str(value)) if not isinstance(value, Markup) else value
