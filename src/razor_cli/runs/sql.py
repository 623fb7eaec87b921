"""SQL that only reads: tables in memory, a transaction that writes nothing, and no way to files, settings,
logs or the database's own catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import duckdb

from razor_cli.errors import UserError, nearest
from razor_cli.runs.index import HIDDEN

READING = ("SELECT", "MULTI")  # the second is what a pivot becomes whose values are not named
PIVOTS = ("PIVOT", "PIVOT_WIDER")
STARTS = ("SELECT", "WITH", "FROM", "VALUES", "TABLE", "UNPIVOT", "(", *PIVOTS)  # of what may be explained
# What a query may take rows from beside the views, and what may give another answer each time.
TABLE_FUNCTIONS = ("generate_series", "histogram", "json_each", "json_tree", "range", "repeat", "unnest")
CHANCE = ("gen_random_uuid", "random", "setseed", "uuid", "uuidv4", "uuidv7")
ASKING = ("current_setting", "getenv", "getvariable", "query", "query_table")
CATALOGUE = re.compile(rf"(duckdb|pg|pragma|sqlite)_|information_schema$|{HIDDEN}")
LONGEST = 100_000  # characters
Answer = tuple[list[str], list[tuple[Any, ...]]]


def ask(tables: Mapping[str, Any], sql: str, database: duckdb.DuckDBPyConnection | None = None) -> Answer:
    """Return the column names and rows of one select over tables: frames of pandas, tables of Arrow, or
    selects over those before them and over what is attached to the `database`, which stays open. No query
    may name what has a name that begins with HIDDEN.

    Raises UserError for anything but one reading statement, and for SQL that does not parse or run.
    """
    with nullcontext(database) if database else duckdb.connect(":memory:") as connection:
        for name, frame in tables.items():
            if isinstance(frame, str):
                connection.execute(f"create view {name} as {frame}")
                continue
            connection.register(f"{name}_frame", frame)
            connection.execute(f"create table {name} as select * from {name}_frame")
            connection.unregister(f"{name}_frame")
        columns = {name: _columns(connection, name) for name in tables if not name.startswith(HIDDEN)}
        forbidden = _forbidden(connection)
        connection.execute("set temp_directory = ''")  # what does not fit into memory goes into no file
        connection.execute("set enable_external_access = false")  # no files, no network, no extensions
        connection.execute("set lock_configuration = true")
        try:
            _only_reads(connection, sql, forbidden)
            connection.execute("begin transaction read only")
            result = connection.execute(sql)
            return [d[0] for d in result.description or []], result.fetchall()
        except (duckdb.Error, ValueError, OverflowError, MemoryError) as error:  # dates before year 1, halves
            raise _refused(error, columns) from error  # of a character: what Python cannot hold


def _columns(connection: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    return [c[0] for c in connection.execute(f"select * from {name} limit 0").description or []]


def _forbidden(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the functions that read something else than the tables, or do more than compute a value."""
    tables = "function_type in ('table', 'table_macro', 'pragma')"
    acting = "function_type = 'scalar' and stability = 'VOLATILE'"
    found = connection.execute(
        f"select distinct lower(function_name) from duckdb_functions() where {tables} or ({acting})"
    ).fetchall()
    return frozenset({name for (name,) in found} - {*TABLE_FUNCTIONS, *CHANCE} | {*ASKING})


def _only_reads(connection: duckdb.DuckDBPyConnection, sql: str, forbidden: Collection[str]) -> None:
    if len(sql) > LONGEST:
        raise UserError("the query is too long", allowed=f"{LONGEST} characters", found=f"{len(sql)}")
    tokens = list(_tokens(sql))
    kinds = [str(s.type).rsplit(".", maxsplit=1)[-1] for s in connection.extract_statements(sql)]
    if kinds == ["EXPLAIN"] or (kinds == ["MULTI"] and tokens[0].upper() == "EXPLAIN"):
        kinds = [_explained(tokens)]
    several = kinds == ["MULTI"] and not {t.upper() for t in tokens} & {*PIVOTS}
    if len(kinds) != 1 or kinds[0] not in READING or several:
        raise UserError(
            "razor query answers one reading statement",
            allowed="select, with, pivot, describe, explain",
            found=", ".join(kinds) or "nothing",
        )
    for word, following in pairwise([*(t.lower() for t in tokens), ""]):
        name = word.strip('"')
        if (following.startswith("(") and name in forbidden) or CATALOGUE.match(name):
            raise UserError(
                f"razor query reads recorded runs, and '{name}' reads or does something else",
                allowed="tables scores, runs, edit_log, and functions of their values",
                found=name,
            )


def _explained(tokens: Sequence[str]) -> str:
    """Return SELECT for an EXPLAIN of something that reads, or else the word that it begins with."""
    words = [t.upper() for t in tokens[1:]]
    while words and words[0] in ("ANALYZE", "ANALYSE", "VERBOSE"):
        words.pop(0)
    if words[:1] == ["("] and words[1:2] and words[1] in ("FORMAT", "ANALYZE", "ANALYSE", "VERBOSE"):
        words = words[words.index(")") + 1 :] if ")" in words else []
    return "SELECT" if words and words[0] in STARTS else f"EXPLAIN {words[0] if words else ''}".strip()


def _tokens(sql: str) -> Iterator[str]:
    """Yield the words and signs of a query, without comments."""
    raw = sql.encode()  # positions are those of bytes
    found = duckdb.tokenize(sql)
    for i, (start, kind) in enumerate(found):
        end = found[i + 1][0] if i + 1 < len(found) else len(raw)
        text = raw[start:end].decode(errors="replace").strip()
        if kind != duckdb.token_type.comment and text:
            yield text


def _refused(error: Exception, tables: Mapping[str, Sequence[str]]) -> UserError:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    names = [*tables, *(c for f in tables.values() for c in f)]
    asked = re.search(r'column "([^"]+)"|name ([^ !]+)', lines[0])
    near = nearest(asked[1] or asked[2], names, 1) if asked else []
    columns = "; ".join(f"{name}({', '.join(own)})" for name, own in tables.items())
    return UserError(
        f"the query cannot be answered: {lines[0]}",
        allowed=columns,
        fix=f"did you mean {near[0]}?" if near else None,
    )
