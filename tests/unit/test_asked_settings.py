"""Settings of the exam of models that answer, and the files that belong to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from question_files import mme_parquet

from razor_cli.config.conf_files import settings_of
from razor_cli.config.schema import build
from razor_cli.data.ask import Ask
from razor_cli.data.kinds.answered_standin import AnsweredStandIn
from razor_cli.data.kinds.standin import StandIn
from razor_cli.errors import ConfigError, DataError, Problem
from razor_cli.families.llava.catalog import METRICS
from razor_cli.families.llava.layout import LAYOUT
from razor_cli.families.llava.settings import AskedMetrics, Options
from razor_cli.families.llava.spec import LlavaSpec
from razor_cli.metrics.bounds import parse_bounds
from razor_cli.report.layout import Block, Spread


def test_defaults_are_those_of_the_file() -> None:
    problems: list[Problem] = []
    assert (
        build(AskedMetrics, settings_of("metrics", "default", "llava"), "metrics", problems) == AskedMetrics()
    )
    assert problems == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fa_images": 0}, "metrics.fa_images is out of range"),
        ({"fa_min_base": 101.0}, "metrics.fa_min_base is out of range"),
        ({"search_prompts": 1}, "metrics.search_prompts is out of range"),
        ({"fa_prompts": ["Who?"]}, "metrics.search_prompts is more than the questions there are"),
        ({"fa_prompts": ["Who?", " "]}, "metrics.fa_prompts holds an empty question"),
        ({"questions": 0}, "metrics.questions is out of range"),
        ({"mme": Path("nowhere")}, "metrics.mme: no such folder"),
        ({"batch": 0}, "metrics.batch is out of range"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        AskedMetrics(**settings)
    assert caught.value.exit_code == 2


def test_letters_are_asked_of_models_that_learned_them() -> None:
    settings = AskedMetrics()
    assert settings.fitted(LlavaSpec()).mmbench_wording is Options.TAUGHT_TEXT
    real = LlavaSpec(name="mine", stand_in=False, weights="DIR")
    assert settings.fitted(real).mmbench_wording is Options.LETTER
    chosen = AskedMetrics(mmbench_wording=Options.SELECT)
    assert chosen.fitted(real) is chosen


def test_published_sets_are_part_of_a_runs_id(tmp_path: Path) -> None:
    settings = AskedMetrics(mme=mme_parquet(tmp_path / "mme"))
    first = settings.judge_hashes(None)
    assert set(first) == {"mme"} and settings.judge_hashes(None) == first
    (tmp_path / "mme" / "README.md").write_text("fetched")
    assert settings.judge_hashes(None) != first
    assert AskedMetrics().judge_hashes(None) == {}


def test_a_folder_without_a_published_set_is_refused_before_a_model_loads(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"metrics\.gqa") as caught:
        AskedMetrics(gqa=tmp_path).judge_hashes(None)
    assert caught.value.exit_code == 2


def test_bounds_of_an_identity_name_metrics_that_there_are() -> None:
    bounds = parse_bounds(settings_of("scenario", "identity", "llava")["acceptance"])
    assert {b.metric for b in bounds.values()} == {"fa", "retain_fa", "answers_loss"} <= set(METRICS)
    assert bounds["fa"].at_most == 5 and bounds["retain_fa"].drop_at_most == 5
    assert [bounds[k].at_most for k in ("yes_no", "open")] == [2, 2]


def test_the_report_names_metrics_that_there_are() -> None:
    known = {*METRICS, "rec"}
    for part in LAYOUT.parts:
        if isinstance(part, Block):
            assert {r.metric for r in part.readings} <= known, part.title
        if isinstance(part, Spread):
            assert {part.mean.metric, part.worst.metric} <= known
    shaped = [r for p in LAYOUT.parts if isinstance(p, Block) for r in p.readings if "_shaped" in r.metric]
    assert shaped and all("-shaped" in r.heading for r in shaped)
    assert all("shaped" in info.title for name, info in METRICS.items() if "_shaped" in name)


def test_the_stand_ins_pictures_hold_no_photographs() -> None:
    ask = Ask(target="Taylor Swift", suites=())
    sets = AnsweredStandIn().sets(ask)
    domains = {p.domain for part in sets.parts().values() for p in part.pictures}
    assert domains == {"person", "emoji"} and not any("CIFAR" in n for n in sets.notes)
    assert AnsweredStandIn().label("portraits") == StandIn().label("portraits")
