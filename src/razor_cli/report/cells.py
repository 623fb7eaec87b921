"""How a report writes single things: numbers, intervals, headings, and text that any terminal can show."""

from __future__ import annotations

from dataclasses import dataclass

from razor_cli.metrics.score import Score

ASCII_FORMS = {
    "↓": "(down)",
    "↑": "(up)",
    "→0": "(to 0)",
    "→": "->",
    "φ": "phi",
    "×": "x",
    "–": "-",
    "²": "^2",
    "·": "-",
    "≤": "<=",
    "≥": ">=",
}
ARROWS = {"down": "↓", "up": "↑", "zero": "→0", "chance": "→ chance", "none": ""}
DIGITS = {"%": 1, "points": 1, "nats": 3}


@dataclass(frozen=True)
class Words:
    """Text as the terminal can show it: names stay as they are, or become ASCII with escapes where it must
    be.
    """

    ascii_only: bool

    def __call__(self, text: str) -> str:
        """Return `text` as it can be printed."""
        if not self.ascii_only:
            return text
        for sign, form in ASCII_FORMS.items():
            text = text.replace(sign, form)
        return text.encode("ascii", "backslashreplace").decode()


def number(value: float, unit: str) -> str:
    """Return a value as tables print it: percentages and points with one decimal, nats with three, the rest
    with two.
    """
    text = f"{value:.{DIGITS.get(unit, 2)}f}"
    return text.replace("-", "") if float(text) == 0 else text


def interval(score: Score) -> str:
    """Return ` [low, high]`, or nothing for a score without an interval."""
    if score.ci_low is None or score.ci_high is None:
        return ""
    return f" [{number(score.ci_low, score.unit)}, {number(score.ci_high, score.unit)}]"


def heading(title: str, score: Score | None) -> str:
    """Return a column's two-line heading: the title, then arrow and unit."""
    if score is None:
        return title
    unit = score.unit.replace("x100", "×100")
    return (
        f"{title}\n{' '.join(part for part in (ARROWS.get(score.direction, score.direction), unit) if part)}"
    )
