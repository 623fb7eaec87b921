"""Which runs are recorded below a results folder: from the index where it holds, else from their folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from razor_cli.errors import RazorError, UserError
from razor_cli.runs import voucher
from razor_cli.runs.folder import DONE, Run, why_unread
from razor_cli.runs.index import Entry, Index, Indexed, Stamp, opened, places, stamp

MANY = 32  # runs that are new to the index, for writing it to pay

Tell = Callable[[str], None]
Wanted = Callable[[str, str], bool]


@dataclass(frozen=True, kw_only=True)
class Known:
    """Runs in the order of their folders, and the index that holds some of them, while it is open."""

    runs: list[Run]
    index: Index | None = None

    @property
    def indexed(self) -> list[Indexed]:
        """The runs that the index holds."""
        return [run for run in self.runs if isinstance(run, Indexed)]

    @property
    def fresh(self) -> list[Run]:
        """The others."""
        return [run for run in self.runs if not isinstance(run, Indexed)]


def _untold(_: str) -> None:
    """Say nothing."""


@contextmanager
def known_runs(
    output_dir: Path,
    tell: Tell = _untold,
    *,
    rows: bool = False,
    check: bool = False,
    wanted: Wanted | None = None,
) -> Iterator[Known]:
    """Give every complete run under `output_dir` that this version reads, in path order, as `complete_runs`
    finds them; `tell` is given a note on each folder that is left out.

    What the index knows is not read again, unless `check` has every byte held against `DONE`. With `rows` all
    others are read whole. Of the index come the scores that are `wanted`, by metric and variant.
    """
    output_dir = Path(output_dir)
    found = {folder: stamp(output_dir / "runs" / folder) for folder in run_folders(output_dir)}
    stamps = {folder: s for folder, s in found.items() if s is not None}
    where = places(output_dir)
    index = None if check else next(filter(None, map(opened, where)), None)
    spoiled: dict[Path, str] = {}
    if len(stamps.keys() - _holding(index, stamps).keys()) >= MANY:
        index, spoiled = _renewed(output_dir, index, where[0], stamps)
    if index is not None:
        index.wanted = wanted
    try:
        holding = _holding(index, stamps)
        indexed = {f: Indexed(output_dir / "runs" / f, index, e) for f, e in holding.items() if index}
        each = [indexed.get(f) or _run(output_dir / "runs" / f, rows=rows) for f in found]
        yield Known(runs=list(_readable(each, spoiled if rows else {}, tell, rows=rows)), index=index)
    finally:
        if index is not None:
            index.close()


def run_folders(output_dir: Path) -> list[str]:
    """Return the folders below runs/ that say they are whole runs, in path order."""
    runs = output_dir / "runs"
    found = (p.parent.relative_to(runs) for p in runs.glob(f"*/*/*/{DONE}"))
    return [p.as_posix() for p in sorted(found) if ".partial-" not in p.name]  # of a job that runs, or died


def _holding(index: Index | None, stamps: Mapping[str, Stamp]) -> dict[str, Entry]:
    """Return what the index says of folders that are as they were."""
    entries = {} if index is None else index.entries
    return {f: e for f, e in entries.items() if (now := stamps.get(f)) is not None and now.text == e.stamp}


def _renewed(
    output_dir: Path, index: Index | None, place: Path, stamps: Mapping[str, Stamp]
) -> tuple[Index | None, dict[Path, str]]:
    """Return an index that holds what is new as well, and why folders that were read for it cannot be."""
    from razor_cli.runs.indexing import settled, write
    from razor_cli.runs.typed import Typed

    spoiled: dict[Path, str] = {}
    new = [folder for folder in stamps if folder not in _holding(index, stamps)]

    def read() -> Iterator[tuple[str, Typed]]:
        for folder in new:
            is_settled, run = settled(stamps[folder]), Typed(output_dir / "runs" / folder)
            if why := _why(run, rows=True):
                spoiled[run.folder] = why
            elif is_settled and stamp(run.folder) == stamps[folder]:
                yield folder, run

    old = None if index is None else index.path
    if write(place, old, stamps, read()) and (found := opened(place)) is not None:
        if index is not None:
            index.close()
        return found, spoiled
    return index, spoiled


def _readable(runs: Iterable[Run], spoiled: Mapping[Path, str], tell: Tell, *, rows: bool) -> Iterator[Run]:
    """Yield the runs that can be read, and tell of the others."""
    for run in runs:
        if isinstance(run, Indexed) or not (why := spoiled.get(run.folder) or _why(run, rows=rows)):
            yield run
        else:
            tell(f"left out: {run.folder}: {why}")


def _run(folder: Path, *, rows: bool) -> Run:
    if not rows:
        return Run(folder)
    from razor_cli.runs.typed import Typed

    return Typed(folder)


def _why(run: Run, *, rows: bool) -> str:
    """Return why a run cannot be read, or nothing; with `rows` its cells must be of their columns' types."""
    if (why := why_unread(run, rows=rows)) or not rows:
        return why
    from razor_cli.runs.typed import Typed

    try:
        assert isinstance(run, Typed)
        _ = run.score_table, run.log_table
    except RazorError as error:
        return error.what
    except OSError as error:  # it was removed, or moved, meanwhile
        return f"it cannot be read: {error.strerror}"
    return ""


def find_run(output_dir: Path, name: str, tell: Tell = _untold) -> Run:
    """Return the run called `name`: a folder, the beginning of a run id, or `latest`. Its files are held
    against `DONE`, and read where they lie.

    Raises UserError when there is no such run, when it is not complete, or when the beginning fits several.
    `tell` is given a note on each folder that is left out.
    """
    if (folder := Path(name)).is_dir():
        run = Run(folder.resolve())
        if why := why_unread(run):
            raise UserError(f"'{name}' holds no complete run", found=why, fix=voucher.AGAIN)
        return run
    with known_runs(output_dir, tell) as known:
        runs = known.runs
        if not runs:
            raise no_runs(output_dir)
        if name == "latest":
            last = sorted(runs, key=_age, reverse=True)
            if (found := next(_sound(last, tell), None)) is None:
                raise no_runs(output_dir)
            return found
        fitting = list(_sound([r for r in runs if r.run_id.startswith(name.lower())], tell))
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(r.run_id for r in (fitting or runs)[:12])
    problem = "fits several runs" if fitting else f"is the beginning of no run id under '{output_dir}'"
    raise UserError(
        f"'{name}' {problem}", found=listed, fix="give a longer beginning, the run's folder, or latest"
    )


def no_runs(output_dir: Path) -> UserError:
    """Return the error of a results folder without a run."""
    return UserError(
        f"no complete run is recorded under '{output_dir}'",
        fix="run razor-run first, or give --output-dir",
    )


def _age(run: Run) -> tuple[str, str]:
    """Return what the latest run has most of."""
    finished = run.finished if isinstance(run, Indexed) else run.record.provenance.finished
    return finished, run.run_id


def _sound(runs: Iterable[Run], tell: Tell) -> Iterator[Run]:
    """Yield runs to be read where they lie; those of the index are held against `DONE` only now."""
    for run in runs:
        plain = Run(run.folder)
        if isinstance(run, Indexed) and (why := why_unread(plain)):
            tell(f"left out: {run.folder}: {why}")
        else:
            yield plain
