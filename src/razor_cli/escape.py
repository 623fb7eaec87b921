"""Text that comes from data (names of files, captions, targets, messages of libraries), made fit for where it
goes: a terminal, a cell of a spreadsheet, Markdown, JSON.

What is read back (scores.csv, edit_log.csv, survival.csv, cosines.csv) is written as it is, not by this.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Characters that act on a terminal and are not seen: C0 and C1 controls, line and paragraph separators, what
# turns the direction of text round, and halves of a character (bytes of a file name that are no text).
# Marks within a script (U+200C to U+200F) stay: names in Persian and Hebrew need them.
ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20].|[\t\r]", re.DOTALL)
NUMBER = r"[-+]?(\d[\d,]*\.?\d*|\.\d+)([eE][-+]?\d+)?"
# A number as tables write it: with a width, an interval, others beside it, a mark, or a short unit.
OWN = re.compile(rf"{NUMBER}( (±|/|to) {NUMBER})*( \[{NUMBER}, {NUMBER}\])?( ?[*%]| [a-z][a-z²]*( ×100)?)?")


def on_screen(text: str, *, lines: bool = False) -> str:
    """Return text whose acting characters are spelled out, line ends too but with `lines`."""
    return ACTING.sub(lambda found: found[0] if lines and found[0] == "\n" else _spelled(found[0]), text)


def _spelled(sign: str) -> str:
    code = ord(sign)
    return SHORT.get(sign) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def in_csv(value: object) -> object:
    """Return the cell of an exported table: a text that a spreadsheet would take for a formula gets a `'` in
    front of it; numbers, also as our tables write them, stay.
    """
    if not isinstance(value, str):
        return value
    formula = FORMULA.match(value) and not OWN.fullmatch(value)
    return f"{chr(39) if formula else ''}{on_screen(value, lines=True)}"


def in_markdown(text: str, *, cell: bool = True) -> str:
    """Return text as a cell of a Markdown table, or as a line: no column, code, tag or link begins."""
    for sign in ("\\", "`", "|") if cell else ("\\", "`"):
        text = text.replace(sign, f"\\{sign}")
    return on_screen(" ".join(text.split("\n"))).replace("](", "]\\(").replace("<", "&lt;")


def in_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON that every reader takes: null where a number is not finite, and no acting character.

    What JSON does not know is written as text.
    """
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, default=str, indent=indent)
    # between its tokens JSON has no acting character but line ends
    return ACTING.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def finite(value: Any) -> Any:
    """Return a value with None in place of every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list | tuple) else value
