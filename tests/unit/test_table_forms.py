"""Forms of a table: what LaTeX, HTML and Markdown would take for their own signs is escaped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from razor_cli.tables.base import render
from razor_cli.tables.cells import Meaning, Number, meaning_of, remark
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.index import write_index
from razor_cli.tables.latex import GAP, LINE, TALLEST, points
from razor_cli.tables.layout import Line, panel
from razor_cli.tables.registry import TABLES, builder
from razor_cli.tables.selection import Measure


def tiny(text: str) -> Document:
    return Document(
        name="t",
        title=text,
        panels=[Panel(title=text, columns=("a", text), rows=[(text, "1")])],
        notes=[text],
    )


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("A & B_%", r"A \& B\_\%"),
        ("$x^2$ #{~}", r"\$x\textasciicircum{}2\$ \#\{\textasciitilde{}\}"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("0→1 ± ≤ ×", r"0$\to$1 $\pm$ $\le$ $\times$"),
    ],
)
def test_latex_is_escaped(text: str, tex: str) -> None:
    lines = render(tiny(text), "tex").splitlines()
    assert f"\\caption{{{tex}: {tex}}}" in lines and f"a & {tex} \\\\" in lines and f"{tex} & 1 \\\\" in lines


def test_html_is_escaped() -> None:
    page = render(tiny("<b>&\"'<script>x</script>"), "html")
    assert "<b>" not in page and "<script>" not in page
    assert page.count("&lt;b&gt;&amp;") == 6  # title, heading, caption, column, cell, note


def test_bars_of_names_do_not_split_markdown_cells() -> None:
    assert "| a\\|b | 1 |" in render(tiny("a|b"), "md")


def wide(rows: int) -> Document:
    columns = ("method", "weights", *(f"measured thing number {i} ↑ %" for i in range(20)))
    cells = [(f"method_{r}", "none", *(f"{r}.00 ± 12.34" for _ in range(20))) for r in range(rows)]
    cells[1] = ("ssd", "none", "no run recorded: razor-run experiment=table3", *[""] * 19)
    return Document(name="t", title="Wide", panels=[Panel(title="p", columns=columns, rows=cells)])


def test_latex_of_a_wide_and_long_table_stays_on_its_pages() -> None:
    text = render(wide(60), "tex")
    assert "resizebox" not in text and text.count("no run recorded") == 1  # a comment below
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels[:2] == ["tab:t:1", "tab:t:1-2"] and len(set(labels)) == len(labels) == text.count(
        "\\caption"
    )
    shown: set[str] = set()
    for table in text.split("\\begin{table}")[1:]:
        blocks = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", table, re.DOTALL)
        assert sum(body.count("\\\\\n") for _, body in blocks) < TALLEST
        for kinds, body in blocks:
            assert kinds.startswith("ll") and set(kinds[2:]) == {"r"}
            rows = [line for line in body.splitlines() if line.startswith("method\\_")]
            assert all(row.count("&") == len(kinds) - 1 for row in rows)
            assert sum(points(c.strip(" \\")) + GAP for c in rows[0].replace("$\\pm$", "±").split("&")) < LINE
            shown |= {row.split(" &")[0] for row in rows}
    assert len(shown) == 59


def test_every_sign_of_ours_has_its_latex() -> None:
    for name in TABLES:
        body = render(builder(name)([]), "tex").split("\n% ")[0]
        assert not {sign for sign in body if ord(sign) > 0x24F}, name


def test_a_page_has_boxes_that_scroll_and_a_reason_in_place_of_numbers() -> None:
    page = render(wide(2), "html", ["t.svg"])
    assert 'name="viewport"' in page and page.count('<div class="scroll"') == 1 and 'src="t.svg"' in page
    assert '<td class="why" colspan="20"><div>no run recorded' in page and page.count("<th scope") == 22 + 4


def test_rows_on_other_targets_say_so_and_are_not_the_best() -> None:
    m = Measure(key="m1", title="M1", unit="↓ %", metric="m1", direction="down")
    low, high = {("a", 0): 1.0, ("b", 0): 1.1}, {("a", 0): 50.0, ("b", 0): 51.0}
    lines = [Line(labels=(n, ""), name=n, samples={"m1": s}) for n, s in (("x", low), ("y", high))]
    made = panel("p", ("method", ""), lines, [m])
    assert made.bold == {(0, 2)} and "without" not in made.columns
    lines.append(Line(labels=("z", ""), name="z", samples={"m1": {("a", 0): 0.0, ("a", 1): 0.1}}))
    made = panel("p", ("method", ""), lines, [m])
    assert [row[made.columns.index("without")] for row in made.rows] == ["–", "–", "b"]
    assert made.bold == {(0, 2)}  # z is not among those compared


def test_a_page_breaks_long_names_at_their_signs_and_sets_commands_as_such() -> None:
    columns = ("method", "FID torchvision:inception_v3/data ↓ %", remark("what"))
    rows: list[tuple[str, ...]] = [("slug_unlearncanvas", "1.0", ""), ("me_gd", "2.0", "no run: razor-run x")]
    made = Panel(title="p", columns=columns, rows=rows, labels=1)
    page = render(Document(name="t", title="t", panels=[made], notes=["`razor judge <run>` asks"]), "html")
    assert "slug_<wbr>unlearncanvas" in page and ">me_gd<" in page
    assert "torchvision:<wbr>inception_<wbr>v3/<wbr>data\u00a0↓\u00a0%" in page
    assert "<code>razor judge &lt;run&gt;</code> asks" in page
    assert '<td class="why"><div>no run: razor-run x</div></td>' in page  # in the last column, too


def test_the_index_counts_figures_and_names_their_forms(tmp_path: Path) -> None:
    for name in (
        "figure6.html",
        "figure6.csv",
        "figure6.svg",
        "figure6.png",
        "figure6_10.svg",
        "figure6_2.svg",
    ):
        (tmp_path / name).touch()
    write_index(tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', page)
    assert [link.removeprefix("figure6") for link in links] == [
        *(".html", ".csv", ".html"),
        *(".svg", ".png", "_2.svg", "_10.svg"),
    ]


def test_a_head_without_a_meaning_tells_its_unit_behind_the_arrow() -> None:
    assert meaning_of("M1 mean ↓ %") == Meaning(metric="M1 mean", unit="%")
    assert meaning_of("drift →0 ×100") == Meaning(metric="drift", unit="×100")
    assert meaning_of("M4 drop ↓") == Meaning(metric="M4 drop") and meaning_of("runs").unit == ""


def test_comparisons_stand_apart_and_a_row_of_neither_numbers_nor_reason_has_dashes() -> None:
    measures = [
        Measure(key=k, title=k, unit="↓ %", metric=k, direction="down") for k in ("codes changed", "M1")
    ]
    values = {(t, 0): float(i) for i, t in enumerate("abc")}
    lines = [
        Line(
            labels=(name,),
            name=name,
            samples={m.key: {k: v + add for k, v in values.items()} for m in measures},
        )
        for name, add in (("unedited", 0.0), ("x", 5.0))
    ]
    made = panel("p", ("method",), [*lines, Line(labels=("average",))], measures)
    assert made.rows[1][made.columns.index("vs unedited")] == "codes changed −, M1 −"
    assert made.rows[2] == ("average", "–", "–", "–", "0")


def test_latex_keeps_arrow_and_unit_together_and_has_a_true_minus() -> None:
    columns = ("method", "mean of six accuracies ↑ %")
    made = Panel(title="p", columns=columns, rows=[("lr=1e-05", Number("-4.5 ± 1e-05", -4.5))], labels=1)
    text = render(Document(name="t", title="t", panels=[made]), "tex")
    assert r"accuracies~$\uparrow$~\%" in text and r"lr=1e-05 & $-$4.5 $\pm$ 1e-05" in text
