"""Which files a pattern of shards means: `{000..009}` counts, so each was asked for; `*` takes what is
there.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path

from razor_cli.data.sources.tally import Tally
from razor_cli.errors import DataError

MAX_SHARDS = 1_000_000  # files that a pattern may count


def asked_for(pattern: str, tally: Tally) -> list[Path]:
    """Return the files of a pattern in order; those that its numbers count and that are not there are
    counted.
    """
    found: set[Path] = set()
    missing = []
    for part in expand(pattern):
        magic = glob.has_magic(part) and not Path(part).exists()
        files = [Path(p) for p in glob.glob(part)] if magic else [Path(part)]  # noqa: PTH207 (may be absolute)
        there = {f for f in files if f.is_file()}
        found |= there
        missing += [] if there else [Path(part).name]
    if found and missing:
        tally.count("shards of the pattern that are not there", ", ".join(missing[:3]), len(missing))
    return sorted(found)


def expand(pattern: str) -> list[str]:
    """Return the patterns that `{000..009}` in a pattern counts; `*`, `?` and `[…]` are left as they are."""
    found = re.search(r"\{(\d{1,12})\.\.(\d{1,12})\}", pattern)
    if found is None:
        return [pattern]
    first, last = found[1], found[2]
    low, high = sorted((int(first), int(last)))
    rest = expand(pattern[found.end() :])
    if (high - low + 1) * len(rest) > MAX_SHARDS:
        raise DataError(
            f"a pattern of shards counts more than {MAX_SHARDS:,} files",
            found=found[0],
            fix="point the setting at the folder",
        )
    numbers = [str(n).zfill(len(first)) for n in range(low, high + 1)]
    return [pattern[: found.start()] + n + tail for n in numbers for tail in rest]
