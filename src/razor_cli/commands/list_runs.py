"""`razor list runs`: a line for each recorded run, the last one first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from razor_cli.config.conf_files import labelled
from razor_cli.errors import shortened

if TYPE_CHECKING:
    from razor_cli.runs.records import RunRecord


SAID = ("seed",)  # what the line says already
SETTINGS = 120  # characters of the settings that a run changed


def print_runs(output_dir: Path, beginning: str | None = None) -> None:
    """Print the recorded runs below a folder, or those of them whose id has this beginning."""
    from rich.text import Text

    from razor_cli.printing import counted, note
    from razor_cli.report.cells import Words, table
    from razor_cli.report.terminal import STYLES
    from razor_cli.runs.known import known_runs, no_runs
    from razor_cli.screen import Screen

    with known_runs(output_dir, note) as known:
        records = [run.record for run in known.runs]
    if not records:
        raise no_runs(output_dir)
    console = Screen(highlight=False)
    words = Words(console.options.ascii_only)
    shown = table(None)
    for name in ("run", "finished", "what", "verdict"):
        shown.add_column(name, no_wrap=name != "what", overflow="fold")
    records.sort(key=lambda r: (r.provenance.finished, r.run_id), reverse=True)
    for r in records:
        if beginning is not None and not r.run_id.startswith(beginning.lower()):
            continue
        decision = r.verdict.decision if r.verdict else None
        verdict = Text(decision.value, style=STYLES[decision]) if decision else Text("")
        what = f"{r.model} · {r.scenario} {r.target} · {r.method} · seed {r.seed}"
        said = Text("\n").join(Text(words(line)) for line in (what, _changed(r)) if line)
        shown.add_row(r.run_id, _minute(r.provenance.finished), said, verdict)
    console.print(shown)
    every = counted(len(records), "run")
    console.print(f"{shown.row_count} of {every}" if beginning else every)


def _minute(finished: str) -> str:
    """Return when a run finished, to the minute."""
    return finished[:16].replace("T", " ")


def _changed(record: RunRecord) -> str:
    """Return the settings that tell a run from others of its method: those that are not as shipped, and all
    of a method that is not ours.
    """
    from razor_cli.report.differing import UNCOMPARED, differing
    from razor_cli.tables.flips import shown

    found = {key: value for key, value in differing(record).items() if key not in SAID}
    method = record.settings.get("method")
    if record.method not in labelled("method") and isinstance(method, dict):
        found |= {f"method.{key}": value for key, value in method.items() if key not in UNCOMPARED}
    ordered = sorted(found, key=lambda key: not key.startswith("method."))
    return shortened("  ".join(f"{key}={shown(found[key])}" for key in ordered), SETTINGS)
