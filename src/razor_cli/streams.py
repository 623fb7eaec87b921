"""Standard streams that end no command: closed ones, those whose reader has gone or whose disk is full."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Keep what a library logs of its own attempts off the screen; how they end is told in our words."""
    logger = logging.getLogger(library)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


class Forgiving(io.FileIO):
    """A standard stream that drops what it cannot write any more, so that the work behind it goes on."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int | None:  # type: ignore[override]
        """Write what can be written, and say that all was."""
        if self.lost is None:
            try:
                return super().write(data)
            except BlockingIOError:
                raise
            except OSError as error:
                self.lost = error
        return memoryview(data).nbytes


def forgiving() -> list[Forgiving]:
    """Put forgiving streams in the place of standard output and standard error, and return them.

    Streams that the caller had closed lead nowhere, so that no file of ours gets their number.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    found = []
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream: TextIO | None = getattr(sys, name)
        raw = Forgiving(descriptor)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and _is_file(stream, descriptor):
            stream.flush()
            setattr(sys, name, _like(stream, raw))
        else:
            continue
        found.append(raw)
    return found


def _is_file(stream: io.TextIOWrapper, descriptor: int) -> bool:
    """Tell whether it is the system's own stream, and no console of Windows, which is no file."""
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return isinstance(raw, io.FileIO) and not raw.closed and raw.fileno() == descriptor


def _like(stream: io.TextIOWrapper, raw: Forgiving) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def unwritten(streams: list[Forgiving]) -> str:
    """Return why output was lost; nothing where all was written, or the reader (`| head`) has simply gone."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    lost = [s.lost for s in streams if s.lost is not None and s.lost.errno != errno.EPIPE]
    return str(lost[0]) if lost else ""
