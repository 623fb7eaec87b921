"""What the id of a run depends on: every setting, the weights, the data, and the code that computes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from razor_cli.runs.provenance import canonical_json, code_version, run_id

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


@settings(max_examples=40, deadline=None)
@given(NODES, SCALARS)
def test_id_ignores_order_and_notices_every_changed_value(node: dict[str, Any], new: Any) -> None:
    name = run_id(node, "w", {"forget": "1", "retain": "2"}, "c")
    assert len(name) == 16 and set(name) <= set("0123456789abcdef")
    assert name == run_id(turned(node), "w", {"retain": "2", "forget": "1"}, "c")
    others = [
        run_id(changed, "w", {"forget": "1", "retain": "2"}, "c") for changed in one_leaf_changed(node, new)
    ]
    assert name not in others


def test_id_depends_on_weights_data_and_code() -> None:
    names = {
        run_id({"a": 1}, weights, {"forget": data}, code)
        for weights, data, code in (("w", "d", "c"), ("x", "d", "c"), ("w", "e", "c"), ("w", "d", "d"))
    }
    assert len(names) == 4


@pytest.mark.parametrize(("value", "error"), [(float("nan"), ValueError), (object(), TypeError)])
def test_id_refuses_what_has_no_fixed_text(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        run_id({"a": value}, "w", {}, "c")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "package"
    for name in (
        "losses.py",
        "engine/search.py",
        "data/icons.json",
        "commands/show.py",
        "tables/base.py",
        "report.py",
        "notes.md",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}")
    return root


@pytest.mark.parametrize("name", ["losses.py", "engine/search.py", "data/icons.json"])
def test_code_version_changes_with_a_computing_file(package: Path, name: str) -> None:
    before = code_version(package)
    assert before == code_version(package) and len(before) == 16
    text = (package / name).read_text()
    (package / name).write_text(text + " ")
    assert code_version(package) != before
    (package / name).write_text(text)
    assert code_version(package) == before
    (package / name).rename(package / name.replace(".", "_2."))
    assert code_version(package) != before


@pytest.mark.parametrize(
    "name",
    ["commands/show.py", "tables/base.py", "report.py", "notes.md", "conf/a.json", "__pycache__/a.pyc"],
)
def test_code_version_ignores_what_only_shows(package: Path, name: str) -> None:
    before = code_version(package)
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text("other")
    assert code_version(package) == before
