"""A table as JSON: its panels with columns and rows, and its notes."""

from __future__ import annotations

from razor_cli.escape import in_json
from razor_cli.tables.base import Document


def as_json(doc: Document) -> str:
    """Return a document with the texts of its cells; `bold` are row and column of what stands out."""
    panels = [
        {
            "title": panel.title,
            "columns": list(panel.columns),
            "rows": [[str(cell) for cell in row] for row in panel.rows],
            "bold": sorted(map(list, panel.bold)),
        }
        for panel in doc.panels
    ]
    found = {"name": doc.name, "title": doc.title, "panels": panels, "notes": list(doc.notes)}
    return in_json(found, indent=1) + "\n"
