"""Jobs that measure what they cost: a process of their own, nothing from the cache, runs of their own."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from razor_cli.config.check import check
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.settings import composed, deciding, resolved
from razor_cli.grid import jobs
from razor_cli.grid.points import Job


def job(number: int, *, fresh: bool) -> Job:
    asked: Any = SimpleNamespace(fresh=fresh)
    return Job(number=number, point={}, experiment=asked, command="")


def serve(pipe: Any, threads: int) -> None:
    """Stand for a worker: says which process it is."""
    while True:
        try:
            number, _ = pipe.recv()
        except EOFError:
            return
        pipe.send(jobs.Ended(number=number, seconds=float(threads), said=str(os.getpid())))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_measures_its_cost_shares_no_process(processes: int) -> None:
    order = [job(n, fresh=n in (3, 4)) for n in range(1, 7)]
    found = [at for at in jobs.spread(order, processes, print, serve) if isinstance(at, jobs.Ended)]
    where = {ended.number: ended.said for ended in found}
    assert sorted(where) == [1, 2, 3, 4, 5, 6]
    assert all(where[n] != where[other] for n in (3, 4) for other in where if other != n)
    if processes == 1:
        assert where[1] == where[2] and where[5] == where[6]


def test_a_fresh_run_is_one_of_its_own_and_other_runs_keep_their_names() -> None:
    plain, fresh = checked(read(["fresh=false"])), checked(read(["fresh=true"]))
    assert "fresh" not in resolved(plain) and resolved(fresh)["fresh"] is True
    assert {**deciding(resolved(plain)), "fresh": True} == deciding(resolved(fresh))
    from omegaconf import OmegaConf

    assert check(OmegaConf.create(composed(fresh))).fresh
    assert not check(OmegaConf.create(composed(plain))).fresh


def test_it_finds_nothing_in_the_cache(tmp_path: Any) -> None:
    from razor_cli.engine.compute import _lab

    family = SimpleNamespace(within=lambda _: None, device="cpu")
    for fresh in (False, True):
        asked = checked(read([f"output_dir={tmp_path}", f"fresh={fresh}"]))
        told: Any = SimpleNamespace(
            experiment=asked, family=family, sets=None, inputs=SimpleNamespace(code="")
        )
        assert (_lab(told).cache is None) == fresh


def test_memory_of_a_gpu_is_that_since_the_edit_began(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from razor_cli.engine.lab import device_peak

    said: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", said.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    with device_peak("cpu") as peak:
        assert peak() == 0.0 and not said
    with device_peak("cuda:0") as peak:
        assert peak() == 3.0 and said == ["cuda:0"]
