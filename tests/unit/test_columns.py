"""docs/columns.md names every column and field that the code writes, and no other."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

from razor_cli.families.llava import audit
from razor_cli.runs import records, rows
from razor_cli.runs.provenance import Provenance
from razor_cli.weights.survival import Survival

PAGE = (Path(__file__).parents[2] / "docs/columns.md").read_text(encoding="utf-8")
SECTIONS: dict[str, set[str]] = {
    "scores.csv": set(rows.SCORE_COLUMNS),
    "edit_log.csv": set(rows.EVENT_COLUMNS),
    "answers.parquet": set(audit.COLUMNS),
    "survival.csv": {f.name for f in fields(Survival)},
    "run.json": set(records.RunRecord.model_fields),
    "provenance": set(Provenance.model_fields),
    "cost": set(records.CostRecord.model_fields),
    "passes": set(records.PassRecord.model_fields),
    "memory": {*records.MemoryRecord.model_fields, *records.Fitted.model_fields},
    "verdict": set(records.Verdict.model_fields),
    "components": set(records.EditedComponent.model_fields),
}


def told(section: str) -> list[str]:
    """Return the names in the first column of a section's table."""
    (text,) = re.findall(rf"^##+ {re.escape(section)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


@pytest.mark.parametrize("section", SECTIONS)
def test_page_names_what_the_code_writes(section: str) -> None:
    names = told(section)
    assert len(names) == len(set(names))
    assert sorted(SECTIONS[section] - set(names)) == [], f"docs/columns.md, {section}: these are missing"
    assert sorted(set(names) - SECTIONS[section]) == [], f"docs/columns.md, {section}: nothing writes these"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_column_has_a_meaning(section: str) -> None:
    (text,) = re.findall(rf"^##+ {re.escape(section)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    cells = [row.strip("|").split("|") for row in re.findall(r"^\| `.*$", text, re.MULTILINE)]
    assert cells and all(len(row) == 4 and row[3].strip() for row in cells)


def test_every_part_of_a_record_has_a_section() -> None:
    parts = [str(f.annotation) for f in records.RunRecord.model_fields.values()]
    nested = {c.__name__ for c in vars(records).values() if isinstance(c, type) and issubclass(c, BaseModel)}
    named = {word for text in parts for word in re.findall(r"\w+", text)} & nested
    assert named == {"Provenance", "CostRecord", "MemoryRecord", "Verdict", "EditedComponent"}
