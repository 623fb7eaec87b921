"""Every question of an evaluation with its answer, in one file, so that no number has to be believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from razor_cli.atomic import staged
from razor_cli.contract.place import Key
from razor_cli.families.llava.answers import Answers

COLUMNS = (
    "state",
    "quantization",
    "part",
    "picture",
    "category",
    "level",
    "question",
    "right_answer",
    "answer",
    "parsed",
    "right",
)


def rows_of(found: Mapping[Key, Answers]) -> Iterator[tuple[object, ...]]:
    """Yield one row for each question that was asked in each state, in the order of COLUMNS."""
    for (state, scheme), answers in found.items():
        for who, told in answers.told.items():
            for t in told:
                about = (t.picture, t.name, t.miss, t.question, t.name)
                yield state, scheme, f"names of {who}", *about, t.answer, t.name if t.hit else "", t.hit
        for part, records in answers.records.items():
            for r in records:
                about = (r.picture, r.category, r.level, r.question, r.right_answer)
                yield state, scheme, part, *about, r.answer, r.parsed, r.right


def write_answers(path: Path, found: Mapping[Key, Answers]) -> None:
    """Write all answers as parquet, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict(zip(COLUMNS, zip(*rows_of(found), strict=True), strict=True))
    with staged(path) as part:
        pq.write_table(pa.table({n: list(c) for n, c in columns.items()}), part, compression="zstd")
        part.replace(path)
