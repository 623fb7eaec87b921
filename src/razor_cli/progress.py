"""What a run says while it works: a live line in a terminal, one line per finished stage everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from razor_cli.escape import on_screen

Say = Callable[[str], None]


class Progress:
    """Prints stages as they end, with their seconds; inside a stage `say` updates the live line."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def stage(self, title: str) -> Iterator[Say]:
        """Run a stage; the function it yields takes a word on where it is."""
        started, title = time.perf_counter(), on_screen(title)  # it may hold a target's name
        with self.console.status(Text(title)) as status:
            yield lambda detail: status.update(Text(f"{title}: {on_screen(detail)}"))
        self.console.print(Text(title) + Text(f" {time.perf_counter() - started:.1f} s", style="dim"))
