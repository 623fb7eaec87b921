"""`razor query`: what it answers, what it refuses, and that names come through unharmed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from fake_runs import as_format_1, fake_run, percent

from razor_cli.contract.place import Place
from razor_cli.errors import UserError
from razor_cli.runs.archive import answer, render
from razor_cli.runs.folder import open_run
from razor_cli.runs.records import Identity

NAMES = ["Conan O'Brien", 'the "King"', "Beyoncé", "王小明", "a, b | c", "None", "NA", "007", "true"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    for i, name in enumerate(NAMES):
        fake_run(folder, target=name, seed=i, quantizations=("none",), offset=i / 4)
    fake_run(
        folder,
        target="Ada",
        method="slug",
        model="clip_vitb32",
        stand_in=False,
        quantizations=("none", "int8"),
    )
    return folder


def one(outputs: Path, sql: str) -> object:
    ((value,),) = answer(outputs, sql)[1]
    return value


# Views


def test_runs_has_a_row_per_run(outputs: Path) -> None:
    columns, rows = answer(
        outputs, "select target, method, stand_in, verdict, seed, components from runs order by seed, method"
    )
    assert columns == ["target", "method", "stand_in", "verdict", "seed", "components"]
    assert rows[0] == (NAMES[0], "razor", True, "ACCEPTED", 0, "visual.3.head2")
    assert rows[1] == ("Ada", "slug", False, "ACCEPTED", 0, "visual.3.head2") and len(rows) == len(NAMES) + 1
    assert one(outputs, "select settings->>'$.method.share' from runs where target = 'Ada'") == "0.1"


def test_scores_are_those_of_the_files(outputs: Path) -> None:
    sql = (
        "select value from scores where metric = 'm1' and variant = 'dual/generic' and state = 'edit' "
        "and target = 'Ada'"
    )
    assert sorted(v for (v,) in answer(outputs, sql)[1]) == [5.5, 5.75]
    assert one(outputs, "select count(distinct run_id) from scores") == len(NAMES) + 1
    assert one(outputs, "select typeof(value) from scores limit 1") == "DOUBLE"


def test_missing_value_is_null_with_a_reason_and_an_empty_reason_is_text(outputs: Path) -> None:
    sql = "select distinct metric, state, reason, ci_low from scores where value is null"
    assert answer(outputs, sql)[1] == [
        ("m3", "base", "not computed: there is no drift without an edit", None)
    ]
    assert one(outputs, "select count(*) from scores where reason is null") == 0
    assert one(outputs, "select count(*) from scores where isnan(value)") == 0


def test_edit_log_has_a_row_per_step_with_metrics_before_and_after(outputs: Path) -> None:
    _, rows = answer(
        outputs,
        "select action, component, before_m1, after_m1, note from edit_log join runs using (run_id) "
        "where target = 'Ada' order by step",
    )
    assert rows[0][:4] == ("select", "visual.3.head2", None, None)
    assert rows[1][:4] == ("apply", "visual.3.head2", 96.5, 4.5)
    assert rows[2][1] == "text.0.mlp" and rows[2][4] == 'utility, "too low"'


def test_incomplete_runs_are_left_out(tmp_path: Path) -> None:
    fake_run(tmp_path)
    bad = fake_run(tmp_path, seed=1)
    (bad.folder / "scores.csv").write_bytes((bad.folder / "scores.csv").read_bytes()[:-9])
    assert one(tmp_path, "select count(*) from runs") == 1


@pytest.mark.parametrize(
    "sql",
    [
        "describe scores",
        "summarize scores",
        "with x as (select 1 as a) select a from x",
        "from runs",
    ],
)
def test_other_ways_of_reading_are_answered(outputs: Path, sql: str) -> None:
    assert answer(outputs, sql)[1]


def test_keys_of_a_sweep_are_columns_filled_from_the_settings_of_every_run(tmp_path: Path) -> None:
    for rho in (0.25, 0.5):
        more = {"quantization": {"schemes": ["none"]}}
        words = {"method.share": rho, "quantization": "none", "target": "Ada", "method.towers": ["a"]}
        fake_run(tmp_path, target="Ada", flips={"share": rho}, more=more, overrides=words)
    as_format_1(fake_run(tmp_path, target="Bo"))  # set nothing, and has a value all the same
    sql = 'select format, target, "method.share", quantization, "method.towers" from runs order by 1, 3'
    assert answer(tmp_path, sql)[1] == [
        (1, "Bo", 0.1, None, None),
        (3, "Ada", 0.25, "none", '["a"]'),
        (3, "Ada", 0.5, "none", '["a"]'),
    ]
    assert one(tmp_path, 'select typeof("method.share") from runs limit 1') == "DOUBLE"


def test_attack_and_step_are_columns_also_beside_scores_of_format_1(tmp_path: Path) -> None:
    attacked = [percent("m1", "dual/generic", "down", 50.0)]
    run = fake_run(tmp_path, quantizations=("none",), control=False)
    as_format_1(fake_run(tmp_path, seed=1, quantizations=("none",), control=False))
    identity = Identity.model_validate(run.record.model_dump(include=set(Identity.model_fields)))
    other = {("base", "none"): attacked, Place("edit", "none", "relearn", 50): attacked}
    with open_run(tmp_path, "identity", "razor", "0123456789abcdef") as fresh:
        fresh.write_scores(identity.model_copy(update={"run_id": fresh.run_id}), other)
        fresh.write_log([])
        fresh.finish(run.record.model_copy(update={"run_id": fresh.run_id}))
    sql = "select attack, step, typeof(step), count(*) from scores group by all order by 2 nulls first"
    (plain, relearned) = answer(tmp_path, sql)[1]
    assert plain[:3] == ("", None, "BIGINT") and relearned == ("relearn", 50, "BIGINT", 1)


# Refusals


@pytest.mark.parametrize(
    "sql",
    [
        "drop table scores",
        "delete from runs",
        "insert into runs select * from runs",
        "update scores set value = 0",
        "create table x as select 1",
        "attach '{folder}/x.db' as x",
        "copy scores to '{folder}/x.csv'",
        "copy scores from '{folder}/secret.csv'",
        "export database '{folder}/x'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "pragma enable_profiling",
        "call pragma_version()",
        "select 1; select 2",
        "select 1; drop table scores",
        "select * from read_csv('{folder}/secret.csv')",
        "select * from read_text('{folder}/secret.csv')",
        "select * from glob('{folder}/*')",
        "select * from '{folder}/secret.csv'",
        "select * from frames",  # a variable of the program is no table
        "select * from frame",
        "select * from scores_frame",
        "selct 1",
        "",
        "   ;",
    ],
)
def test_everything_but_one_reading_statement_is_refused_and_changes_nothing(
    outputs: Path, tmp_path: Path, sql: str
) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n1,sesame\n")
    with pytest.raises(UserError) as error:
        answer(outputs, sql.format(folder=tmp_path))
    assert "sesame" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["secret.csv"]
    assert one(outputs, "select count(*) from runs") == len(NAMES) + 1


def test_no_runs_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no complete run is recorded") as error:
        answer(tmp_path / "nowhere", "select 1")
    assert "razor-run" in str(error.value)


@pytest.mark.parametrize(
    ("sql", "near"),
    [
        ("select valeu from scores", "value"),
        pytest.param("select targt from runs", "target"),
        pytest.param("select * from score", "scores"),
        pytest.param("select before_m2 from edit_log", "before_m1"),
    ],
)
def test_wrong_name_suggests_the_nearest_and_lists_the_columns(outputs: Path, sql: str, near: str) -> None:
    with pytest.raises(UserError) as error:
        answer(outputs, sql)
    assert error.value.fix == f"did you mean {near}?"
    assert "scores(run_id, model," in str(error.value.allowed) and "edit_log(run_id, step," in str(
        error.value.allowed
    )


# Forms


@pytest.fixture(scope="module")
def named(outputs: Path) -> tuple[list[str], list[tuple[object, ...]]]:
    return answer(
        outputs, "select target, seed, null as nothing from runs where method = 'razor' order by seed"
    )


def test_names_survive_the_query(named: tuple[list[str], list[tuple[object, ...]]]) -> None:
    assert [row[0] for row in named[1]] == NAMES


def test_csv(named: tuple[list[str], list[tuple[object, ...]]]) -> None:
    rows = list(csv.reader(io.StringIO(render(*named, "csv"), newline="")))
    assert rows == [["target", "seed", "nothing"], *([name, str(i), ""] for i, name in enumerate(NAMES))]


def test_json(named: tuple[list[str], list[tuple[object, ...]]]) -> None:
    text = render(*named, "json")
    assert json.loads(text) == [{"target": name, "seed": i, "nothing": None} for i, name in enumerate(NAMES)]
    assert "王小明" in text and text.endswith("]\n")


def test_json_has_null_where_there_is_no_finite_number_and_every_column(outputs: Path) -> None:
    sql = "select avg(n) / 0 z, [1 / 0, 0.5] l, {'a': 'nan'::double} s, 1 a, 2 a from scores"
    text = render(*answer(outputs, sql), "json")
    (row,) = json.loads(text, parse_constant=pytest.fail)
    assert row["z"] is None and row["l"] == [None, 0.5] and row["s"] == {"a": None}
    assert [v for k, v in row.items() if k.startswith("a")] == [1, 2]


def test_markdown(named: tuple[list[str], list[tuple[object, ...]]]) -> None:
    lines = render(*named, "markdown").splitlines()
    assert lines[:2] == ["| target | seed | nothing |", "| --- | --- | --- |"]
    assert lines[2:] == [f"| {name.replace('|', chr(92) + '|')} | {i} |  |" for i, name in enumerate(NAMES)]
