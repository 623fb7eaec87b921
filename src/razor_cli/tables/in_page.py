"""Tables inside a page of the documentation, between markers, so that nobody copies a number by hand.

<!-- razor tables compare -->
…
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from razor_cli.errors import ConfigError
from razor_cli.runs.folder import Run
from razor_cli.tables.base import markdown
from razor_cli.tables.registry import TABLES, builder

BEGIN = re.compile(r"<!-- razor tables (?P<name>\S+) -->")
END = "<!-- end -->"
DEEPER = 2  # levels: a table's title is a section of the page


def filled(text: str, runs: Sequence[Run]) -> str:
    """Return a page with every table between markers written anew from `runs`.

    Raises ConfigError where a marker names no table, or has no end.
    """
    lines, out = iter(text.splitlines()), []
    for line in lines:
        out.append(line)
        if (found := BEGIN.fullmatch(line.strip())) is None:
            continue
        if END not in (line.strip() for line in lines):  # goes on behind the end
            raise ConfigError(f"'{found[0]}' has no end", fix=f"write {END} on a line behind it")
        out += ["", section(found["name"], runs), END]
    return "\n".join(out) + "\n"


def section(name: str, runs: Sequence[Run]) -> str:
    """Return one table in Markdown, its headings a page's."""
    if name not in TABLES:
        raise ConfigError(f"there is no table '{name}'", allowed=", ".join(TABLES))
    return re.sub(r"^#", "#" * (DEEPER + 1), markdown(builder(name)(runs)), flags=re.MULTILINE)


def names(text: str) -> list[str]:
    """Return the tables whose markers stand in a page."""
    return [found["name"] for line in text.splitlines() if (found := BEGIN.fullmatch(line.strip()))]
