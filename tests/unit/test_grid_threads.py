"""How many threads each process of a grid gets."""

from __future__ import annotations

import os

import pytest

from razor_cli.grid.jobs import threads_each


@pytest.mark.parametrize(
    ("told", "processes", "threads"),
    [
        (None, 1, 8),
        (None, 3, 2),
        (None, 16, 1),
        ("2", 1, 2),
        ("16", 2, 4),
        ("0", 2, 1),
        ("1", 2, 1),
        ("4,2", 2, 4),
    ],
)
def test_processes_share_the_cores_and_follow_what_is_told(
    told: str | None, processes: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert threads_each(processes) == threads
