"""What a number was measured of, in the words of records; read and written without torch."""

from __future__ import annotations

from typing import NamedTuple

Key = tuple[str, str]  # (state, quantization); full precision is "none"


class Place(NamedTuple):
    """What was measured: a state at a width, and of an attack on it which one, after how many steps."""

    state: str
    quantization: str
    attack: str = ""
    step: int | None = None
