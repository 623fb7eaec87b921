"""Run the checked jobs of a grid, one after the other or in several processes, and say how each ended.

Every job is a recorded run of its own: one that is complete returns at once, one that is killed leaves
nothing behind, and the same command goes on where it was. A process that dies takes only its own job with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from rich.console import Console
from rich.text import Text

from razor_cli.grid.blocks import Asked
from razor_cli.grid.job import Ended, perform_job
from razor_cli.grid.kept import Kept
from razor_cli.grid.plan import duration
from razor_cli.grid.points import Job
from razor_cli.grid.worker import serve
from razor_cli.runs.folder import sweep
from razor_cli.runs.judged import exit_code
from razor_cli.stopping import keeping
from razor_cli.writable import require_writable

PATIENCE = 3.0  # seconds for the processes to end in order; then they are killed

Say = Callable[[str], None]


def run_grid(
    asked: Asked, jobs: Sequence[Job], *, processes: int, fail_fast: bool, debug: bool, console: Console
) -> int:
    """Run all jobs; return 0, 1 if any failed, 3 if none failed and `exit_on` does not let a verdict pass."""
    for folder in dict.fromkeys(job.experiment.output_dir for job in jobs):
        require_writable(folder / "runs", "output_dir")
    started = time.perf_counter()
    ended: list[Ended] = []

    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    apart = processes > 1 or any(map(fresh, jobs))
    source = spread(jobs, processes, say) if apart else in_turn(jobs, say)
    title = f"experiment={asked.name}" if asked.name else "sweep"
    console.print(
        Text(f"{title}: {len(jobs)} jobs" + (f" in {processes} processes" if processes > 1 else ""))
    )
    by_number = {job.number: job for job in jobs}
    with (
        keeping(lambda: kept(ended, jobs)),
        _swept(jobs),
        closing(source),
        console.status(Text("starting")) as status,
    ):
        for at in source:
            if isinstance(at, Job):
                status.update(
                    Text(
                        f"job {len(ended) + 1} of {len(jobs)}: {at.label}{_left(ended, len(jobs), processes)}"
                    )
                )
                continue
            ended.append(at)
            console.print(
                _line(at, by_number[at.number], len(ended), len(jobs), _left(ended, len(jobs), processes)),
                soft_wrap=True,
            )
            if at.error:
                console.print(Text((at.trace if debug else "") + at.error, style="red"))
                if fail_fast:
                    break
    console.print(Text(summary(ended, jobs, time.perf_counter() - started)), soft_wrap=True)
    if any(e.error for e in ended):
        return 1
    return max((exit_code(by_number[e.number].experiment.exit_on, e.decision) for e in ended), default=0)


@contextmanager
def _swept(jobs: Sequence[Job]) -> Iterator[None]:
    """Afterwards remove what processes that had to be killed left."""
    try:
        yield
    finally:
        for folder in {job.experiment.output_dir for job in jobs}:
            sweep(folder)


def _line(ended: Ended, job: Job, count: int, total: int, left: str) -> Text:
    text = Text(f"[{count:>{len(str(total))}}/{total}] {job.label} ")
    if ended.error:
        return text + Text("FAILED", style="bold red") + Text(left, style="dim")
    how = f"{ended.seconds:.1f} s" if ended.computed else "recorded"
    return text + Text(f"· {how} · ", style="dim") + Text(ended.said) + Text(left, style="dim")


def _left(ended: Sequence[Ended], total: int, processes: int) -> str:
    """Return how long the rest will take, by the mean of the jobs that were computed; nothing before the
    first.
    """
    computed = [e.seconds for e in ended if e.computed]
    if not computed or len(ended) == total:
        return ""
    return f" · about {duration((total - len(ended)) * sum(computed) / len(computed) / processes)} left"


def summary(ended: Sequence[Ended], jobs: Sequence[Job], seconds: float) -> str:
    """Return the end of a grid: how many jobs there were, and for each failed one its error and how to run it
    again.
    """
    failed = [e for e in ended if e.error]
    computed = sum(e.computed for e in ended)
    before = len(ended) - computed - len(failed)
    lines = [
        f"{len(jobs)} jobs: {computed} computed, {before} recorded before, {len(failed)} failed, "
        f"{duration(seconds)}"
    ]
    lines += (
        [f"stopped at the first failure (fail_fast=true): {len(jobs) - len(ended)} not started"]
        if len(ended) < len(jobs)
        else []
    )
    commands = {job.number: job.command for job in jobs}
    for one in failed:
        lines += [f"  job {one.number}: {one.error.splitlines()[0]}", f"    rerun: {commands[one.number]}"]
    return "\n".join(lines)


def kept(ended: Sequence[Ended], jobs: Sequence[Job]) -> str:
    """Return what a stop leaves of a grid, and how to go on."""
    done = sum(not e.error for e in ended)
    return f"{done} of {len(jobs)} jobs had ended; what is recorded is kept, the same command does the others"


def in_turn(jobs: Sequence[Job], say: Say) -> Generator[Job | Ended]:
    """Run jobs in this process; yields each as it starts, and how it ended."""
    model = Kept()
    for job in jobs:
        yield job
        yield perform_job(job.number, job.experiment, model, say)


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    since: float = 0.0
    before: Job | None = None  # the last one it was given

    @property
    def label(self) -> str:
        return self.job.label if self.job else ""

    def suits(self, job: Job) -> bool:
        """Tell whether it may have a job: one that measures what it costs shares no process."""
        return self.before is None or not (fresh(job) or fresh(self.before))

    def give(self, job: Job) -> Job:
        self.job, self.since = job, time.perf_counter()
        self.before = job
        with suppress(OSError):  # it died before its first job: reading says so, too
            self.pipe.send((job.number, job.experiment))
        return job

    def stop(self, patience: float) -> None:
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def spread(
    jobs: Sequence[Job], processes: int, say: Say, work: Callable[..., None] = serve
) -> Generator[Job | Ended]:
    """Run jobs in several processes; a process that dies is replaced and its job counts as failed. A job that
    measures what it costs gets one that had no other.
    """
    waiting = list(reversed(jobs))
    workers: list[_Worker] = []
    try:
        while waiting or any(w.job for w in workers):
            _retire(workers, waiting)
            while waiting and len(workers) < min(processes, len(jobs)):
                workers.append(_started(processes, work))
            for worker in workers:
                if worker.job is None and waiting and worker.suits(waiting[-1]):
                    yield worker.give(waiting.pop())
            for pipe in wait([w.pipe for w in workers if w.job]):
                worker = next(w for w in workers if w.pipe is pipe)
                try:
                    ended = worker.pipe.recv()
                except (EOFError, OSError):
                    ended = _died(worker)
                    workers.remove(worker)
                if isinstance(ended, str):
                    say(f"{worker.label}: {ended}")
                    continue
                worker.job = None
                yield ended
    finally:
        _end(workers)


def fresh(job: Job) -> bool:
    """Tell whether a job measures what it costs, in a process of its own."""
    return bool(getattr(job.experiment, "fresh", False))


def _retire(workers: list[_Worker], waiting: Sequence[Job]) -> None:
    """End the idle processes that must not have the next job."""
    done = [w for w in workers if w.job is None and waiting and not w.suits(waiting[-1])]
    workers[:] = [w for w in workers if w not in done]
    _end(done)


def _end(workers: Sequence[_Worker]) -> None:
    """End all processes: by their pipe, by a signal where they work, by force where that is not enough."""
    until = time.monotonic() + PATIENCE
    for worker in workers:
        worker.pipe.close()
        worker.process.terminate()
    for worker in workers:
        worker.stop(max(0.0, until - time.monotonic()))


def threads_each(processes: int) -> int:
    """Return the CPU threads of each of several processes: its share of the cores that this one may use, and
    no more than OMP_NUM_THREADS says, as threads that find no core keep all others waiting.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    most = int(told) if told.isdigit() else cores
    return max(1, min(cores // processes, most))


def _started(processes: int, work: Callable[..., None]) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads half-alive
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, threads_each(processes)), daemon=True)
    with _quiet_on_interrupt():
        process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Worker(process, ours)


@contextmanager
def _quiet_on_interrupt() -> Iterator[None]:
    """Let a process that is started here never see Ctrl-C, which reaches all processes of a terminal; ours
    waits until afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _died(worker: _Worker) -> Ended:
    assert worker.job is not None
    worker.process.join()
    code = worker.process.exitcode or 0
    how = (
        f"was killed by signal {-code}" + (" (out of memory?)" if code == -9 else "")
        if code < 0
        else f"ended with code {code}"
    )
    seconds = time.perf_counter() - worker.since
    return Ended(
        number=worker.job.number,
        seconds=seconds,
        error=f"RunError: its process {how}; nothing of it is recorded",
    )
