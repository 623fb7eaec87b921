"""What a refused run leaves: nothing. Some mistakes only an open model shows, when its place is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from razor_cli.errors import UserError
from razor_cli.stopping import Stopped


@contextmanager
def untouched_if_ended(output_dir: Path, scenario: str, method: str, run_id: str) -> Iterator[None]:
    """Remove the lock and the empty folders of a run that is refused or stopped, those that were not there
    before.
    """
    parent = Path(output_dir) / "runs" / scenario / method
    lock = parent / f".{run_id}.lock"
    fresh = [p for p in (lock, parent, *parent.parents) if not p.exists()]  # the deepest first
    try:
        yield
    except (UserError, KeyboardInterrupt, Stopped):
        for place in fresh:
            with suppress(OSError):  # not empty: another job works there
                place.unlink() if place == lock else place.rmdir()
        raise
