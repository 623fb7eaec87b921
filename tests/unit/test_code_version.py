"""Which changes of the code make recorded runs out of date: seen on a copy of the real package."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from razor_cli.methods.razor import Razor
from razor_cli.methods.salun_tan import SalunTan
from razor_cli.runs import code
from razor_cli.runs.code import CHOSEN, NOT_COMPUTING, PACKAGE, code_version, version_in

# Every room of the house, by what a change in it does. A new one belongs into one of these, with a reason.
COMPUTING = {
    "atomic.py",
    "bench.py",
    "config",
    "contract",
    "data",
    "dual",
    "engine",
    "errors.py",
    "metrics",
    "run.py",
    "runs",
    "weights",
}
SHOWING = {
    "__init__.py",
    "acceptance",
    "alone.py",
    "api.py",
    "caches.py",
    "commands",
    "conf",  # only inside a wheel
    "escape.py",
    "figure.py",
    "grid",
    "launch.py",
    "main.py",
    "plain_yaml.py",  # what it reads stands in the settings
    "printing.py",
    "progress.py",
    "report",
    "screen.py",
    "stopping.py",
    "streams.py",
    "studies",
    "sweep.py",
    "tables",
    "writable.py",
}
OWN_METHOD = """
from dataclasses import dataclass
from razor_cli.methods.salun import Salun

@dataclass(frozen=True, kw_only=True)
class Mine(Salun):
    pass
"""

Changed = Callable[[str, Callable[[str], str]], bool]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the real package; what is remembered of its files stays in this test."""
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.gz")
    return Path(shutil.copytree(PACKAGE, tmp_path / "razor_cli", ignore=ignored))


def appended(text: str) -> str:
    return text + "\nMORE = 1\n"


def said_otherwise(text: str) -> str:
    """Return a source with comments, blank lines, another docstring, and a bare string at its end."""
    rest = text.split('"""', 2)[2].replace("\n\n\n", "\n\n\n\n# another comment\n")
    return f'"""Other words."""{rest}\n# the end\n"a bare string"\n'


def changes(package: Path, name: str, edit: Callable[[str], str], method: type = Razor) -> bool:
    """Tell whether editing a file gives another version, and that undoing it gives the former one again."""
    path, before = package / name, version_in(package, "clip", [method])
    text = path.read_text(encoding="utf-8")
    assert edit(text) != text
    path.write_text(edit(text), encoding="utf-8")
    after = version_in(package, "clip", [method])
    path.write_text(text, encoding="utf-8")
    assert version_in(package, "clip", [method]) == before and len(before) == 16
    return after != before


def test_the_version_is_that_of_the_package_that_runs() -> None:
    assert code_version("clip", Razor) == version_in(PACKAGE, "clip", [Razor])
    assert code_version("clip", Razor) != code_version("clip", SalunTan) != code_version("clip")


def test_it_changes_with_shared_code_the_family_and_the_method(package: Path) -> None:
    names = ["engine/search.py", "dual/losses.py", "families/clip/scoring.py", "methods/razor.py", "run.py"]
    assert [n for n in names if not changes(package, n, appended)] == []


def test_it_changes_with_what_the_method_imports_late_and_with_the_control(package: Path) -> None:
    for name in (
        "methods/razor_loop.py",
        "methods/razor_body.py",
        "engine/changes.py",
    ):  # the last: its control
        assert changes(package, name, appended), name
    assert changes(package, "methods/salun_tan_tutor.py", appended, SalunTan)
    assert changes(package, "methods/tracing_lesson.py", appended, SalunTan)  # through its tutor


def test_it_changes_with_data_that_ships_and_with_a_file_that_comes_or_goes(package: Path) -> None:
    assert changes(package, "data/concepts/taxonomies.json", lambda text: text + " ")
    before = version_in(package, "clip", [Razor])
    (package / "engine/more.py").write_text("")
    assert version_in(package, "clip", [Razor]) != before


def test_it_does_not_change_with_another_method_another_family_or_what_shows(package: Path) -> None:
    names = ("methods/slug.py", "methods/salun.py", "report/terminal.py", "grid/cost.py", "tables/table3.py")
    names += ("commands/show.py", "studies/levels.py", "main.py", "launch.py", "config/compose.py")
    assert [n for n in names if changes(package, n, appended)] == []
    before = version_in(package, "clip", [Razor])
    (package / "families/toy").mkdir()
    (package / "families/toy/load.py").write_text("from razor_cli.families.clip import text\n")
    (package / "engine/notes.md").write_text("notes")
    assert version_in(package, "clip", [Razor]) == before
    toy = version_in(package, "toy", [Razor])
    (package / "families/clip/oracle.py").write_text("")
    assert version_in(package, "clip", [Razor]) != before and version_in(package, "toy", [Razor]) == toy
    (package / "families/clip/text.py").write_text("")
    assert version_in(package, "toy", [Razor]) != toy  # a family may build on another one's file


def test_words_and_layout_change_nothing(package: Path) -> None:
    for name in ("engine/search.py", "methods/razor.py", "families/clip/scoring.py"):
        assert not changes(package, name, said_otherwise), name
    assert changes(package, "engine/search.py", lambda text: said_otherwise(text) + "\nMORE = 'a string'\n")


def test_code_from_outside_counts_with_what_it_builds_on(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "theirs"))
    folder = tmp_path / "theirs/house_of_mine"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "theirs/single_mine.py").write_text(OWN_METHOD)
    for name, text in {"__init__": "", "deep/method": OWN_METHOD, "deep/aid": "A = 1", "broken": "("}.items():
        (folder / f"{name}.py").write_text(text)
    single = importlib.import_module("single_mine").Mine
    deep = importlib.import_module("house_of_mine.deep.method").Mine
    for cls, aid in ((single, tmp_path / "theirs/single_mine.py"), (deep, folder / "deep/aid.py")):
        assert changes(package, "methods/salun.py", appended, cls)
        assert not changes(package, "methods/razor.py", appended, cls)
        before = version_in(package, "clip", [cls])
        aid.write_text(f"# a comment\n{aid.read_text()}")
        assert version_in(package, "clip", [cls]) == before
        aid.write_text(appended(aid.read_text()))
        assert version_in(package, "clip", [cls]) != before
    for name in ("single_mine", "house_of_mine", "house_of_mine.deep", "house_of_mine.deep.method"):
        sys.modules.pop(name, None)


def test_what_is_remembered_is_what_is_read(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("razor_cli.runs.remembered.SETTLED", -(10**12))
    first = version_in(package, "clip", [Razor])
    monkeypatch.setattr(code, "_read", None)  # nothing is read again
    assert version_in(package, "clip", [Razor]) == first != version_in(package, "clip", [SalunTan])


def test_every_room_is_known_to_the_rule() -> None:
    """A new room makes this fail, so that nobody widens or narrows the version without a thought."""
    rooms = {
        p.name for p in PACKAGE.iterdir() if (p.is_dir() and p.name != "__pycache__") or p.suffix == ".py"
    }
    assert rooms - COMPUTING - SHOWING - set(CHOSEN) == set()
    assert {n for n in NOT_COMPUTING if "/" not in n} == SHOWING
    deeper = {n for n in NOT_COMPUTING if "/" in n}
    assert deeper == {
        *(f"config/{n}.py" for n in ("command_line", "compose", "conf_files", "output_place")),
        *(f"config/{n}.py" for n in ("overrides", "pairings")),
        *("metrics/bounds.py", "metrics/verdict.py"),
        *(f"runs/{n}.py" for n in ("archive", "index", "indexing", "judged", "known", "sql", "typed")),
    }
    assert all((PACKAGE / n).is_file() for n in deeper)
