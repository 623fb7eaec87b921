"""Hold the lines that README.md prints of the default run against a default run.

    python scripts/check_readme.py OUTPUTS

Takes the newest run below OUTPUTS whose settings are the defaults, prints its report again, and looks for the
README's lines in it, in order. Ids, dates, times and memory do not count. Exit code 1 names the lines that no
longer come out, or says that there is no such run.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.settings import resolved
from razor_cli.report.terminal import print_report
from razor_cli.runs.folder import Run, complete_runs
from razor_cli.runs.provenance import canonical_json

README = Path(__file__).parents[1] / "README.md"
MARKER = "<!-- lines of the default run, in order -->\n```\n"
WIDTH = 110
MASKED = (
    (re.compile(r"\b[0-9a-f]{16}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"\b[\d.,]+ (s|MB)\b"), r"N \1"),
    (re.compile(r"(gradients|search|rest) [\d.]+"), r"\1 N"),
    (re.compile(r"\b\d+ threads?\b"), "N threads"),
)


def masked(line: str) -> str:
    """Return a line without what differs from run to run."""
    for pattern, word in MASKED:
        line = pattern.sub(word, line)
    return line.rstrip()


def quoted(text: str) -> list[str]:
    """Return the lines that the README quotes."""
    return text.partition(MARKER)[2].partition("```")[0].splitlines()


def stale(lines: Sequence[str], report: str) -> list[str]:
    """Return the lines that do not stand in a report, each behind the one before."""
    printed, at, missing = [masked(line) for line in report.splitlines()], 0, []
    for line in lines:
        if masked(line) in printed[at:]:
            at = printed.index(masked(line), at) + 1
        else:
            missing.append(line)
    return missing


def default_run(outputs: Path) -> Run | None:
    """Return the newest run with the default settings."""
    wanted = canonical_json(resolved(checked(read([]))))
    own = [r for r in complete_runs(outputs) if canonical_json(r.record.settings) == wanted]
    return max(own, key=lambda r: r.record.provenance.finished, default=None)


def report_of(run: Run) -> str:
    """Return what `razor show` prints of a run."""
    out = io.StringIO()
    print_report(Console(file=out, width=WIDTH), run)
    return out.getvalue()


def main() -> None:
    """Compare, and leave with the exit code."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if (run := default_run(Path(sys.argv[1]))) is None:
        sys.exit(f"README check: no run with the default settings is recorded below {sys.argv[1]}: make run")
    lines = quoted(README.read_text(encoding="utf-8"))
    if not lines or (missing := stale(lines, report_of(run))):
        told = "\n  ".join(missing if lines else [f"the marker {json.dumps(MARKER)} is not there"])
        sys.exit(f"README check: the default run does not print these lines any more:\n  {told}")
    print(f"README check: {len(lines)} lines are those of run {run.run_id}")


if __name__ == "__main__":
    main()
