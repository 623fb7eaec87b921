"""Where data sets lie that `razor data prepare` fetched once."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def prepared(name: str) -> Path:
    """Return the folder of a prepared data set, whether or not it is there yet; RAZOR_DATA_DIR moves them
    all.
    """
    root = os.environ.get("RAZOR_DATA_DIR")
    return (Path(root).expanduser() if root else platformdirs.user_data_path("razor-cli")) / name
