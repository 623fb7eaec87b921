"""What a report shows is settled by the family's layout, and what a metric is by its catalogue."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_runs import fake_run
from rich.console import Console

from razor_cli.families.clip import layout as clip
from razor_cli.grid.job import told
from razor_cli.metrics.catalog import FAMILIES, METRICS, metric_info
from razor_cli.metrics.info import Role
from razor_cli.report.layout import Block, Layout, Reading, Sentence, Spread, layout_of
from razor_cli.report.terminal import print_report
from razor_cli.runs.folder import Run
from razor_cli.runs.records import Decision

PAINTED = Layout(
    parts=(
        Block(title="What is still painted", readings=(Reading("recognised", "m1", "dual/generic"),)),
        Sentence(
            label="likeness",
            text="of the pictures",
            readings=(Reading("", "m2", "prompt"), Reading("by class", "m1", "dual/generic")),
        ),
        Block(title="By suite", readings=(Reading("", "zs_*", "top1", but="zs_emoji*"),)),
        Block(title="Never measured", readings=(Reading("nothing", "of_the_kind"),)),
        Spread(
            title="Who else suffered",
            mean=Reading("on average ↓", "others_acc_drop"),
            worst=Reading("at most ↓", "others_worst"),
            which="who",
        ),
    ),
)


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> str:
    """A made-up family with a layout of its own; returns its name."""
    module: Any = ModuleType("razor_cli.families.painter.layout")
    module.LAYOUT = PAINTED
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return "painter"


def printed(run: Run, width: int = 120) -> str:
    out = io.StringIO()
    print_report(Console(file=out, width=width), run)
    return out.getvalue()


def test_a_report_follows_the_layout_of_the_records_family(tmp_path: Path, painted: str) -> None:
    text = printed(fake_run(tmp_path, family=painted))
    titles = ("What is still painted", "likeness", "By suite", "Who else suffered", "Edited components")
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    block = text[places[0] : places[1]]
    assert "recognised" in block and "5.5 [2.2, 8.8]" in block and "edit int4" in block
    words = " ".join(text.split())
    assert "likeness of the pictures: none 22.00 [21.00, 23.00], int8 22.25 [21.00, 23.25], int4" in words
    assert "; by class none 5.5 [2.2, 8.8], int8 5.8" in words
    suites = text[places[2] : places[3]]
    assert "cifar10" in suites and "emoji" not in suites
    spread = text[places[3] : places[4]]
    assert "on average ↓" in spread and "who" in spread and "Beyoncé" in spread
    for other in ("Never measured", "What was forgotten", "M4 generic", "others' accuracy"):
        assert other not in text


def test_a_family_without_a_layout_prints_every_score(tmp_path: Path) -> None:
    assert layout_of("nobodys") is None
    run = fake_run(tmp_path, family="nobodys")
    text = printed(run)
    assert "What was measured" in text and "Verdict: ACCEPTED" in text
    words = " ".join(text.split())
    for row in run.scores:
        assert f"{row.score.metric} {row.score.variant}" in words
    assert "not computed: there is no drift without an edit" in words


def test_the_line_of_a_job_has_the_numbers_of_its_familys_layout(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    gone = {"gone": {"metric": "m1", "variant": "dual/generic", "at_most": 55}}
    assert told(run, gone) == (f"M1 4.5 M4 96.0 M5 96.0 · ACCEPTED · run {run.run_id}", Decision.ACCEPTED)
    other = fake_run(tmp_path, family="nobodys", target="Beyoncé")
    less = {"gone": {**gone["gone"], "at_most": 1}}  # today's bounds, not those it was recorded with
    assert told(other, less) == (f"REJECTED · run {other.run_id}", Decision.REJECTED)
    assert told(other, {}) == (f"run {other.run_id}", None)


def test_a_layout_that_cannot_be_imported_is_no_missing_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "layout.py").write_text("import not_installed_anywhere\n")
    package: Any = ModuleType("razor_cli.families.broken")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        layout_of("broken")


def test_every_reading_of_clip_is_of_a_metric_in_the_catalogue() -> None:
    readings = [
        *clip.LAYOUT.progress,
        *(r for part in clip.LAYOUT.parts if isinstance(part, Block) for r in part.readings),
        *(
            replace(r, metric=r.metric.format(model=m))
            for m in ("oracle", "base")
            for r in clip.BESIDE.readings
        ),
        *clip.BESIDE.of_oracle,
        *(*clip.RECOVERY.readings, clip.OTHERS.mean, clip.OTHERS.worst),
    ]
    for reading in readings:
        assert any(fnmatchcase(name, reading.metric) for name in METRICS), reading


def test_every_metric_has_a_role_a_direction_and_an_explanation() -> None:
    for name, info in METRICS.items():
        assert info.role in Role and info.direction in ("down", "up", "zero", "chance", "none"), name
        assert info.title and info.unit and info.explanation, name
    roles = {name: METRICS[name].role for name in ("m1", "m5", "base_jsd", "rec")}
    assert list(roles.values()) == [Role.FORGETTING, Role.KEEPING, Role.NEITHER, Role.FORGETTING]


def test_a_name_made_after_a_pattern_is_known_and_the_longer_pattern_wins() -> None:
    kept, drop = metric_info("zs_cifar10"), metric_info("zs_emoji_held_out_drop")
    assert kept is not None and (kept.unit, kept.direction) == ("%", "up")
    assert drop is not None and (drop.unit, drop.direction) == ("points", "down")
    for name in ("zs_", "zs", "zs_<suite>", "m6"):
        assert metric_info(name) is None


def test_layouts_and_catalogues_are_read_without_torch() -> None:
    assert (FAMILIES / "clip" / "catalog.py").is_file()
    code = (
        "import sys\nfrom razor_cli.metrics.catalog import METRICS\n"
        "from razor_cli.report.layout import layout_of\n"
        "print(len(METRICS) > 30, layout_of('clip') is not None, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "False"]
