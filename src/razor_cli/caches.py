"""Where computed and fetched things are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir(root: Path | str | None = None) -> Path:
    """Return where computed and fetched things are kept: `root`, else $RAZOR_CACHE, else the user's cache
    folder.
    """
    return Path(
        root or os.environ.get("RAZOR_CACHE") or platformdirs.user_cache_dir("razor-cli", appauthor=False)
    )
