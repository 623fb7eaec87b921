"""Tables of models that answer: identities, averages with the population deviation, what was printed beside,
and what of it cannot be right.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from answered_runs import answered

from razor_cli.runs.folder import complete_runs
from razor_cli.tables import answered as tables
from razor_cli.tables.answered_printed import SHAPES
from razor_cli.tables.answered_rows import spread
from razor_cli.tables.base import render
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.registry import builder
from razor_cli.tables.scores_read import is_read

NAMES = ("table6", "table8", "slug_llava")
FA = "measured FA multi/full ↓ %"


def panel(document: Document, beginning: str) -> Panel:
    (found,) = (p for p in document.panels if p.title.startswith(beginning))
    return found


def row(found: Panel, *labels: str) -> dict[str, str]:
    (cells,) = (r for r in found.rows if r[: len(labels)] == labels)
    return dict(zip(found.columns, cells, strict=True))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answered")
    for target, fa, other in (("Taylor Swift", 2.0, 8.0), ("Tom Cruise", 6.0, 9.0), ("Lady Gaga", 1.0, 7.0)):
        answered(folder, target, "razor", fa, quantizations=("none", "int8"))
        answered(folder, target, "slug", other, kept=90.0)
    answered(folder, "Taylor Swift", "razor", 4.0, seed=1, quantizations=("none", "int8"))
    answered(folder, "Elon Musk", "slug", 3.0)
    answered(folder, "Ada Quill", "razor", 50.0)  # in no published table
    answered(folder, "Tom Cruise", "razor", 99.0, scenario="object")
    answered(folder, "Tom Cruise", "razor", 99.0, family="clip", model="clip_tiny")
    return folder


@pytest.fixture(scope="module")
def table8(outputs: Path) -> Document:
    return builder("table8")(complete_runs(outputs))


def test_a_row_is_the_mean_of_its_seeds_and_an_average_is_over_identities(table8: Document) -> None:
    beside = panel(table8, "LLaVA-1.6-8B as published | llava_tiny STAND-IN, drawn portraits")
    assert "3 of 10 identities, 2 seeds" in beside.title
    swift = row(beside, "Taylor Swift", "razor")
    assert swift[FA] == "3.00" and swift["runs"] == "2" and swift["published FA ↓ %"] == "1.5"
    mean = row(beside, "average (measured: 3 of 10)", "razor")
    deviation = statistics.pstdev([3.0, 6.0, 1.0])
    assert mean[FA] == f"3.33 ± {deviation:.2f}" and mean["runs"] == "4"
    assert row(beside, "average (measured: 3 of 10)", "slug")[FA].startswith("8.00 ± 0.82")
    assert row(beside, "average (measured: 3 of 10)", "control of razor")[FA] == "97.00 ± 0.00"
    assert row(beside, "all", "unedited")[FA] == "98.00 ± 0.00"


def test_what_only_has_the_shape_of_a_set_is_never_called_it(table8: Document) -> None:
    beside = panel(table8, "LLaVA-1.6-8B as published")
    assert "measured MME-shaped perception prefix4 ↑" in beside.columns
    assert "measured MMBench-shaped taught_text ↑ %" in beside.columns
    measured = [c for c in beside.columns if not c.startswith("published")]
    assert not [c for c in measured if any(f"{s} " in c for s in ("MME", "GQA", "MMBench"))]
    assert not [c for c in beside.columns if c.startswith("Δ")]
    assert row(beside, "Lady Gaga", "razor")["measured MME-shaped cognition prefix4 ↑"] == "288.00"


def test_real_models_have_the_sets_names_and_differences(tmp_path: Path) -> None:
    metrics = {"fa_mode": "paper", "mme": "somewhere/MME"}
    for target, fa in (("Taylor Swift", 3.5), ("Tom Cruise", 1.0)):
        answered(
            tmp_path,
            target,
            "razor",
            fa,
            kept=60.0,
            model="llava15_7b",
            stand_in=False,
            data="celeba",
            naming="paper/full",
            more={"metrics": metrics},
        )
    document = builder("table6")(complete_runs(tmp_path))
    beside = panel(document, "LLaVA-1.6-8B as published | llava15_7b, celeba, metrics.fa_mode=paper, ")
    assert "metrics.mme=MME (" in beside.title and "somewhere" not in beside.title
    assert "CelebA photographs: 2 of 10 identities, 1 seed" in beside.title
    swift = row(beside, "Taylor Swift", "razor")
    assert swift["measured FA paper/full ↓ %"] == "3.50" and swift["Δ FA paper/full"] == "+2.00"
    assert swift["measured MME perception prefix4 ↑"] == "780.00"
    assert swift["Δ MME perception prefix4"] == "-567.90" and swift["measured MMBench letter ↑ %"] == "40.00"
    missing = row(beside, "Lady Gaga", "razor")
    assert missing["measured FA paper/full ↓ %"] == (
        "no run recorded: razor-run experiment=table6 model=llava15_7b method=razor 'target=Lady Gaga'"
    )
    assert row(beside, "average (measured: 2 of 10)", "razor")["Δ FA paper/full"] == "+0.30"


def test_what_no_paper_has_stands_apart(table8: Document) -> None:
    more = panel(table8, "What else was measured")
    swift = row(more, "Taylor Swift", "razor")
    assert swift["FA before %"] == "98.00" and swift["retain FA multi/full ↑ %"] == "96.00"
    assert swift["FA paper/full ↓ %"] == "4.00" and swift["misses that name nobody ↑ %"] == "60.00"
    assert swift["MME-shaped perception without celebrity ↑"] == "1152.00" and swift["edit ↓ s"] == "10.5"
    assert swift["looks told ↑ %"] == "–"  # not recorded
    assert row(more, "average", "control of slug")["near names multi/full ↑ %"] == "80.00 ± 0.00"


def test_quantized_rows_stand_where_some_were_recorded(table8: Document, tmp_path: Path) -> None:
    found = panel(table8, "Averages under quantization")
    assert row(found, "razor", "int8")["FA multi/full ↓ %"].startswith("4.33 ± ")
    assert row(found, "razor", "int8")["FA that came back →0"] == "0.25 ± 0.00"
    assert [r[:2] for r in found.rows] == [
        ("unedited", "none"),
        ("unedited", "int8"),
        ("razor", "none"),
        ("razor", "int8"),
        ("slug", "none"),
    ]
    answered(tmp_path, "Tom Cruise", "razor", 1.0)
    plain = builder("table6")(complete_runs(tmp_path))
    assert not [p for p in plain.panels if "quantization" in p.title]


def test_two_methods_are_compared_over_the_same_identities(table8: Document) -> None:
    against = panel(table8, "RAZOR against SLUG")
    fa = row(against, "FA ↓ %")
    assert fa["RAZOR − SLUG"] == "-0.65 ± 0.83" and fa["identities"] == "10, 3"
    assert fa["razor − slug"].startswith("-4.67 ± ") and fa["RAZOR is"] == "≈→+"
    assert row(against, "MME perception ↑")["RAZOR is"] == "+→+"


def test_the_slide_has_its_two_identities_and_razor_beside(outputs: Path) -> None:
    found = builder("slug_llava")(complete_runs(outputs))
    beside = panel(found, "LLaVA-1.5-7B as published | ")
    assert row(beside, "Elon Musk", "slug")["published MME perception ↑"] == "1354.61"
    assert row(beside, "average", "slug")["published GQA ↑ %"] == "60.71 ± 0.01"
    assert row(beside, "Taylor Swift", "razor")["published FA ↓ %"] == "–"
    assert "razor-run experiment=slug_llava method=razor" in row(beside, "Elon Musk", "razor")[FA]
    assert not [r for r in beside.rows if r[0] == "Tom Cruise"]


@pytest.mark.parametrize(
    ("name", "method", "wrong"),
    [("table6", "RAZOR", 4), ("table8", "RAZOR", 0), ("table8", "SLUG", 0), ("slug_llava", "SLUG", 0)],
)
def test_averages_that_are_none_of_their_rows_are_marked(name: str, method: str, wrong: int) -> None:
    cells = SHAPES[name].as_printed(method)
    assert sum(c.endswith("?") for c in cells.values()) == wrong and len(cells) == 5


def test_printed_rows_come_to_the_known_averages() -> None:
    """As whoever copied the tables recomputed them."""
    razor, slug = (SHAPES["table8"].recomputed(m) for m in ("RAZOR", "SLUG"))
    assert list(razor.values()) == [
        "1.95 ± 1.62",
        "317.27 ± 24.92",
        "1318.54 ± 63.04",
        "60.46 ± 0.84",
        "60.42 ± 2.01",
    ]
    assert list(slug.values()) == [
        "2.60 ± 1.69",
        "309.70 ± 25.22",
        "1303.28 ± 68.38",
        "60.33 ± 0.75",
        "59.82 ± 2.30",
    ]
    assert SHAPES["table6"].recomputed("RAZOR") == razor
    assert spread([], 2) == "–" and spread([1.0], 1) == "1.0"


@pytest.mark.parametrize("name", NAMES)
def test_without_runs_the_command_is_named_once_for_each_method(name: str) -> None:
    text = render(builder(name)([]), "md")
    shape = SHAPES[name]
    for presets in shape.methods.values():
        assert text.count(f"no run recorded: razor-run experiment={name} method={presets[0]}") == 1
    assert "±10 points with the batch size" in text and "nothing measured" in text


@pytest.mark.parametrize("name", NAMES)
def test_every_score_that_a_column_reads_is_kept_in_score_files(name: str) -> None:
    from razor_cli.tables.answered_rows import Asked, further_measures, printed_measures, quantized_measures

    for asked in (Asked(), Asked(shaped=frozenset(("mme", "gqa", "mmbench")), wording="taught_text")):
        columns = (*printed_measures(asked), *further_measures(asked), *quantized_measures(asked))
        named = {(m.metric, m.variant) for m in columns if not m.metric.startswith("cost.")}
        assert named and all(is_read(*pair) for pair in named)
    assert tables.build([], name).name == name
