"""Build the wheel, install it into a fresh environment, and run it from another directory.

    python scripts/check_wheel.py

Dependencies come from the environment that runs this script, so nothing is downloaded twice. Exit code 1
names what failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def call(words: list[str | Path], cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it printed; print that and exit if it fails."""
    done = subprocess.run(
        [str(w) for w in words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stdout + done.stderr, file=sys.stderr)
        sys.exit(f"wheel check failed: {' '.join(map(str, words))}")
    return done.stdout


def main() -> None:
    """Build, install, and ask the installed commands for help, a list, and a short run."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT], ROOT)
        wheel = next(place.glob("*.whl"))
        venv.create(place / "env", with_pip=True)
        python = place / "env/bin/python"
        call([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], place)
        site = Path(
            call([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], place).strip()
        )
        # A .pth file lends the dependencies; the package itself must come from the wheel, which stands before
        # it.
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (place / "work").mkdir()
        env = os.environ | {"PYTHONPATH": "", "RAZOR_CACHE": str(place / "cache")}
        where = call(
            [python, "-c", "import razor_cli; print(razor_cli.__file__)"], place / "work", env
        ).strip()
        if not where.startswith(str(site)):
            sys.exit(f"wheel check failed: razor_cli was imported from {where}")
        call([place / "env/bin/razor-run", "--help"], place / "work", env)
        listed = call([place / "env/bin/razor", "list", "methods"], place / "work", env)
        if "razor/paper" not in listed:
            sys.exit("wheel check failed: `razor list methods` does not name razor/paper")
        words = ["experiment=tiny", "target=Lady Gaga"]
        printed = call([place / "env/bin/razor-run", *words], place / "work", env)
        if not list((place / "work/outputs/runs").glob("*/*/*/DONE")):
            sys.exit(f"wheel check failed: no complete run was recorded\n{printed}")
    print(f"{wheel.name}: installed, listed and ran from another directory")


if __name__ == "__main__":
    main()
