"""Forms of a table: what LaTeX, HTML and Markdown would take for their own signs is escaped."""

from __future__ import annotations

import pytest

from razor_cli.tables.base import render
from razor_cli.tables.document import Document, Panel


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
        ("→0 ± ≤ ×", r"$\to$0 $\pm$ $\le$ $\times$"),
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
