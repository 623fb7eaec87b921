"""What the machine is: Python, processor, memory and GPU, told without importing torch."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")  # what makes torch fast on a CPU


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: `state` is ok, note (works, but less is possible) or missing (a run cannot work)."""

    section: str
    name: str
    value: str
    state: str = "ok"
    fix: str = ""


def machine() -> Iterator[Row]:
    """Return the rows on the machine."""
    section, here = "machine", f"{sys.version_info.major}.{sys.version_info.minor}"
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    fix = "" if good else "install Python 3.11, 3.12 or 3.13"
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Row(section=section, name="Python", value=text, state="ok" if good else "missing", fix=fix)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS")
    found = ", ".join(cpu_features()) or f"not told by {here} on {platform.system()}"
    yield Row(
        section=section,
        name="CPU",
        value=f"{cores} cores for this process, "
        f"{f'OMP_NUM_THREADS={told}' if told else 'threads as torch decides'}; {found}",
    )
    yield Row(section=section, name="memory", value=memory())
    gpus = gpu_names()
    yield Row(
        section=section,
        name="GPU",
        value=", ".join(gpus) or f"none found; torch is built for {torch_build()}",
        state="ok" if gpus else "note",
    )


def cpu_features(path: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Return the vector features that this processor tells of; none where the system does not tell."""
    try:
        words = set(re.findall(r"\w+", path.read_text(encoding="utf-8", errors="ignore")))
    except OSError:
        return []
    return [f for f in FEATURES if f in words]


def memory() -> str:
    """Return total and free memory in GB, and a container's limit where it is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    text = f"{total / GIB:.1f} GB"
    try:
        free = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
        text += f", {int(free.group(1)) * 1024 / GIB:.1f} GB available" if free else ""
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
        text += (
            f", limited to {int(limit) / GIB:.1f} GB here" if limit.isdigit() and int(limit) < total else ""
        )
    except OSError:
        pass  # other systems do not tell
    return text


def gpu_names() -> list[str]:
    """Return name and memory of the NVIDIA GPUs that the driver lists."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=1.5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def torch_build() -> str:
    """Return what the installed torch was built for, without importing it."""
    found = importlib.util.find_spec("torch")
    file = Path(found.origin).parent / "version.py" if found and found.origin else None
    cuda = (
        re.search(r"^cuda[^=\n]*=\s*'([\d.]+)'", file.read_text(encoding="utf-8"), re.MULTILINE)
        if file and file.is_file()
        else None
    )
    return f"CUDA {cuda.group(1)}" if cuda else "the CPU"
