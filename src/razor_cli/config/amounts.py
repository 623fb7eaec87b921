"""Amounts of memory as settings write them: `8GB`, `512 MB`, or `auto`. A GB is 2**30 bytes."""

from __future__ import annotations

import re

from razor_cli.errors import ConfigError

AUTO = "auto"
MIB, GIB = 2**20, 2**30
UNITS = {"MB": MIB, "MIB": MIB, "GB": GIB, "GIB": GIB, "TB": 2**40, "TIB": 2**40}
WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def bytes_of(memory: str) -> int | None:
    """Return the bytes that a setting names; None for auto. Raises ConfigError."""
    if memory.strip().lower() == AUTO:
        return None
    found = WRITTEN.fullmatch(memory)
    unit = UNITS.get(found[2].upper()) if found else None
    count = int(float(found[1]) * unit) if found and unit else 0
    if not MIB <= count < 2**60:
        bare = memory.strip().replace(".", "", 1).isdigit()
        raise ConfigError(
            "memory: no amount of memory",
            allowed="auto (a share of what is free), or an amount such as 8GB or 512MB",
            found=repr(memory),
            fix=f"memory={memory.strip()}GB" if bare and float(memory) > 0 else "memory=auto",
        )
    return count


def least(*amounts: int | None) -> int | None:
    """Return the smallest of the amounts that are known; None where none is."""
    return min((a for a in amounts if a is not None), default=None)


def worded(count: int) -> str:
    """Return bytes as a person reads them."""
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / MIB:.0f} MB"
