"""The README is short, and a script that notices what is stale holds its printed lines to a default run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REPORT = """
forget "Taylor Swift" · razor · run 0123456789abcdef
computed  cpu, float32, 2 threads, seed 0, 2026-01-02
base   100.0 [96.9, 100.0]
edit    20.0 [13.8, 28.0]
base     0.0
edit    3.7 s = gradients 2.6 + search 0.5 + rest 0.6
run     16.1 s in all, peak memory 1,345 MB
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_readme", ROOT / "scripts/check_readme.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.encode()) <= 8 * 1024


def test_readme_has_its_parts() -> None:
    headings = [line.removeprefix("## ") for line in README.splitlines() if line.startswith("## ")]
    assert headings == [
        "Thirty seconds",
        "The same in pictures",
        "What can go, from which model, by which method",
        "Three commands",
        "Your own model and photographs",
        "Honest limits",
        "Links",
    ]
    limits = README.partition("## Honest limits\n")[2].partition("\n## ")[0]
    assert len([line for line in limits.splitlines() if line.startswith("* ")]) == 4
    picture = ROOT / "docs/pictures/similarity.png"
    assert f"]({picture.relative_to(ROOT).as_posix()})" in README and picture.stat().st_size < 60_000


def test_the_recommended_preset_of_every_method_is_named() -> None:
    named = README.partition("## What can go")[2].partition("\n## ")[0]
    models = {f.stem for f in (ROOT / "conf/model").glob("*.yaml")} - {"clip_tiny_short"}
    for name in {f.stem for f in (ROOT / "conf/method").glob("*.yaml")} | models:
        assert f"`{name}`" in named, name


def test_a_dozen_lines_are_quoted(script: ModuleType) -> None:
    lines = script.quoted(README)
    assert 10 <= len(lines) <= 15 and lines[0].startswith('forget "Taylor Swift"')
    assert script.stale(lines, "\n".join(lines)) == []


def test_what_differs_from_run_to_run_does_not_count(script: ModuleType) -> None:
    other = REPORT.replace("0123456789abcdef", "fedcba9876543210").replace("2026-01-02", "2027-11-30")
    other = other.replace("16.1 s", "1,234.5 s").replace("1,345 MB", "9 MB").replace("2 threads", "1 threads")
    other = other.replace("3.7 s = gradients 2.6", "4 s = gradients 1.0")
    assert other != REPORT and script.stale(REPORT.splitlines(), other) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("20.0 [13.8", "20.1 [13.8"), ("Taylor Swift", "Elon Musk"), ("edit    20.0", "edit   20.0")],
)
def test_a_stale_line_is_noticed(script: ModuleType, old: str, new: str) -> None:
    assert len(script.stale(REPORT.splitlines(), REPORT.replace(old, new))) == 1


def test_lines_must_come_in_order(script: ModuleType) -> None:
    assert script.stale(["base     0.0", "base   100.0 [96.9, 100.0]"], REPORT) == [
        "base   100.0 [96.9, 100.0]"
    ]


def test_without_a_default_run_the_check_says_so(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["check_readme.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="make run"):
        script.main()
    assert script.default_run(tmp_path) is None


def test_the_whole_check_of_a_clone_calls_the_script_after_the_default_run() -> None:
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert lines.index("make run") < lines.index(".venv/bin/python scripts/check_readme.py outputs")
