"""How every figure is set up and saved: without pyplot and its shared state, same input, same bytes, whatever
MPLBACKEND and a person's matplotlibrc say. A figure is never worth a result: one that fails costs a note.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from razor_cli.atomic import staged
from razor_cli.errors import headline
from razor_cli.escape import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
NAMES_SHOWN = 40  # rows or columns of a matrix beyond this are drawn without names
LONGEST_NAME = 26
VECTOR = ("svg", "pdf")  # forms of a figure beside PNG, for papers
NO_TIME = {  # of each form: metadata that would tell when and by what it was drawn
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
OWN_FONT = "DejaVu Sans"
# Tried first for letters that matplotlib's own font lacks, then every other font that is installed.
FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "Noto Sans Arabic",
    "Noto Sans",
)
NO_FONT = ("LastResort", "Last Resort High-Efficiency")  # has a box for every letter
SPELLED = re.compile(r"U\+[0-9A-F]{4,6}")
TOLD = "U+ numbers stand for letters that no installed font has; Noto Sans and Noto Sans CJK have them"


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw with the library's own settings, from the first line of a figure until it is saved."""
    with _unasked():
        import matplotlib
    plain = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    # ids of an SVG that are the same every time; letters of a PDF as a font that journals take
    plain |= {"svg.hashsalt": "razor", "pdf.fonttype": 42}
    with matplotlib.rc_context(plain):
        yield


@contextmanager
def _unasked() -> Iterator[None]:
    """Hide what the environment asks of the library, which may end its import: a notebook's MPLBACKEND names
    a package that may be missing here.
    """
    asked = {name: os.environ.pop(name) for name in ("MPLBACKEND", "MATPLOTLIBRC") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(asked)


@contextmanager
def at_the_cost_of_a_note(notes: list[str], what: str) -> Iterator[None]:
    """Draw, and where that fails for whatever reason say so in `notes`."""
    try:
        yield
    except Exception as error:  # numbers are saved already, and a picture is never worth them
        notes.append(f"{what} not drawn: {headline(error)}")


def new_figure(
    width: float,
    height: float,
    columns: int,
    title: str,
    *,
    rows: int | None = None,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, Any]:
    """Return a figure in inches with its axes: one row of them, or with `rows` an array [rows, columns], as
    high as `heights` are to each other.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(drawable(title), fontsize=11, family=fonts(title), parse_math=False)
    if rows is None:
        return figure, figure.subplots(1, columns)
    return figure, figure.subplots(rows, columns, squeeze=False, height_ratios=heights)


def open_frame(ax: Any) -> None:
    """Leave out the frame's lines above and to the right."""
    ax.spines[["top", "right"]].set_visible(False)


def draw_matrices(axes: Iterable[Any], matrices: Mapping[str, NDArray[np.float64]], title_size: int) -> Any:
    """Draw matrices, by title, on one colour scale; return the last image, which a colour bar is made of."""
    low, high = min(float(m.min()) for m in matrices.values()), max(float(m.max()) for m in matrices.values())
    image: Any = None
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        image = ax.imshow(
            matrix, cmap="cividis", vmin=low, vmax=high, aspect="equal", interpolation="nearest"
        )
        ax.set_title(drawable(title), fontsize=title_size, family=fonts(title), parse_math=False)
        ax.tick_params(length=0)
    return image


def name_ticks(axis: Any, names: Sequence[str]) -> None:
    """Write names at the ticks 0, 1, ... of an axis; long ones are cut, too many are left out."""
    if len(names) > NAMES_SHOWN:
        axis.set_ticks([])
        return
    plain = [drawable(name) for name in names]
    shown = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in plain]
    axis.set_ticks(range(len(names)), labels=shown)
    for label, name in zip(axis.get_ticklabels(), names, strict=True):
        label.set(fontsize=7, family=fonts(name), parse_math=False)  # a dollar sign in a name is no formula
        if axis.axis_name == "x":
            label.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")


def log_ticks(axis: Any) -> None:
    """Set an axis to a log scale whose numbers do not run into each other: powers of ten, and where fewer
    than two are in sight 1, 2 and 5 of each. Call it when all is drawn.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    if math.floor(math.log10(high)) - math.ceil(math.log10(low)) >= 1:
        axis.set_major_locator(LogLocator(numticks=7))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))
        axis.set_tick_params(labelsize=8)
    axis.set_minor_formatter(NullFormatter())


def fonts(text: str = "") -> list[str]:
    """Return the fonts to try for a text, of those installed: ours, those for other scripts, and where they
    lack a letter others that have it.
    """
    return list(_fonts(frozenset(text)))


def drawable(text: str) -> str:
    """Return text as a figure shows it: what acts on a screen, and letters that no installed font has, are
    spelled out as U+ numbers.
    """
    plain = on_screen(text)
    lacking = set(plain) - _letters(*_fonts(frozenset(plain)))
    parts = (
        ("U+" + " ".join(f"{ord(c):04X}" for c in run)) if lost else "".join(run)
        for lost, run in groupby(plain, key=lacking.__contains__)
    )
    return "".join(parts)


@cache
def _fonts(letters: frozenset[str]) -> tuple[str, ...]:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names()) - set(NO_FONT)
    found = [OWN_FONT, *(name for name in FALLBACK_FONTS if name in installed)]
    lacking = {c for c in letters if ord(c) >= ord(" ")} - _letters(*found)
    for name in sorted(installed) if lacking else ():
        if more := lacking & _letters(name):
            found.append(name)
            lacking -= more
    return tuple(found)


@cache
def _letters(*names: str) -> frozenset[str]:
    """Return the letters that fonts have, the blank and the line end among them."""
    from matplotlib import font_manager, ft2font

    known: set[str] = {" ", "\n"}
    files = sorted({f.fname for f in font_manager.fontManager.ttflist if f.name in names})
    for file in files:
        with suppress(RuntimeError, OSError):  # of pictures, or gone since the list was made
            known |= set(map(chr, ft2font.FT2Font(file).get_charmap()))
    return frozenset(known)


def save(figure: Figure, path: Path, also: Sequence[str] = ()) -> list[Path]:
    """Write a figure as PNG and in the forms of `also`, atomically and without the time it was drawn at;
    return the files. Letters that it could not draw are told below it.
    """
    from matplotlib.text import Text

    if any(SPELLED.search(text.get_text()) for text in figure.findobj(Text)):
        figure.supxlabel(TOLD, fontsize=6, color="#5a5a5a")
    files = [Path(path).with_suffix(f".{form}") for form in ("png", *also)]
    for file in files:
        form = file.suffix.removeprefix(".")
        with staged(file) as part:
            figure.savefig(
                part, format=form, dpi=DPI, bbox_inches="tight", pad_inches=0.12, metadata=NO_TIME[form]
            )
            part.replace(file)
    return files
