"""Names of picture files in recorded runs: split.json has them until somebody takes them out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from razor_cli.escape import in_json
from razor_cli.runs.folder import DONE, SPLIT, Run, complete_runs, open_run, write_atomic

FILES = "files"  # of split.json: key of a picture -> its file


def named(output_dir: Path) -> dict[Run, int]:
    """Return the recorded runs whose split.json names files, and how many each names."""
    found = {run: len(_split(run).get(FILES, {})) for run in complete_runs(output_dir) if run.has(SPLIT)}
    return {run: count for run, count in found.items() if count}


def take_out(output_dir: Path, run: Run) -> None:
    """Take the names of files out of a recorded run; all else in it stays as it is, byte for byte.

    Readers, and whoever comes after a kill, find the run with all names or with none.
    """
    split = _split(run)
    *_, scenario, method, run_id = run.folder.parts
    with open_run(output_dir, scenario, method, run_id, force=True) as fresh:
        for path in run.folder.iterdir():
            if path.is_dir():
                shutil.copytree(path, fresh.path(path.name))
            elif path.name not in (DONE, SPLIT):
                shutil.copy2(path, fresh.path(path.name))
        kept = {name: keys for name, keys in split.items() if name != FILES}
        write_atomic(fresh.path(SPLIT), in_json(kept, indent=1))
        fresh.seal()


def _split(run: Run) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(run.read(SPLIT))
    return found
