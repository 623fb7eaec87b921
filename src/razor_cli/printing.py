"""How a process prints: no letter stops it, and text that comes from data does nothing on a terminal."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from razor_cli.escape import on_screen


def steady_streams() -> None:
    """Have both streams of this process spell out letters that their encoding lacks, and not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print lines of text in which what comes from data can only be read."""
    print(on_screen(text, lines=True), file=file, flush=True)


def counted(count: int, what: str) -> str:
    """Return a number of things: 1 job, 2 jobs."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def put(text: str) -> None:
    """Print a text that was escaped for its form, as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(text: str) -> None:
    """Print what a person should know beside an answer, to the other stream."""
    say(text, file=sys.stderr)
