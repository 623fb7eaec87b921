"""One whole run from the command line gives the frozen scores.csv: base, control and edit, at three widths.

The golden file is written anew by `python tests/golden/freeze.py scores`; the commit says why.
"""

from __future__ import annotations

import math

import frozen
import pytest

pytestmark = pytest.mark.timeout(300)

NUMBERS = ("value", "ci_low", "ci_high")
# Relative and absolute; a weight next to a rounding border falls on the other side with other kernels.
CLOSE = {
    "none": (1e-5, 1e-7),
    "int8": (1e-4, 1e-6),
    "int4": (1e-4, 1e-6),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Run once."""
    return frozen.scores(tmp_path_factory.mktemp("golden_run"))


def close(now: str, before: str, width: str) -> bool:
    relative, absolute = CLOSE[width]
    return now == before or (
        "" not in {now, before}
        and math.isclose(float(now), float(before), rel_tol=relative, abs_tol=absolute)
    )


def test_run_gives_the_frozen_scores(found: list[list[str]]) -> None:
    before = frozen.read_csv(frozen.SCORES)
    assert found[0] == before[0] and len(found) == len(before)
    different = []
    for now, then in (
        (dict(zip(before[0], row, strict=True)) for row in rows)
        for rows in zip(found[1:], before[1:], strict=True)
    ):
        if {k: v for k, v in now.items() if k not in NUMBERS} != {
            k: v for k, v in then.items() if k not in NUMBERS
        }:
            different.append((now, then))
        different += [
            (now, k, now[k], then[k]) for k in NUMBERS if not close(now[k], then[k], then["quantization"])
        ]
    assert different == []


def test_run_gives_the_frozen_scores_to_the_last_digit(found: list[list[str]]) -> None:
    if not frozen.same_machine(frozen.SCORES):
        pytest.skip("the last digits were frozen with another torch or on another processor")
    assert found == frozen.read_csv(frozen.SCORES)


def test_frozen_run_edits_and_quantizes() -> None:
    rows = frozen.read_csv(frozen.SCORES)
    columns = {k: rows[0].index(k) for k in ("state", "quantization", "metric", "variant", "value")}
    values = {tuple(row[columns[k]] for k in list(columns)[:4]): row[columns["value"]] for row in rows[1:]}
    assert {key[:2] for key in values} == {
        (s, q) for s in ("base", "control", "edit") for q in ("none", "int8", "int4")
    }
    for width in ("none", "int8", "int4"):
        assert (
            float(values["edit", width, "m2", "prompt"]) < float(values["base", width, "m2", "prompt"]) / 1.5
        )
