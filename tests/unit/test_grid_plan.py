"""What a grid will cost, told before it starts: estimates, missing weights, totals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from razor_cli.engine.estimate import COUNTED
from razor_cli.errors import ConfigError
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.grid.cost import counted
from razor_cli.grid.plan import Row, _refused, duration, totals
from razor_cli.grid.points import Asked, Refused, check_all


def test_estimate_grows_with_pictures_and_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("razor_cli.engine.estimate.operations_per_second", lambda _: 1e10)

    def seconds(method: str = "none", quantization: str = "none", model: str = "clip_tiny") -> float:
        block = {"scenario": ["object"], "method": [method], "quantization": [quantization], "model": [model]}
        (job,), _ = check_all(Asked(name="", blocks=[block], words=[]))
        found = counted(job)
        assert found.source == COUNTED and found.memory_mb > 500
        return found.seconds

    assert seconds() < seconds(method="slug") and seconds() < seconds(quantization="all")
    assert seconds(model="clip_vitb32") > 50 * seconds()


def test_each_edit_of_a_request_costs_and_a_sequence_looks_at_what_is_on_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("razor_cli.engine.estimate.operations_per_second", lambda _: 1e10)

    def seconds(target: str, **more: list[bool]) -> float:
        block = {"scenario": ["identity"], "method": ["slug"], "target": [target], "quantization": ["none"]}
        (job,), _ = check_all(Asked(name="", blocks=[block | more], words=[]))
        return counted(job).seconds

    one, both = "Taylor Swift", '["Taylor Swift", "Elon Musk"]'
    three = '["Taylor Swift", "Elon Musk", "Kanye West"]'
    alone, in_turn, apart = seconds(one), seconds(both, sequence=[True]), seconds(both, compose=[True])
    assert alone < in_turn < apart and in_turn < seconds(three, sequence=[True])


def test_weights_that_would_have_to_be_fetched_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    real: dict[str, Any] = {"stand_in": False, "library": Library.OPEN_CLIP, "architecture": "ViT-B-32"}
    assert "not on this machine" in ClipSpec(name="m", weights="laion2b_s34b_b79k", **real).missing()
    (tmp_path / "w.pt").touch()
    assert ClipSpec(name="m", weights=str(tmp_path / "w.pt"), **real).missing() == "" == ClipSpec().missing()


def test_totals_and_durations() -> None:
    rows = [Row(number=1, label="a", state="recorded"), Row(number=2, label="b", state="cannot: no data")]
    assert totals(rows) == ["2 jobs: 1 recorded, 1 cannot run"]
    assert [duration(s) for s in (12.4, 89, 91, 5400, 7200)] == ["12 s", "89 s", "2 min", "1.5 h", "2.0 h"]


def test_points_that_cannot_run_for_one_reason_stand_in_one_line() -> None:
    why = ConfigError("data.cifar_root is needed", fix="razor data prepare cifar10")
    points = [
        {"seed": 0, "scenario": "class", "data": "cifar10", "target": target, "method": method}
        for target in ("dog", "cat")
        for method in ("razor", "slug", "ga")
    ]
    refused = [Refused(number=i, point=p, error=why) for i, p in enumerate(points, 1)]
    other = Refused(number=7, point=points[0], error=ConfigError("another reason"))
    together, alone = _refused([*refused, other])
    assert together.label == "6 jobs · class · seed 0 · data=cifar10" and together.number == 1
    assert alone.label == "razor · class dog · seed 0 · data=cifar10"
    assert totals([together, alone])[0] == "7 jobs: 7 cannot run"
