"""What the finished `llava_tiny` answers."""

from pathlib import Path

from rich.console import Console


def report(out: Path, paired: Path, work: Path, console: Console) -> str:
    """Return the model card."""
    return ""
