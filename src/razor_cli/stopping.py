"""Being stopped: SIGTERM and Ctrl-C end a command in order, with a line on what is kept and how to go on."""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

GRACE = 8.0  # seconds for the orderly end; after them the process ends as it stands
PR_SET_PDEATHSIG = 1  # of Linux's prctl: a signal for this process when its parent dies


class Stopped(BaseException):
    """A signal asks this process to end.

    No Exception, so that nothing takes it for a failure, and no KeyboardInterrupt, which the libraries of the
    command line answer themselves.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class Watch:
    """What `orderly` has seen: the stop that was asked for, also where a library swallowed or replaced it."""

    stop: Stopped | None = None


_watches: list[Watch] = []  # of those that are open, the innermost last


def asked_to_stop() -> Stopped | None:
    """Return the stop that was asked for, which a library may have made a failure of its own of; None where
    there was none.
    """
    return _watches[-1].stop if _watches else None


@contextmanager
def orderly() -> Iterator[Watch]:
    """Raise Stopped where the first SIGTERM, SIGINT or SIGHUP finds the program; a second ends it at once.

    Whatever does not come to its end within `GRACE` seconds, such as a long call into a library, is left.
    """
    watch = Watch()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield watch
        return
    before = {n: signal.getsignal(n) for n in _signals() if signal.getsignal(n) is not signal.SIG_IGN}

    def stop(number: int, _: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        watch.stop = Stopped(number)
        raise watch.stop

    listening, told = os.pipe()
    os.set_blocking(told, False)
    earlier = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    over = threading.Event()
    threading.Thread(target=_guard, args=(listening, set(before), over), daemon=True).start()
    _watches.append(watch)
    try:
        for number in before:
            signal.signal(number, stop)
        yield watch
    finally:
        _watches.pop()
        for number, handler in before.items():
            signal.signal(number, handler)
        over.set()
        signal.set_wakeup_fd(earlier)
        os.close(told)  # which ends the guard


def _signals() -> list[signal.Signals]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # the last: the terminal was closed
    return [signal.Signals[name] for name in names if hasattr(signal, name)]


def _guard(listening: int, numbers: set[int], over: threading.Event) -> None:
    """End the process if a signal has been there for `GRACE` seconds; the system writes its number into the
    pipe even while the main thread is in a long call.
    """
    with os.fdopen(listening, "rb", buffering=0) as pipe:
        while received := pipe.read(1):
            if received[0] in numbers and not over.wait(GRACE):
                with suppress(OSError):
                    os.write(2, b"stopped at once: what is unfinished is swept away by the next start\n")
                os._exit(128 + received[0])


@contextmanager
def keeping(say: Callable[[], str]) -> Iterator[None]:
    """Put into a stop that passes here what is kept, as `say` tells it then."""
    try:
        yield
    except (KeyboardInterrupt, Stopped) as stop:
        stop.add_note(say())
        raise


def last_words(stop: BaseException, kept: str) -> tuple[str, int]:
    """Return the line that ends a stopped command, and its exit code: 130 for Ctrl-C, 143 for SIGTERM.

    `kept` says what is kept and how to go on, where nothing that the stop passed knows it better.
    """
    number = stop.number if isinstance(stop, Stopped) else int(signal.SIGINT)
    how = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    return f"{how}: {next(iter(getattr(stop, '__notes__', [])), kept)}", 128 + number


def end_with_parent() -> None:
    """Make this process, which multiprocessing started, end at once when its parent does, killed or not."""
    import ctypes
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    from multiprocessing.connection import wait

    wait([sentinel])  # a pipe whose other end the parent holds: it tells of one that is dead already, too
    os._exit(128 + signal.SIGTERM)


def this_process() -> str:
    """Return the name of this process, among those of all machines."""
    return f"{platform.node()} {os.getpid()}"


@contextmanager
def failure_mark(folder: Path) -> Iterator[Path]:
    """Give the name of a file in a folder that several processes see: it is there once a job of theirs has
    failed and no other shall be started.
    """
    file = folder.resolve() / f".failed-{uuid.uuid4().hex}"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)
