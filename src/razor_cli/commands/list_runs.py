"""`razor list runs`: a line for each recorded run, the last one first."""

from __future__ import annotations

from pathlib import Path


def print_runs(output_dir: Path, beginning: str | None = None) -> None:
    """Print the recorded runs below a folder, or those of them whose id has this beginning."""
    from rich.text import Text

    from razor_cli.printing import note
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
        shown.add_row(r.run_id, r.provenance.finished[:10], Text(words(what)), verdict)
    console.print(shown)
    console.print(f"{shown.row_count} of {len(records)} runs" if beginning else f"{len(records)} runs")
