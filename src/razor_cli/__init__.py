"""razor-cli: make a vision model forget one concept, and prove it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__"]
CALLS = ("Unlearned", "unlearn")  # of api.py, loaded when first asked for: a command line does without


def __getattr__(name: str) -> Any:
    """Return what Python programs call."""
    if name in CALLS:
        return getattr(import_module("razor_cli.api"), name)
    raise AttributeError(f"module 'razor_cli' has no attribute {name!r}")
