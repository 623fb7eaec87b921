"""What every architecture of open_clip does here: load, components, an edit of one gradient pass,
quantization, a patch.

Each is tried in a process of its own with a limit of memory, smallest first, with random weights: at full
size up to --full million weights, beyond with few and narrow blocks of the same kind
(scripts/small_models.py). What an architecture needs from the hub is put into a cache of its own. Results lie
in --out, one file each, and those that are there are not tried again; the table is docs/architectures.md.

python scripts/architectures.py                    # whatever has not been tried yet, then the table python
scripts/architectures.py --only RN50,RN101  # these, again python scripts/architectures.py --table
# the table alone
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architectures.md"
OUT = ROOT / "outputs" / "architectures"
FULL, MEMORY_GB, SECONDS = 70, 12, 900


def tried(name: str, full: int, folder: Path) -> dict[str, Any]:
    """Return what one architecture does, or why it does not; `full`: at full size up to so many million
    weights.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        os.environ.update(HF_HUB_CACHE=f"{work}/hub", HF_HUB_OFFLINE="1", RAZOR_CACHE=f"{work}/cache")
        from small_trial import examine

        try:
            found = examine(name, full, Path(work))
        except Exception as error:  # whatever goes wrong is the finding
            found = {"name": name, "failed": f"{type(error).__name__}: {error}"[:400]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {**found, "seconds": round(time.perf_counter() - started, 1), "peak_mb": peak}


def limited() -> None:
    """Hold a trial to its memory, and let others go first."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GB << 30, MEMORY_GB << 30))
    os.nice(10)


def try_apart(name: str, full: int, out: Path) -> str:
    """Try an architecture in a fresh process; return one line of what came of it."""
    file = out / f"{name}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--one", name, "--full", str(full), "--out", str(out)]
    try:
        done = subprocess.run(
            command, check=False, preexec_fn=limited, timeout=SECONDS, capture_output=True, text=True
        )
        said = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        said = f"took more than {SECONDS} s"
    if not file.exists():
        write(file, {"name": name, "failed": said[:400]})
    found = json.loads(file.read_text(encoding="utf-8"))
    return str(
        found.get("failed") or found.get("refused") or f"ok, {found['seconds']} s, {found['peak_mb']} MB"
    )


def write(file: Path, found: Mapping[str, Any]) -> None:
    """Write what was found, at once."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="names, with commas between them: tried again")
    parser.add_argument(
        "--full", type=int, default=FULL, help="million weights up to which the full size is tried"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="write the table from what there is")
    parser.add_argument("--one", default="", help="(inside) try one name in this process")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.one:
        write(asked.out / f"{asked.one}.json", tried(asked.one, asked.full, asked.out))
        return 0
    if not asked.table:
        from small_trial import by_size

        names = asked.only.split(",") if asked.only else by_size(asked.out / "sizes.txt")
        for number, name in enumerate(names, start=1):
            file = asked.out / f"{name}.json"
            if asked.only:
                file.unlink(missing_ok=True)
            if not file.exists() or "patched" not in json.loads(file.read_text(encoding="utf-8")):
                print(f"{number}/{len(names)} {name}: {try_apart(name, asked.full, asked.out)}", flush=True)
    from small_table import page

    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(asked.out.glob("*.json"))]
    PAGE.write_text(page(found, asked.full), encoding="utf-8")
    failed = [entry["name"] for entry in found if "failed" in entry]
    print(f"{len(found)} tried, {len(failed)} failed {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
