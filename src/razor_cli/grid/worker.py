"""A process of a grid: works off jobs until the other end of its pipe closes, and ends with its parent.

What a job needs is imported late, so that the process is bound to its parent from its first moment.
"""

from __future__ import annotations

import os
import signal
from contextlib import redirect_stderr
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from razor_cli.printing import steady_streams
from razor_cli.stopping import Stopped, end_with_parent


def serve(pipe: Connection, threads: int) -> None:
    """Work off jobs; what is said while one runs goes through the pipe as text, how it ended as Ended."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the parent answers it
    signal.signal(signal.SIGTERM, _stop)
    code = 0
    try:
        _work(pipe, threads)
    except (EOFError, BrokenPipeError):  # the parent has no more jobs
        pass
    except Stopped as stop:
        code = 128 + stop.number
    os._exit(code)  # what a job had begun is removed by now; nothing else is worth a wait


def lock_bars() -> None:
    """Let bars of libraries share a lock of this process alone: theirs is a semaphore of the system, and a
    process that ends at once leaves it behind, of which Python warns on the parent's screen.
    """
    from threading import RLock

    from tqdm import tqdm

    tqdm.set_lock(RLock())


def _stop(number: int, _: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: the parent kills what does not end
    raise Stopped(number)


def _work(pipe: Connection, threads: int) -> None:
    import torch

    from razor_cli.grid.job import perform_job
    from razor_cli.grid.kept import Kept

    steady_streams()
    lock_bars()
    torch.set_num_threads(threads)
    kept = Kept()
    with (
        Path(os.devnull).open("w", encoding="utf-8", errors="backslashreplace") as nowhere,
        redirect_stderr(nowhere),
    ):  # a library's warnings would tear the parent's lines
        while True:
            number, experiment = pipe.recv()
            pipe.send(perform_job(number, experiment, kept, pipe.send))
