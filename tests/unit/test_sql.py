"""SQL over recorded runs reads tables in memory, and nothing else: no file, setting, log or catalogue."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from razor_cli.errors import UserError
from razor_cli.runs.sql import ask

TABLES = {
    "runs": pd.DataFrame({"target": ["Ada", "Bo"], "seed": [0, 1]}),
    "scores": pd.DataFrame(
        {"metric": ["m1", "m1", "m5"], "state": ["base", "edit", "edit"], "value": [97.0, 4.5, 98.0]}
    ),
}


@pytest.mark.parametrize(
    "sql",
    [
        "explain select 1",
        "explain analyze select count(*) from runs",
        "explain (format json) from runs",
        "select histogram(value), random() from scores",
        "from range(3)",
        "select 'write_log(', 'pg_settings' from runs",
        "pivot scores on state using avg(value) group by metric",
        "from (pivot scores on state using avg(value) group by metric)",
        "with p as (pivot scores on state using avg(value)) select * from p",
        "select * from (pivot scores on state in ('base', 'edit') using avg(value))",
    ],
)
def test_whatever_reads_is_answered(sql: str) -> None:
    assert ask(TABLES, sql)[1]


def test_pivot_makes_a_column_of_every_value() -> None:
    columns, rows = ask(TABLES, "pivot scores on state using avg(value) group by metric order by metric")
    assert columns == ["metric", "base", "edit"] and rows == [("m1", 97.0, 4.5), ("m5", None, 98.0)]


@pytest.mark.parametrize(
    "sql",
    [
        "with x as (delete from runs returning *) select * from x",
        "with x as (insert into runs select * from runs returning *) select * from x",
        "explain analyze create table x as select 1",
        "explain analyze insert into runs select * from runs",
        "explain analyze delete from runs",
        "explain analyze create temp table x as select 1",
        "explain (analyze) create table x as select 1",
        "explain analyze copy scores to '{folder}/x.csv'",
        "explain /* select */ analyze -- select\n create table x as select 1",
        "pivot scores on state using avg(write_log('x'))",
        "pivot scores on state using avg(value); drop table runs",
        "alter table runs add column a int",
        "select write_log('x')",
        "select main.\"WRITE_LOG\" ('x')",
        "select 'x'.write_log/* */('x')",
        "select current_setting('temp_directory')",
        "select getenv('HOME')",
        "select getvariable('x')",
        "select nextval('x')",
        "select sleep_ms(1)",
        "select * from query('select 1')",
        "select * from query_table('runs')",
        "select * from duckdb_settings()",
        "select * from duckdb_logs",
        "select * from pg_catalog.pg_settings",
        "select * from information_schema.tables",
        "select * from sqlite_master",
        "select * from pragma_database_list",
        "select * from which_secret('a', 's3')",
        "select * from json_execute_serialized_sql('1')",
        "select * from sniff_csv('{folder}/secret.csv')",
        "select * from read_json('{folder}/secret.csv')",
        "select * from parquet_scan('{folder}/secret.csv')",
        "from read_blob('{folder}/secret.csv')",
        "from '{folder}/secret.csv'",
        "create macro f(a) as a",
        "create view v as select 1",
        "import database '{folder}'",
        "prepare p as select 1",
        "execute p",
        "begin",
        "commit",
        "use memory",
        "reset threads",
        "set temp_directory = '{folder}'",
        "pragma temp_directory = '{folder}'",
        "checkpoint",
        "vacuum",
        "call enable_logging()",
        "detach memory",
        "comment on table runs is 'x'",
        "select \ud800",
        "select '" + "x" * 200_000 + "'",
    ],
)
def test_whatever_acts_or_reads_something_else_is_refused(
    sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.csv").write_text("a,b\n1,sesame\n")
    with pytest.raises(UserError) as error:
        ask(TABLES, sql.format(folder=tmp_path))
    assert "sesame" not in str(error.value) and [p.name for p in tmp_path.iterdir()] == ["secret.csv"]


def test_nothing_is_written_where_a_query_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sql = "select count(*) from (select a.i from range(200000) a(i) order by hash(i))"
    assert ask(TABLES, sql)[1] == [(200_000,)] and list(tmp_path.iterdir()) == []
