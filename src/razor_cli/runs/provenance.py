"""Where a run's numbers come from: code, versions, machine, weights and data, and the id made of them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from razor_cli import __version__

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "numpy", "bitsandbytes")  # beside those of the model's family
# Of the run id: 1 hashed module paths of classes, and one version of all the code; 2 knew neither the names
# and sentences that pictures are compared with, nor all that decides answers beside the weights.
ID_FORMAT = 3


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What decides a run's numbers beside its settings, as hashes: weights, every set of pictures, code."""

    weights: str
    data: Mapping[str, str]
    code: str


class Provenance(BaseModel):
    """Everything needed to say under which conditions a run was computed. Times are UTC, ISO 8601."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    package_version: str
    code_version: str
    git_commit: str | None
    python: str
    libraries: dict[str, str]
    platform: str
    device: str
    dtype: str
    threads: int
    seed: int
    weights_hash: str
    data_fingerprints: dict[str, str]
    set_sizes: dict[str, int]
    started: str
    finished: str


def collect(
    inputs: Inputs,
    *,
    device: str,
    dtype: str,
    threads: int,
    seed: int,
    set_sizes: Mapping[str, int],
    started: str,
    libraries: Sequence[str] = (),
) -> Provenance:
    """Return the provenance of a run that began at `started` and ends now."""
    return Provenance(
        package_version=__version__,
        code_version=inputs.code,
        git_commit=git_commit(),
        python=platform.python_version(),
        libraries=library_versions(libraries),
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
        dtype=dtype,
        threads=threads,
        seed=seed,
        weights_hash=inputs.weights,
        data_fingerprints=dict(inputs.data),
        set_sizes=dict(set_sizes),
        started=started,
        finished=now(),
    )


def now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def canonical_json(value: object) -> str:
    """Return JSON in which equal values give equal text: sorted keys, no spaces, finite numbers only.

    Raises TypeError for what JSON cannot hold (paths count as their text) and ValueError for NaN and
    infinities.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_as_text
    )


def _as_text(value: object) -> str:
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} cannot be part of a run's settings")


def run_id(settings: Mapping[str, object], inputs: Inputs) -> str:
    """Return the name of a run: 16 hex digits of the SHA-256 of all that decides its numbers."""
    parts = {
        "format": ID_FORMAT,
        "settings": settings,
        "weights": inputs.weights,
        "data": dict(inputs.data),
        "code": inputs.code,
    }
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:16]


def git_commit(package: Path = PACKAGE) -> str | None:
    """Return the commit of the checkout that tracks the package (`+changes` if files differ), or None outside
    of one.
    """
    marker = "__init__.py"
    if _git(package, "ls-files", "--error-unmatch", marker) is None:
        return None  # installed: a surrounding repository, if any, is somebody else's
    commit = _git(package, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git(package, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def library_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Return the installed versions of the libraries that compute, without importing them."""
    versions = {}
    for name in (LIBRARIES[0], *more, *LIBRARIES[1:]):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def peak_rss_mb() -> float:
    """Return the largest resident memory of this process so far, in MB (2**20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage on Linux also counts what the parent held when this process was forked
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
