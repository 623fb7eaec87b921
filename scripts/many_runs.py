"""Thousands of recorded runs, made of a few, and what commands over them take.

    python scripts/many_runs.py                                     # makes the few first, about a minute
    python scripts/many_runs.py --of outputs --count 2000 --into DIR

A copy is the same run under another seed, with an id of its own: its record, scores and log say so, and its
`DONE` vouches for them. What no report reads (pictures, patch) is linked, so that copies take little room.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from razor_cli.runs import voucher
from razor_cli.runs.folder import CONFIG, EDIT_LOG, RECORD, SCORES, Run, complete_runs

ASKED = (  # (what it stands for, arguments of `razor`)
    ("query", ["query", "select target, avg(value) from scores where metric = 'm1' group by 1 order by 1"]),
    ("show latest", ["show", "latest"]),
    ("tables table3", ["tables", "table3"]),
)
RAZOR = "from razor_cli.main import razor; razor()"
OWN = (RECORD, SCORES, EDIT_LOG, CONFIG)  # files that differ between copies


def multiply(runs: Sequence[Run], into: Path, count: int) -> None:
    """Record `count` copies of runs below `into`, in turn, each under another seed and a minute later."""
    for i in range(count):
        run = runs[i % len(runs)]
        name = hashlib.sha256(f"{run.run_id} {i}".encode()).hexdigest()[:16]
        folder = into / "runs" / run.record.scenario / run.record.method / name
        folder.mkdir(parents=True)
        for path in run.folder.iterdir():
            if path.name not in (*OWN, voucher.DONE):
                _link(path, folder / path.name)
        seed = 1000 + i
        (folder / RECORD).write_text(_record(run, name, seed, minutes=i), encoding="utf-8")
        for file in (SCORES, EDIT_LOG):
            _write(folder / file, _rows(run.path(file), name, seed))
        config = run.path(CONFIG).read_text(encoding="utf-8")
        _write(folder / CONFIG, config.replace(f"\nseed: {run.record.seed}\n", f"\nseed: {seed}\n"))
        _write(folder / voucher.DONE, voucher.voucher(folder, name))


def _link(path: Path, goal: Path) -> None:
    try:
        os.link(path, goal)
    except OSError:  # another disk
        shutil.copyfile(path, goal)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


def _record(run: Run, name: str, seed: int, *, minutes: int) -> str:
    said: dict[str, Any] = json.loads(run.path(RECORD).read_bytes())
    said |= {"run_id": name, "seed": seed}
    said["settings"] |= {"seed": seed}
    for moment in ("started", "finished"):
        then = datetime.fromisoformat(said["provenance"][moment]) + timedelta(minutes=minutes)
        said["provenance"][moment] = then.isoformat(timespec="milliseconds")
    said["provenance"]["seed"] = seed
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def _rows(path: Path, name: str, seed: int) -> str:
    """Return a file of rows with another run's id, and its seed where it has one."""
    reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
    head = next(reader)
    places = {
        head.index(column): value
        for column, value in (("run_id", name), ("seed", str(seed)))
        if column in head
    }
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([places.get(i, cell) for i, cell in enumerate(row)] for row in reader)
    return out.getvalue()


def measure(output_dir: Path) -> list[tuple[str, float, float]]:
    """Return what each command takes over the runs below a folder, in seconds: clock, processors."""
    found = []
    for what, words in (("first query (makes the index)", ASKED[0][1]), *ASKED):
        command = [sys.executable, "-c", RAZOR, *words]
        before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([*command, "--output-dir", str(output_dir)], check=True, capture_output=True)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - clock
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((what, seconds, cpu))
    return found


def some_runs(output_dir: Path) -> None:
    """Record a few runs on the embedded model."""
    words = ["-m", "method=razor,slug,none", f"output_dir={output_dir}"]
    command = [sys.executable, "-c", "from razor_cli.main import razor_run; razor_run()", *words]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Multiply recorded runs, and print what commands over them take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--of", type=Path, help="results folder of the runs that are copied")
    parser.add_argument("--into", type=Path, help="folder for the copies; without it one that is removed")
    parser.add_argument("--count", type=int, default=2000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        source, into = asked.of or Path(temporary, "few"), asked.into or Path(temporary, "many")
        if asked.of is None:
            some_runs(source)
        if not (into / "runs").exists():
            multiply(complete_runs(source), into, asked.count)
        print(f"{asked.count} recorded runs        seconds   of processors")
        for what, seconds, cpu in measure(into):
            print(f"{what:<32} {seconds:>6.2f}   {cpu:>6.2f}")


if __name__ == "__main__":
    main()
