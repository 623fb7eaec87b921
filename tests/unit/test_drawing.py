"""Figures: the same whatever a person's settings of the plotting library are, and never worth a result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import fake_runs
import numpy as np
import pytest

from razor_cli.figure import at_the_cost_of_a_note, drawable, name_ticks, new_figure, save
from razor_cli.main import razor_command
from razor_cli.report import plots
from razor_cli.tables import plots as table_plots
from razor_cli.tables.plots import Matrices, matrix_grid, quantization_plot
from razor_cli.tables.quantization import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOSTILE = """\
text.usetex: True
figure.dpi: 30
savefig.facecolor: red
savefig.format: svg
axes.facecolor: black
font.size: 40
lines.linewidth: 9
image.cmap: jet
axes.prop_cycle: cycler('color', ['r'])
"""
DRAW = """\
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_drawing import draw
draw(Path(sys.argv[2]))
"""


def draw(folder: Path) -> None:
    """Draw one figure of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.linspace(0.1, 0.9, 9)
    plots.similarity_histograms(
        folder / "similarity.png", values, values / 2, values, values, title="Ada $x_1$"
    )
    matrix, names = values.reshape(3, 3), ("Ada", "Bo", "Cy")
    plots.cosine_matrices(folder / "cosines.png", matrix, matrix / 2, names, names, title="Ada")
    matrix_grid(
        folder / "grid.png", Matrices(title="grid", names=names, before=matrix, after={"razor": matrix / 2})
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("plain")
    draw(folder)
    return contents(folder)


def test_first_figure_of_a_process_depends_on_no_environment(plain: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text(HOSTILE)  # of the working folder, which comes first
    (tmp_path / "other").mkdir()
    (tmp_path / "other/matplotlibrc").write_text("backend: nope\n")
    environment = os.environ | {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(tmp_path / "other/matplotlibrc"),
    }
    words = [sys.executable, "-c", DRAW, str(Path(__file__).parent), str(tmp_path / "drawn")]
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "drawn") == plain


def test_settings_of_the_process_neither_matter_nor_change(
    plain: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib  # here, as the process above must not meet it before a figure

    monkeypatch.setenv("MPLBACKEND", "nope")
    with matplotlib.rc_context({"font.size": 40.0, "savefig.facecolor": "red", "text.usetex": True}):
        draw(tmp_path)
        assert matplotlib.rcParams["font.size"] == 40 and matplotlib.rcParams["text.usetex"]
    assert contents(tmp_path) == plain and os.environ["MPLBACKEND"] == "nope"


def test_what_drawing_raises_is_a_note_and_an_interruption_is_not() -> None:
    notes: list[str] = []
    with at_the_cost_of_a_note(notes, "picture"):
        raise ValueError("no such backend\nmore")
    assert notes == ["picture not drawn: ValueError: no such backend"]
    with pytest.raises(KeyboardInterrupt), at_the_cost_of_a_note(notes, "picture"):
        raise KeyboardInterrupt
    assert len(notes) == 1


def test_tables_are_written_though_their_figure_cannot_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = "concept,prompt,before,after\na,a,0.5,0.1\na,b,0.2,0.2\nb,a,0.2,0.2\nb,b,0.5,0.5\n"
    fake_runs.fake_run(tmp_path, files={"cosines.csv": cells})
    words = ["tables", "figure6", "--output-dir", str(tmp_path)]
    assert razor_command(words) == 0
    assert (tmp_path / "tables/figure6.png").is_file()
    (tmp_path / "tables/figure6.png").unlink()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no fonts here")

    monkeypatch.setattr("razor_cli.tables.plots.new_figure", fail)
    capsys.readouterr()
    assert razor_command(words) == 0
    out, err = capsys.readouterr()
    assert "figure6.md" in out and "figure6.png" not in out
    assert err.startswith("figure6.png (clip_tiny STAND-IN") and err.endswith("RuntimeError: no fonts here\n")
    assert (tmp_path / "tables/figure6.csv").is_file() and not (tmp_path / "tables/figure6.png").exists()


def test_only_the_figure_module_and_those_that_draw_under_its_settings_touch_the_library() -> None:
    package = Path(__file__).parents[2] / "src/razor_cli"
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name != "figure.py":
            assert "import matplotlib" not in text and "pyplot" not in text
            assert text.count("= new_figure(") == text.count("@own_settings()")


def test_control_codes_of_a_name_are_spelled_out(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    figure, ax = new_figure(2, 2, 1, "a\x1b[31mb")
    name_ticks(ax.xaxis, ["Ev\nil\x1b[0m"])
    save(figure, tmp_path / "x.png")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["Ev\\nil\\x1b[0m"]
    assert (tmp_path / "x.png").stat().st_size > 0 and list(recwarn) == []


def test_letters_that_no_font_has_are_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    values = np.linspace(0.1, 0.9, 9)
    title = "\U00013080\U00012000"  # an Egyptian and a Sumerian sign
    plots.similarity_histograms(tmp_path / "signs.png", values, values / 2, values, values, title=title)
    assert (tmp_path / "signs.png").stat().st_size > 1000
    assert [str(w.message) for w in recwarn] == []


def test_letters_without_a_font_are_numbers_and_others_stay() -> None:
    assert drawable("Beyoncé Владимир $x$") == "Beyoncé Владимир $x$"
    assert drawable("a\U0010fffc\U0010fffdb") == "aU+10FFFC 10FFFDb"  # for private use: no font has them


def test_nothing_of_a_histogram_lies_under_its_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    low, high = np.linspace(0.11, 0.12, 9), np.linspace(0.23, 0.25, 9)  # their means stand under the words
    plots.similarity_histograms(tmp_path / "x.png", high, low, high, high)
    drawn[0].canvas.draw()
    for ax in drawn[0].axes:
        legend, shapes = ax.get_legend(), [*ax.lines, *ax.patches]
        assert legend is not None and len(ax.lines) == 2
        assert max(shape.get_window_extent().y1 for shape in shapes) <= legend.get_window_extent().y0


def test_methods_of_one_width_only_have_their_place_in_the_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(table_plots, "save", lambda figure, path, also: drawn.append(figure))
    one = {("Ada", 0): 1.0}
    quantization_plot(
        tmp_path / "x.png",
        [
            Point(method=method, scheme=scheme, local=True, size=one, codes=one, recovery=one)
            for method, scheme in (("slug", "int8"), ("razor", "int4"), ("slug", "int4"))
        ],
    )
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["razor (local)", "slug (local)"]
