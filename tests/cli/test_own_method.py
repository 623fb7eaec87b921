"""A method outside the package, as docs/own-method.md prints it; and what `razor check` says of bad ones."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields, replace
from pathlib import Path

import pytest
from documented import ROOT
from documented import files as files_of
from tiny_world import make_clip, make_sets

from razor_cli.acceptance.method_contract import EvaluationReadError, _blind
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.edit import Event
from razor_cli.contract.method import GradientPlan
from razor_cli.data.sets import Suite
from razor_cli.engine.lab import Lab
from razor_cli.main import razor_command, run_command
from razor_cli.runs.folder import complete_runs

PAGE = ROOT / "docs/own-method.md"
OWN = ("--config-dir", "conf", "allow_code=ascent")
HEAD = '''from dataclasses import dataclass
from typing import ClassVar

import torch

from razor_cli.contract.edit import Edit
from razor_cli.contract.components import parameters
from razor_cli.engine.changes import Weights


@dataclass(frozen=True, kw_only=True)
class Bad:
    """Do what no method may."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stochastic: ClassVar[bool] = False

    name: str = "bad"

    def edit(self, lab):
'''
BAD = """
        len(lab.sets.evaluation.forget)
        live, family = parameters(lab.family), lab.family
        first, second, *_ = [c for c in family.tensors() if c.kind == "tensor"]
        live[first.name].add_(1.0)
        values = {second.name: torch.randn_like(live[second.name]).double()}
        return Edit(change=Weights(values=values), components=[first.name], cost=lab.cost)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give an empty folder with the files of the page in it, as the current one."""
    assert {f.relative_to(tmp_path).as_posix() for f in files_of(PAGE, tmp_path)} == {
        "ascent.py",
        "conf/method/ascent.yaml",
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "140")
    yield tmp_path
    for name in ("ascent", "bad"):
        sys.modules.pop(name, None)


def said(command: Callable[[list[str]], int], *words: str) -> tuple[int, str]:
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = command([*words])
    return code, out.getvalue()


def test_it_runs_and_forgets(home: Path) -> None:
    code, text = said(
        run_command, *OWN, "method=ascent", "experiment=tiny", "control=false", "data.n_suite=12"
    )
    assert code == 0 and 'forget "Taylor Swift" · ascent' in text
    (run,) = complete_runs(home / "outputs")
    m1 = {
        r.state: r.score.value
        for r in run.scores
        if (r.score.metric, r.score.variant) == ("m1", "dual/generic")
    }
    assert m1 == {"base": 100.0, "edit": 0.0}
    assert run.path("patch.safetensors").is_file() and run.events[0]["component"] == "text.0.mlp"
    (part,) = run.record.components
    assert part.relative_step and f"text mlp {100 * part.relative_step:.3g}" in " ".join(text.split())
    code, text = said(run_command, *OWN, "method=ascent", "method.trails=12")
    assert code == 2 and "did you mean method.trials" in text
    code, text = said(razor_command, "tables", "compare", "--format", "md")
    assert code == 0 and "\n| ascent |" in text


def test_the_page_names_every_choice_and_field() -> None:
    text = PAGE.read_text(encoding="utf-8")
    words = [*(f.name for of in (Event, GradientPlan) for f in fields(of)), *Granularity.__members__]
    assert [w for w in (*words, *Towers.__members__) if f"`{w}`" not in text] == []


def test_check_names_each_thing_that_does_not_hold(home: Path) -> None:
    (home / "bad.py").write_text(HEAD + BAD)
    (home / "conf/method/ascent.yaml").unlink()
    (home / "conf/method/bad.yaml").write_text("_target_: bad.Bad\nname: bad\n")
    code, text = said(razor_command, "check", "--config-dir", "conf", "allow_code=bad")
    assert code == 1
    rows = [line.split(maxsplit=1) for line in text.splitlines()]
    failed = {re.split(r"\s{2,}", row[1])[0] for row in rows if row[:1] == ["fail"]}
    assert failed == {
        "every setting says what it does",
        "looks at no evaluation example",
        "leaves the model as it was",
        "leaves the process as it was",
        "values are in the dtype of the file",
        "changes what it names and nothing else",
        "the same seed gives the same edit",
    }
    assert "fix: draw from lab.generator() alone" in text and "7 of 11 do not hold" in text


def test_all_that_proves_an_edit_is_out_of_sight_of_a_checked_method() -> None:
    sets = make_sets()
    suite = Suite(name="x", pairs=sets.evaluation.retain, labels=(), class_names=(), prompts=())
    whole = replace(sets, suites=(suite,), steps=(sets,))
    blind = _blind(Lab(family=make_clip(), sets=whole)).sets
    for held in (blind.evaluation, blind.suites, blind.steps[0].evaluation):
        with pytest.raises(EvaluationReadError):
            list(held)
    assert blind.retain is sets.retain and blind.steps[0].validation is sets.validation


def test_without_a_method_check_says_what_it_takes() -> None:
    code, text = said(razor_command, "check")
    assert code == 2 and "method=NAME, or --config-dir DIR" in text
    code, text = said(razor_command, "check", "--config-dir", "conf", "method=ascent")
    assert code == 2 and "allow_code=ascent, if you trust that code" in text


def test_check_refuses_words_that_it_has_no_use_for(home: Path) -> None:
    code, text = said(razor_command, "check", *OWN, "dry_run=true")
    assert code == 2 and "dry_run=true: not a setting of razor check" in text


def test_check_names_the_file_whose_class_is_not_there(home: Path) -> None:
    file = home / "conf/method/ascent.yaml"
    file.write_text(file.read_text().replace("ascent.Ascent", "ascent.Assent"))
    code, text = said(razor_command, "check", *OWN)
    assert code == 2 and "conf/method/ascent.yaml: method._target_: no frozen dataclass" in text
    assert "did you mean ascent.Ascent?" in text
