"""What every architecture of open_clip does here: load, components, an edit of one gradient pass,
quantization, a patch.

Each is tried in a process of its own with a limit of memory, smallest first, with random weights: at full
size up to --full million weights, beyond with few and narrow blocks of the same kind
(scripts/small_models.py). What an architecture needs from the hub is put into a cache of its own. Results lie
in --out, one file each, and those that passed are not tried again; the table is docs/architectures.md, where
rows stay of names that have no result in --out.

    make architectures                                 # whatever has not passed yet, then the table
    make architectures ARGS="--only RN50,RN101"        # these, again
    make architectures ARGS="--only RN50 --full 150"   # at full size
    make architectures ARGS=--table                    # the table alone
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architectures.md"
OUT = ROOT / "outputs" / "architectures"
MEMORY_GB, SECONDS = 12, 900


def tried(name: str, full: int) -> dict[str, Any]:
    """Return what one architecture does, or why it does not; `full`: at full size up to so many million
    weights.
    """
    import huggingface_hub
    from small_trial import examine

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        huggingface_hub.constants.HF_HUB_CACHE = f"{work}/hub"
        os.environ["RAZOR_CACHE"] = f"{work}/cache"
        try:
            found = examine(name, full, Path(work))
        except Exception as error:  # whatever goes wrong is the finding
            found = {"name": name, "failed": f"{type(error).__name__}: {error}"[:400]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {**found, "seconds": round(time.perf_counter() - started, 1), "peak_mb": peak}


def try_apart(name: str, full: int, file: Path) -> str:
    """Try an architecture in a process of its own, with its libraries loaded before; return a line of what
    came of it.
    """
    file.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GB << 30, MEMORY_GB << 30))
        write(file, tried(name, full))
        os._exit(0)
    ended, deadline = 0, time.monotonic() + SECONDS
    while not ended and time.monotonic() < deadline:
        time.sleep(0.1)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not file.exists():
        said = f"ended with {status}" if ended else f"took more than {SECONDS} s"
        write(file, {"name": name, "failed": said})
    found = json.loads(file.read_text(encoding="utf-8"))
    return str(
        found.get("failed") or found.get("refused") or f"ok, {found['seconds']} s, {found['peak_mb']} MB"
    )


def write(file: Path, found: Mapping[str, Any]) -> None:
    """Write what was found, at once."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def passed(file: Path) -> bool:
    """Tell whether an architecture was tried and came to its patch."""
    return file.exists() and "patched" in json.loads(file.read_text(encoding="utf-8"))


def try_all(asked: argparse.Namespace) -> None:
    """Try what is asked for, one at a time."""
    from small_trial import by_size

    names = asked.only.split(",") if asked.only else by_size(asked.out / "sizes.txt")
    for number, name in enumerate(names, start=1):
        file = asked.out / f"{name}.json"
        if asked.only or not passed(file):
            print(f"{number}/{len(names)} {name}: {try_apart(name, asked.full, file)}", flush=True)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="names, with commas between them: tried again")
    parser.add_argument(
        "--full", type=int, default=0, help="million weights up to which a model has its full size"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="write the table from what there is")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if not asked.table:
        try_all(asked)
    from small_table import page

    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(asked.out.glob("*.json"))]
    PAGE.write_text(page(found, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    failed = [entry["name"] for entry in found if "failed" in entry]
    print(f"{len(found)} tried, {len(failed)} failed {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
