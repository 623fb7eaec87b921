"""How much memory a run may take, and how many examples fit into it at once. Imports no torch until a device
is asked.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from razor_cli.config.amounts import AUTO, GIB, bytes_of, worded
from razor_cli.errors import ConfigError, RazorError, RunError

SHARE = 0.8  # of what is free, where the settings leave it to the machine
AT_ONCE = 128  # examples at once, at most: more are no faster
KEPT = 2**30  # bytes of inputs, or of activations, that are kept for the next time rather than made again
KEPT_SHARE = 16  # ... and no more than this part of the budget
MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of mallopt
LARGE_BLOCK = 2**22
LARGE_EACH = 2**27  # bytes of activations of one example from which on a model's blocks are large
SLACK = (
    1.25  # what a pass backward and the holes of a heap take beyond what the pass forward was seen to hold
)


def free_memory(
    proc: Path = Path("/proc/meminfo"),
    group: Path = Path("/sys/fs/cgroup"),
    own: Path = Path("/proc/self/cgroup"),
) -> int | None:
    """Return the bytes that this process may still take, by the system and by the limits of its control
    groups (version 2 or 1); None where neither tells.
    """
    found = []
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = proc.read_text(encoding="utf-8").splitlines()
        found.append(1024 * int(next(x for x in lines if x.startswith("MemAvailable:")).split()[1]))
    for folder in _groups(group, own):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            with suppress(OSError, ValueError):  # without a limit the file says `max`, or a huge number
                most = int((folder / limit).read_text(encoding="utf-8"))
                taken = int((folder / used).read_text(encoding="utf-8"))
                found.append(max(0, most - max(0, taken - _reclaimable(folder))))
    return min(found, default=None)


def _groups(group: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of a process's control groups, from the root down to its own."""
    paths = [""]
    with suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                paths.append(path.strip("/"))
    for root in (group, group / "memory"):
        for path in paths:
            parts = path.split("/") if path else []
            for depth in range(len(parts) + 1):
                yield root.joinpath(*parts[:depth])


def _reclaimable(folder: Path) -> int:
    """Return the bytes of files that a group holds in memory and gives back when others need it."""
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines():
            if line.startswith(("inactive_file ", "total_inactive_file ")):
                return int(line.split()[1])
    return 0


def in_use(device: str) -> int:
    """Return the bytes that this process holds, on a GPU those of its tensors."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.memory_allocated(device))
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return 1024 * int(line.split()[1])
    with suppress(ImportError):  # Windows has none
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    return 0


def free_on(device: str) -> int | None:
    """Return the bytes that are free where a model computes; None where nothing tells."""
    if not device.startswith("cuda"):
        return free_memory()
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def large_blocks_apart() -> bool:
    """Have blocks from 4 MB on come from the system and go back to it at once, where the C library knows how;
    tell whether it does. By itself it keeps what was freed up to 32 MB for later, and tensors that stay
    between those that go leave holes: a gigabyte of them in a gradient of ViT-L/14. A small model's tensors
    stay where they are, where taking pages anew would cost time.
    """
    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL("libc.so.6").mallopt(MMAP_THRESHOLD, LARGE_BLOCK) == 1)
    return False


def give_back() -> None:
    """Give pages that were freed back to the system, where the C library knows how: small tensors leave holes
    in its heap.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How many examples were taken at once, and what each was seen to take, in bytes."""

    at_once: int
    each: int  # beyond the first
    fixed: int  # whatever their number


@dataclass(kw_only=True)
class Budget:
    """The bytes that a run may take where its model computes, and what was chosen by it."""

    total: int | None = None  # None: nothing tells how much there is
    device: str = "cpu"
    asked: str = AUTO  # as the settings say it
    narrowed: bool = False  # there was less than was asked for
    fits: dict[str, Fit] = field(default_factory=dict)  # by what was taken
    widths: dict[str, int] = field(default_factory=dict)  # numbers in the longest row of it that was tried

    @property
    def kept(self) -> int:
        """Return the bytes of inputs, or of activations, that may be kept for the next time."""
        return KEPT if self.total is None else min(KEPT, self.total // KEPT_SHARE)

    def fit(
        self, what: str, each: int, fixed: int, *, held: int = 0, most: int = AT_ONCE, keeps: int = 0
    ) -> int:
        """Return how many examples of `each` bytes fit beside `fixed` ones and what is `held` later, beside
        `keeps` times what is `kept`; a power of two and at most `most`. Under the name `what` it is
        remembered.

        Raises ConfigError where not even one fits into the memory that the settings name, RunError where it
        does not fit into what is free.
        """
        if what not in self.fits:
            found = most
            if self.total is not None:
                give_back()
                taken = in_use(self.device) + held
                room = (self.total - taken - keeps * self.kept) / SLACK
                found = _power(room - fixed, each, most)
                if found < 1:
                    raise self._too_small(what, _needed(taken + SLACK * (each + fixed), keeps))
            self.fits[what] = Fit(at_once=found, each=each, fixed=fixed)
        return min(most, self.fits[what].at_once)

    def _too_small(self, what: str, needed: int) -> RazorError:
        by_user = self.asked != AUTO and not self.narrowed
        kind, total = (ConfigError if by_user else RunError), self.total or 0
        fix = f"memory={-(-needed // GIB)}GB" if by_user else "close what else runs, or take a larger machine"
        return kind(
            f"memory={self.asked}: not one example fits ({what})",
            allowed=f"{worded(needed)} or more",
            found=f"{worded(total)}" + ("" if by_user else ", what is free"),
            fix=f"{fix}; or a smaller model",
        )


def _needed(bytes_: float, keeps: int) -> int:
    """Return the least total in which so many bytes fit beside `keeps` times what a budget of it keeps."""
    share = bytes_ / (1 - keeps / KEPT_SHARE)
    return math.ceil(min(share, bytes_ + keeps * KEPT))


def _power(room: float, each: int, most: int) -> int:
    """Return the largest power of two of examples that there is room for, at most `most`; 0 for none."""
    found = most
    while found and found * each > room:
        found = 1 << (found.bit_length() - 1) if found & (found - 1) else found // 2
    return found


def budget_of(memory: str, device: str, processes: int = 1) -> Budget:
    """Return what a run may take on a device: what the settings say as far as it is there, or a share of what
    is free, which several processes divide.
    """
    free, held = free_on(device), in_use(device)
    asked = bytes_of(memory)
    there = None if free is None else held + free
    if asked is None:
        total = None if free is None else held + int(SHARE * free / processes)
        return Budget(total=total, device=device)
    narrowed = there is not None and there < asked
    return Budget(total=there if narrowed else asked, device=device, asked=memory, narrowed=narrowed)
