"""Names of picture files in recorded runs: split.json and notes have them until somebody takes them out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from razor_cli.data.sources.tally import Tally
from razor_cli.escape import in_json
from razor_cli.runs.folder import DONE, RECORD, SPLIT, Run, complete_runs, open_run, write_atomic

FILES = "files"  # of split.json: key of a picture -> its file


def named(output_dir: Path) -> dict[Run, int]:
    """Return the recorded runs that name files, in split.json or in notes, and how many each names, a note
    counted once.
    """
    found = {run: _count(run) for run in complete_runs(output_dir)}
    return {run: count for run, count in found.items() if count}


def _count(run: Run) -> int:
    listed = len(_split(run).get(FILES, {})) if run.has(SPLIT) else 0
    return listed + sum(note != Tally.unnamed(note) for note in json.loads(run.read(RECORD))["notes"])


def take_out(output_dir: Path, run: Run) -> None:
    """Take the names of files out of a recorded run; all else that it says stays as it is, and other files
    byte for byte.

    Readers, and whoever comes after a kill, find the run with all names or with none.
    """
    *_, scenario, method, run_id = run.folder.parts
    with open_run(output_dir, scenario, method, run_id, force=True) as fresh:
        for path in run.folder.iterdir():
            if path.is_dir():
                shutil.copytree(path, fresh.path(path.name))
            elif path.name not in (DONE, RECORD, SPLIT):
                shutil.copy2(path, fresh.path(path.name))
        if run.has(SPLIT):
            kept = {name: keys for name, keys in _split(run).items() if name != FILES}
            write_atomic(fresh.path(SPLIT), in_json(kept, indent=1))
        record = json.loads(run.read(RECORD))
        record["notes"] = [Tally.unnamed(note) for note in record["notes"]]
        write_atomic(fresh.path(RECORD), in_json(record, indent=2) + "\n")
        fresh.seal()


def _split(run: Run) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(run.read(SPLIT))
    return found
