"""What is recorded of settings: their part of the run id, names of classes, values as they are read."""

import copy
import dataclasses
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from razor_cli.config.check import check
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.conf_files import GROUPS, conf_dir, targets
from razor_cli.config.schema import INVALID, class_id, convert, locate, plain
from razor_cli.config.settings import PLACES, Engine, Experiment, composed, deciding, resolved
from razor_cli.data.kinds.own import Folder
from razor_cli.runs.provenance import canonical_json

KNOBS = [
    "method.rho=0.3",
    "seed=4",
    "data.n_forget=33",
    "target=Elon Musk",
    "engine=plain",
    "quantization=none",
    "data.aliases=[a,b]",
]


def experiment(*overrides: str) -> Experiment:
    return checked(read(overrides))


def digest(made: Experiment) -> str:
    return canonical_json(deciding(resolved(made)))


@pytest.fixture(scope="module")
def default() -> Experiment:
    return experiment()


@pytest.fixture(scope="module")
def in_order() -> str:
    return digest(experiment(*KNOBS))


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(KNOBS))
def test_order_of_overrides_does_not_change_the_digest(in_order: str, order: list[str]) -> None:
    assert digest(experiment(*order)) == in_order


def changed(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, Enum):
        return next((m for m in type(value) if m is not value), value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, (str, Path)):
        return type(value)(f"{value}x")
    if isinstance(value, dict):
        return {} if value else {"x": "x"}
    return type(value)([*value, "x"]) if isinstance(value, (list, tuple)) else "x"


def with_changed(made: Experiment, path: tuple[str, ...]) -> Experiment:
    """Return a copy with one field changed, past all checks."""
    made = copy.deepcopy(made)
    owner = made if len(path) == 1 else getattr(made, path[0])
    object.__setattr__(owner, path[-1], changed(getattr(owner, path[-1])))
    return made


def test_any_changed_value_changes_the_digest_and_what_changes_no_number_does_not(
    default: Experiment,
) -> None:
    parts = [
        f.name for f in dataclasses.fields(default) if dataclasses.is_dataclass(getattr(default, f.name))
    ]
    paths = [(f.name,) for f in dataclasses.fields(default) if f.name not in parts]
    paths += [(part, f.name) for part in parts for f in dataclasses.fields(getattr(default, part))]
    assert len(paths) > 80
    same = {".".join(p) for p in paths if digest(with_changed(default, p)) == digest(default)}
    assert same == {
        "allow_code",
        "output_dir",
        "force",
        "exit_on",
        "debug",
        "threads",
        "cache_gb",
        "memory",
        "fail_fast",
        "grid",
        "dry_run",
        "jobs",
        "overrides",
        "scenario.acceptance",  # judges numbers and changes none
    }


def test_methods_with_equal_fields_have_different_digests(default: Experiment) -> None:
    other = dataclasses.replace(default, quantization=experiment("quantization=none").quantization)
    assert digest(other) != digest(default)
    assert resolved(default)["method"]["_target_"] == "Razor"


@dataclasses.dataclass(frozen=True)
class Outsider:
    value: int = 1


def test_a_class_is_named_without_its_module_and_one_from_outside_with_its_package() -> None:
    assert class_id(Folder) == "Folder" and class_id(Outsider) == "test_settings_recorded.Outsider"
    assert plain([Outsider()]) == [{"_target_": "test_settings_recorded.Outsider", "value": 1}]


@pytest.mark.parametrize("group", GROUPS)
def test_no_two_classes_of_a_group_have_one_name(group: str) -> None:
    """Their runs could not be told apart."""
    classes = {locate(target, PLACES[group], group) for target in targets([conf_dir()], group)}
    assert classes and len({class_id(cls) for cls in classes}) == len(classes)


def test_what_was_set_stands_beside_the_settings(tmp_path: Path) -> None:
    made = experiment("method=slug", "method.towers=vision", "data.n_forget=20", f"output_dir={tmp_path}")
    assert made.overrides == {"method": "slug", "method.towers": "vision", "data.n_forget": 20}


def test_composed_is_plain_and_reads_back_as_the_same_experiment(default: Experiment) -> None:
    again = check({**composed(default), "output_dir": "outputs"})
    assert again == default


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, float, 1.0),
        (True, float, INVALID),
        (True, int, INVALID),
        (1.0, int, INVALID),
        ("a", float | str, "a"),
        (2, float | str, 2.0),
        (None, int | None, None),
        ("fast", Engine, Engine.FAST),
        ("FAST", Engine, INVALID),
        (["a"], list[str], ["a"]),
        ([1], list[str], INVALID),
        ("~", Path, Path.home()),
        ("", Path, INVALID),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        (3, str, INVALID),
        (float("nan"), float, INVALID),
    ],
)
def test_conversion(value: object, kind: Any, expected: object) -> None:
    problems: list[Any] = []
    converted = convert(value, kind, "key", problems)
    assert converted is expected or (converted == expected and type(converted) is type(expected))
    assert bool(problems) == (expected is INVALID)
