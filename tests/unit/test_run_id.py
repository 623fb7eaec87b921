"""What the id of a run depends on: every setting, the weights, the data, and the code that computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from razor_cli.runs.provenance import Inputs, canonical_json, run_id

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
INNER = st.recursive(
    SCALARS,
    lambda deeper: st.lists(deeper, max_size=2) | st.dictionaries(st.text(max_size=3), deeper, max_size=2),
    max_leaves=5,
)
NODES = st.dictionaries(st.text(max_size=4), INNER, max_size=4)


def turned(value: Any) -> Any:
    """Return the same value with every dict filled in the opposite order."""
    if isinstance(value, dict):
        return {k: turned(v) for k, v in reversed(value.items())}
    return [turned(v) for v in value] if isinstance(value, list) else value


def one_leaf_changed(value: Any, new: Any) -> Iterator[Any]:
    """Yield copies of a value, in each of which another leaf is `new`."""
    if isinstance(value, dict):
        for key, old in value.items():
            yield from ({**value, key: changed} for changed in one_leaf_changed(old, new))
    elif isinstance(value, list):
        for i, old in enumerate(value):
            yield from ([*value[:i], changed, *value[i + 1 :]] for changed in one_leaf_changed(old, new))
    elif canonical_json(value) != canonical_json(new):
        yield new


def name_of(node: dict[str, Any], weights: str = "w", code: str = "c", **data: str) -> str:
    return run_id(node, Inputs(weights=weights, data=data, code=code))


@settings(max_examples=40, deadline=None)
@given(NODES, SCALARS)
def test_id_ignores_order_and_notices_every_changed_value(node: dict[str, Any], new: Any) -> None:
    name = name_of(node, forget="1", retain="2")
    assert len(name) == 16 and set(name) <= set("0123456789abcdef")
    assert name == name_of(turned(node), retain="2", forget="1")
    assert name not in [name_of(c, forget="1", retain="2") for c in one_leaf_changed(node, new)]


def test_id_depends_on_weights_data_and_code() -> None:
    names = {
        name_of({"a": 1}, weights, code, forget=data)
        for weights, data, code in (("w", "d", "c"), ("x", "d", "c"), ("w", "e", "c"), ("w", "d", "d"))
    }
    assert len(names) == 4


def test_id_of_this_format_is_the_one_that_runs_were_recorded_under() -> None:
    """Another number here makes every recorded run out of date: raise the format with it."""
    assert name_of({"method": {"rho": 0.5}, "seed": 0}, forget="d") == "da2013a17b9f66c1"


@pytest.mark.parametrize(("value", "error"), [(float("nan"), ValueError), (object(), TypeError)])
def test_id_refuses_what_has_no_fixed_text(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        name_of({"a": value})
