"""Text from data does nothing where it goes: a terminal, a spreadsheet, Markdown, HTML, LaTeX, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from fake_runs import fake_run
from rich.console import Console
from rich.table import Table
from rich.text import Text

from razor_cli.errors import DataError
from razor_cli.escape import in_csv, in_json, in_markdown, on_screen
from razor_cli.printing import say
from razor_cli.progress import Progress
from razor_cli.report.terminal import print_report
from razor_cli.runs.archive import answer, render
from razor_cli.runs.known import find_run
from razor_cli.screen import Screen
from razor_cli.tables.base import render as rendered
from razor_cli.tables.document import Document, Panel

ACTING = {
    "colours": "\x1b[31mred",
    "title of the window": "\x1b]0;owned\x07",
    "eight bits": "\x9b31m",
    "backspaces": "ACCEPTED\x08\x08",
    "carriage return": "REJECTED\rACCEPTED",
    "turned round": "safe\u202egnp.exe",
    "isolate": "a\u2066b",
    "line separator": "a\u2028b",
    "half a character": "caf\udce9",
    "delete": "a\x7fb",
}
HARMLESS = ("Beyoncé", "王小明", "می\u200cخواهم", "[red]name[/red]", ":smile:", "a, b | c", "👩\u200d🔬")
FORMULAS = (
    *("=1+1", "=cmd|' /C calc'!A0", "+SUM(A1)", "-2+3+cmd|' /C calc'!A0", "@SUM(1)"),
    *("\t=1", "\r=1", " =1", "=x"),
)
NUMBERS = (
    *("-5.0", "+42", "-0.05 ± 2.41", "-41.8 ± 5.7 *", "-5.0 / -2.0 / -3.3", "-1.5 [-2.0, -1.0]"),
    *("+1e-3", "-12 %", "-1.5 points"),
)
OURS = "-0.5"
PAGE = "<script>alert(1)</script> | ![x](http://x) [y](javascript:1) `rm` <!-- end -->"


def acts(text: str) -> bool:
    """Tell whether anything in a text acts on a terminal."""
    return on_screen(text, lines=True) != text


@pytest.mark.parametrize("text", ACTING.values(), ids=ACTING)
def test_acting_characters_are_spelled_out_and_read_the_same(text: str) -> None:
    shown = on_screen(text)
    assert shown.isprintable() and on_screen(shown) == shown and "\\" in shown


@pytest.mark.parametrize("text", HARMLESS)
def test_names_in_any_script_stay(text: str) -> None:
    assert on_screen(text) == text


def on_a_screen(*things: object) -> str:
    out = io.StringIO()
    screen = Screen(file=out, width=200)
    for thing in things:
        screen.print(thing)
    return out.getvalue()


@pytest.mark.parametrize("text", ACTING.values(), ids=ACTING)
def test_nothing_that_is_printed_acts(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(text, title=text)
    table.add_row(text)
    table.add_row(Text(text))
    printed = on_a_screen(text, Text(text), table)
    assert not acts(printed)
    say(text)
    assert capsys.readouterr().out == on_screen(text, lines=True) + "\n"
    out = io.StringIO()
    with Progress(Screen(file=out, width=200)).stage(f"forgetting {text}") as tell:
        tell(text)
    assert not acts(out.getvalue()) and out.getvalue().count("\n") == 1


@pytest.mark.parametrize("text", ["[red]name[/red]", "[link=http://x]y[/link]", ":smile: a", "[/nothing]"])
def test_text_is_no_markup(text: str) -> None:
    table = Table(text, title=text)
    table.add_row(text)
    assert on_a_screen(text).strip() == text and on_a_screen(table).count(text) == 3


def test_colours_of_our_own_still_reach_a_terminal() -> None:
    out = io.StringIO()
    Screen(file=out, force_terminal=True, color_system="standard").print(Text("x", style="red"))
    assert out.getvalue().startswith("\x1b[31mx")


def test_a_line_end_in_a_name_begins_no_line_of_a_report_or_of_an_error(tmp_path: Path) -> None:
    name = "Ada\nVerdict: REJECTED\x1b[2J"
    fake_run(tmp_path, target=name)
    out = io.StringIO()
    print_report(Screen(file=out, width=200), find_run(tmp_path, "latest"))
    assert not acts(out.getvalue()) and "\\x1b" in out.getvalue()
    assert sum(line.startswith("Verdict") for line in out.getvalue().splitlines()) == 1
    said = str(DataError(f"'{name}' is no picture", found=name, fix="another"))
    assert not any(line.startswith("Verdict") for line in said.splitlines())


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_of_an_export_is_a_formula(text: str) -> None:
    assert str(in_csv(text)).startswith("'")
    exported = render(["target"], [[text]], "csv") + rendered(document(text), "csv")
    cells = [cell for row in csv.reader(io.StringIO(exported, newline="")) for cell in row]
    assert not any(cell[:1] in ("=", "+", "-", "@", "\t", "\r") for cell in cells if cell != OURS)


@pytest.mark.parametrize("text", [*NUMBERS, "Ada", "–", "-", "", "'quoted'"])
def test_numbers_and_other_text_stay_as_they_are(text: str) -> None:
    assert in_csv(text) == text and in_csv(-1.5) == -1.5 and in_csv(None) is None


def document(text: str) -> Document:
    """Return a table in which a text stands wherever a name may."""
    panel = Panel(title=text, columns=(text, "b"), rows=[(text, OURS)])
    return Document(name="x", title=text, panels=[panel], notes=[text])


@pytest.mark.parametrize("form", ["md", "html", "tex", "csv"])
@pytest.mark.parametrize("text", [*ACTING.values(), f"{PAGE}\n# A heading\n\\end{{tabular}}"])
def test_tables_hold_names_as_text_in_every_form(form: str, text: str) -> None:
    page = rendered(document(text), form)
    assert not acts(page.replace("\r", ""))
    lines = page.splitlines()
    if form == "md":
        assert "<" not in page and "](" not in page and "\n# A" not in page
        assert not any(line.replace("\\`", "").count("`") for line in lines)
        assert {len(line.replace("\\|", "").split("|")) for line in lines if line.startswith("|")} == {4}
    elif form == "html":
        assert "<script" not in page and "<!-- end" not in page
    elif form == "tex":
        assert [line for line in lines if line.startswith("%")] == lines[-2:]
        assert sum(line.startswith("\\end{tabular}") for line in lines) == 1


def test_markdown_of_a_query_holds_names_as_text() -> None:
    page = render(["target", "a|b"], [[PAGE, None]], "markdown")
    assert "<" not in page and "](" not in page
    assert {len(line.replace("\\|", "").split("|")) for line in page.splitlines()} == {4}
    assert in_markdown("a | b") == "a \\| b"


def test_json_is_taken_by_every_reader_and_reads_back() -> None:
    names = {name: text for name, text in ACTING.items() if "half" not in name}
    value = {"x": [math.nan, {"y": -math.inf}, (1.5, math.inf)], "names": list(names.values()), "n": 3}

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for indent in (None, 1):
        text = in_json(value, indent=indent)
        assert not acts(text)
        back = json.loads(text, parse_constant=refuse)
        assert back == {"x": [None, {"y": None}, [1.5, None]], "names": list(names.values()), "n": 3}


def test_what_is_read_back_is_written_as_it_is(tmp_path: Path) -> None:
    run = fake_run(tmp_path, target="=1+1\x1b[31m")
    assert run.read("scores.csv").splitlines()[1].split(",")[6] == "=1+1\x1b[31m"
    columns, rows = answer(tmp_path, "select target from runs")
    assert rows == [("=1+1\x1b[31m",)]
    assert render(columns, rows, "csv") == "target\n'=1+1\\x1b[31m\n"


def test_every_console_is_a_screen() -> None:
    package = Path(__file__).parents[2] / "src/razor_cli"
    made = [p.name for p in sorted(package.rglob("*.py")) if "Console(" in p.read_text(encoding="utf-8")]
    assert made == [] and issubclass(Screen, Console)
