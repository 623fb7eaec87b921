"""README and docs/: links and paths lead somewhere, and tables are those of their file. Commands are given in
tests/unit/test_every_command.py.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import torch
from tiny_world import make_clip, make_sets, run

from razor_cli.contract.choices import Direction
from razor_cli.contract.cost import Cost
from razor_cli.dual.goals import GOALS as DUAL
from razor_cli.families.clip.settings import Metrics
from razor_cli.families.diffusion.choices import GOALS as DRAWN
from razor_cli.families.llava.choices import GOALS as ASKED
from razor_cli.tables import in_page, score_file
from razor_cli.tables.registry import TABLES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HISTORY = ROOT / "docs/results/clip_0.1.md"  # as it was: paths and presets of its time
TEXT = {p: p.read_text(encoding="utf-8") for p in PAGES}
FLAGS = re.MULTILINE | re.DOTALL
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", FLAGS)
LINK = re.compile(r"\]\(([^)\s]+)\)")
INVENTED = ("shrink", "birds", "ascent")  # examples of what a reader adds


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", TEXT[page])):
        file, _, anchor = link.partition("#")
        if not file.startswith(("http:", "https:")):
            place = (page.parent / file).resolve() if file else page
            assert place.exists(), link
            assert not anchor or anchor in anchors(place), link


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / link).resolve() for link in LINK.findall(TEXT[index])}
    assert {p.resolve() for p in PAGES} - {index, ROOT / "README.md"} == listed


@pytest.mark.parametrize("page", [p for p in PAGES if p != HISTORY], ids=title)
def test_paths_exist(page: Path) -> None:
    named = re.findall(r"`((?:src|conf|tests|scripts|docs)/[\w./-]+)`", TEXT[page])
    named += re.findall(r"^ *python (scripts/\S+)", TEXT[page], re.MULTILINE)
    gone = [n for n in named if not (ROOT / n).exists()]
    assert [n for n in gone if not any(word in n for word in INVENTED)] == []
    rooms = re.findall(r"`((?:[a-z]+/)+\w+\.(?:py|json))`", TEXT[page])
    inside = [r for r in rooms if not r.startswith(("src/", "conf/", "tests/", "scripts/"))]
    assert [r for r in inside if not (ROOT / "src/razor_cli" / r).exists()] == []


def test_the_example_of_a_method_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = re.findall(r"^```(?:python|yaml)\n(.*?)^```", TEXT[ROOT / "docs/add-a-method.md"], FLAGS)[:2]
    (tmp_path / "shrink.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    method = importlib.import_module("shrink").Shrink(share=0.5)
    model = make_clip()
    edit = run(method, model, make_sets())
    assert edit.components == ["visual.2.mlp", "text.1.mlp"] and edit.values
    live = dict(model.module.named_parameters())
    assert all(torch.allclose(v.float(), live[n] / 2, atol=1e-3) for n, v in edit.values.items())


SCORES = sorted((ROOT / "docs/results").glob("*_scores.csv.gz"))


@pytest.mark.parametrize("scores", SCORES, ids=lambda path: path.name)
def test_tables_of_the_results_are_those_of_the_committed_scores(scores: Path) -> None:
    page = scores.with_name(scores.name.replace("_scores.csv.gz", ".md"))
    assert scores.stat().st_size < 300_000
    assert in_page.names(TEXT[page])
    assert in_page.filled(TEXT[page], score_file.load(scores)) == TEXT[page]
    outside = re.sub(r"<!-- razor tables .*?<!-- end -->", "", TEXT[page], flags=re.DOTALL)
    assert not re.search(r"^\|", outside, re.MULTILINE)  # no table by hand


def test_pages_of_results_name_tables_that_there_are() -> None:
    named = {page.name: in_page.names(TEXT[page]) for page in (ROOT / "docs/results").glob("*.md")}
    assert named["clip.md"] and named["llava.md"]
    assert {name for found in named.values() for name in found} <= set(TABLES)


def test_the_keys_of_trials_and_the_goals_are_named_where_methods_are_told_of() -> None:
    page = TEXT[ROOT / "docs/add-a-method.md"].partition("## Signs, names and units")[2]
    named = set(re.findall(r"`(\w+)`", page))
    for family in ("clip", "diffusion", "llava"):
        assert f"| {family} |" in page
    keys = set(make_clip().board(make_sets(), Metrics(), Cost(), fast=True).base)
    read = {m for goals in (DUAL, DRAWN, ASKED) for g in goals.values() for part in g.metrics for m in part}
    of_taxonomies = {"df_fine", "dr_fine", "dr_coarse", "df_coarse"}
    assert keys | read <= named | of_taxonomies
    assert make_clip().loss("cosine", make_sets()).direction is Direction.UP
