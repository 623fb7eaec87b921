"""The edit of every preset is the frozen one, and so are the weights that all of them start from.

The golden files are written anew by `python tests/golden/freeze.py edits`; the commit says why.
"""

from __future__ import annotations

from typing import Any

import frozen
import presets
import pytest
import tiny_world
import torch

every_edit = pytest.mark.parametrize("name", sorted(frozen.frozen_edits()))
_computed: dict[str, dict[str, Any]] = {}


def computed(name: str) -> dict[str, Any]:
    """Return the record of the edit of the method `name`; computed once."""
    if name not in _computed:
        known = presets.preset_names()
        assert name in known, f"no preset is named {name} any more"
        _computed[name] = frozen.edit_record(known[name])
    return _computed[name]


@every_edit
def test_edit_is_the_frozen_one(name: str) -> None:
    before, now = frozen.frozen_edits()[name], computed(name)
    assert now["components"] == before["components"]
    assert [s[:2] for s in now["steps"]] == [s[:2] for s in before["steps"]]
    close = 1e-6 if frozen.same_machine(frozen.EDITS) else 1e-5
    assert [s[2] for s in now["steps"]] == [
        pytest.approx(s[2], rel=close) if s[2] is not None else None for s in before["steps"]
    ]
    assert now["cost"] == before["cost"]
    assert now["sketches"].keys() == before["sketches"].keys()
    far = {n: frozen.distance({n: s}, now["sketches"]) for n, s in before["sketches"].items()}
    assert {n: d for n, d in far.items() if d > frozen.tolerance(before)} == {}


@every_edit
def test_edit_is_the_frozen_one_to_the_bit(name: str) -> None:
    if not frozen.same_machine(frozen.EDITS):
        pytest.skip("the last bits were frozen with another torch or on another processor")
    before, now = frozen.frozen_edits()[name]["hashes"], computed(name)["hashes"]
    assert {n for n in before | now if before.get(n) != now.get(n)} == set()


def test_sketch_sees_a_small_change_in_every_tensor() -> None:
    for name, base in tiny_world.stored(torch.float32).items():
        assert frozen.sketch(name, base, base) == [0.0] * (frozen.DIRECTIONS + 1)
        norm, *parts = frozen.sketch(name, base + 1e-3 / base.numel() ** 0.5, base)
        assert norm == pytest.approx(1e-3, rel=0.25)  # of an attention's biases a third is left out
        assert max(map(abs, parts)) > 1e-6


def test_committed_weights_are_what_the_training_gives() -> None:
    taught, committed = tiny_world.teach(), tiny_world.taught_state()
    assert list(taught) == list(committed)
    for name, value in committed.items():
        assert value.dtype == taught[name].dtype
        found, kept = (frozen.settled(name, v) for v in (taught[name], value))
        assert torch.allclose(found, kept, rtol=0, atol=1e-4), name
