"""No letter that the terminal's encoding lacks ends a command: names are spelled out, files keep them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))  # where the maker of runs lies
from fake_runs import fake_run

NAME = "Łukasz Ωmega"
SPELLED = "\\u0141ukasz"
PROGRAM = """\
import os, sys
from itertools import groupby
from razor_cli.main import {entry}
streams = sys.stdout, sys.stderr
for isbreak, words in groupby(sys.argv[1:], lambda word: word == "THEN"):
    if isbreak:
        continue
    sys.stdout, sys.stderr = streams  # as the process found them, whatever the command before made of them
    sys.argv = ["x", *words]
    try:
        {entry}()
    except SystemExit as end:
        os.write(1, f"END {{end.code}};".encode())
        os.write(2, b"END")
"""
STAGES = """\
from razor_cli.main import _end
from razor_cli.grid.swept import Outcome, summary
from razor_cli.progress import Progress
from razor_cli.screen import Screen
from razor_cli.printing import say
def command(_):
    with Progress(Screen()).stage("forgetting \\u0141ukasz"):
        pass
    say(summary([Outcome(overrides=("target=\\u0141ukasz",), exit_code=1, error="no \\u0141ukasz")]))
    raise KeyError("\\u0141ukasz")
try:
    _end(command)
except KeyError as error:
    import traceback
    traceback.print_exception(error)
"""
SERVED = """\
import sys, warnings
from razor_cli.grid import worker
class Pipe:
    def recv(self):
        warnings.warn("\\u0141ukasz")
        print("\\u0141ukasz", file=sys.stderr)
        print("\\u0141ukasz")
        raise EOFError
try:
    worker._work(Pipe(), 1)
except EOFError:
    pass
"""
ENCODINGS = ("cp1252", "ascii", "latin-1:strict", "C")


def commands(entry: str, *lines: list[str], encoding: str, cwd: Path) -> list[tuple[int, str, str]]:
    """Call commands one after the other in one process; return code, output and errors of each."""
    words = [word for line in lines for word in (*line, "THEN")]
    code, out, err = called(PROGRAM.format(entry=entry), *words, encoding=encoding, cwd=cwd)
    ends, printed = re.findall(r"END (\d+);", out), re.split(r"END \d+;", out)
    errors = err.split("END")
    assert (code, printed[-1], errors[-1]) == (0, "", "") and len(ends) == len(lines)
    return list(zip(map(int, ends), printed[:-1], errors[:-1], strict=True))


def called(code: str, *words: str, encoding: str, cwd: Path) -> tuple[int, str, str]:
    """Run a program whose streams have an encoding, or are those of LC_ALL=C; return code, output, errors."""
    own = {"PYTHONIOENCODING": encoding} if encoding != "C" else {"LC_ALL": "C", "PYTHONUTF8": "0"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))} | own
    if encoding == "C":
        environment |= {"PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, cwd=cwd, capture_output=True, check=False
    )
    return done.returncode, done.stdout.decode("cp1252"), done.stderr.decode("cp1252")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_read_of_runs_is_printed(tmp_path: Path, encoding: str) -> None:
    run = fake_run(tmp_path / "outputs", target=NAME)
    lines = (
        ["show"],
        ["query", "select target from runs"],
        *(["query", "--format", form, "select target from runs"] for form in ("csv", "json", "markdown")),
        ["tables", "measured", "--format", "md"],
    )
    for code, out, err in commands("razor", *lines, encoding=encoding, cwd=tmp_path):
        assert (code, err) == (0, "") and SPELLED in out
    assert NAME in run.read("scores.csv")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_runs_sweeps_and_their_errors_are_printed(tmp_path: Path, encoding: str) -> None:
    lines = [[f"threads={NAME}"]]
    if encoding != "C":  # there Python reads the words as bytes, and half letters are no name
        lines.append([f"target={NAME}", "--cfg", "job"])
    (code, _, err), *shown = commands("razor_run", *lines, encoding=encoding, cwd=tmp_path)
    assert all(code == 0 and SPELLED in out for code, out, _ in shown)
    assert code == 2 and "\\u" in err.lower() and "UnicodeEncodeError" not in err
    code, out, err = called(STAGES, encoding=encoding, cwd=tmp_path)
    assert out.count(SPELLED) == 3 and SPELLED in err and "UnicodeEncodeError" not in err


def test_processes_of_a_grid_are_as_steady(tmp_path: Path) -> None:
    code, out, err = called(SERVED, encoding="ascii", cwd=tmp_path)
    assert (code, err) == (0, "") and SPELLED in out
