"""Tables as pages for a browser: wide ones scroll in a box of their own, an index leads to all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from razor_cli.escape import on_screen
from razor_cli.tables.cells import ASIDE, REMARK, meaning_of

if TYPE_CHECKING:
    from razor_cli.tables.document import Document, Panel

FILES = ("style.css", "head.html", "table.html", "index.html")  # in the folder `pages`
OTHER_FORMS = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}
LONG = 34  # letters; a longer text breaks its lines


def page(doc: Document, figures: Sequence[str] = ()) -> str:
    """Return a page of one table with the figures that lie beside it; every text is escaped."""
    panels = [
        {
            "title": panel.title,
            "heads": [{"text": head, "look": _look(panel, j)} for j, head in enumerate(panel.columns)],
            "rows": [list(_cells(panel, i)) for i in range(len(panel.rows))],
        }
        for panel in doc.panels
    ]
    return rendered("table.html", title=doc.title, doc=doc, panels=panels, figures=figures, forms=OTHER_FORMS)


def _cells(panel: Panel, i: int) -> Iterable[Mapping[str, object]]:
    """Yield the cells of one row; a reason takes the place of the numbers."""
    row, j = panel.rows[i], 0
    while j < len(row):
        span = 1
        if panel.is_reason(row, j):
            span += next((k for k, cell in enumerate(row[j + 1 :]) if cell), len(row) - j - 1)
        look = _look(panel, j)
        yield {
            "text": row[j],
            "bold": (i, j) in panel.bold,
            "label": j < panel.labels,
            "span": span,
            "look": look,
        }
        j += span


def _look(panel: Panel, j: int) -> Markup:
    """Return the classes of a column's cells: the first stays in sight, texts stand left and may break."""
    texts = [row[j] for row in panel.rows if row[j] and not panel.is_reason(row, j)]
    told = meaning_of(panel.columns[j]).source in (ASIDE, REMARK) and not all(t.isdigit() for t in texts)
    long = any(len(text) > LONG for text in texts)
    found = {"first": j == 0, "text": j < panel.labels or told or long, "long": long and j >= panel.labels}
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
