"""How every figure is set up and saved: without pyplot and its shared state, same input, same bytes, whatever
MPLBACKEND and a person's matplotlibrc say. A figure is never worth a result: one that fails costs a note.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
# Tried in order for letters that matplotlib's own font lacks; only those installed are asked for.
FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "Noto Sans Arabic",
    "Noto Sans",
)


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw with the library's own settings, from the first line of a figure until it is saved."""
    with _unasked():
        import matplotlib
    plain = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with matplotlib.rc_context(plain), warnings.catch_warnings():
        # a letter that no font of the machine has is drawn as a box; the numbers' files have the name
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
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
    width: float, height: float, columns: int, title: str, *, rows: int | None = None
) -> tuple[Figure, Any]:
    """Return a figure in inches with its axes: one row of them, or with `rows` an array [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(on_screen(title), fontsize=11, family=fonts(), parse_math=False)
    if rows is None:
        return figure, figure.subplots(1, columns)
    return figure, figure.subplots(rows, columns, squeeze=False)


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
        ax.set_title(title, fontsize=title_size)
        ax.tick_params(length=0)
    return image


def name_ticks(axis: Any, names: Sequence[str]) -> None:
    """Write names at the ticks 0, 1, ... of an axis; long ones are cut, too many are left out."""
    if len(names) > NAMES_SHOWN:
        axis.set_ticks([])
        return
    plain = [on_screen(name) for name in names]  # fonts have no control codes, and warn of them as they are
    shown = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in plain]
    axis.set_ticks(range(len(names)), labels=shown)
    for label in axis.get_ticklabels():
        label.set(fontsize=7, family=fonts(), parse_math=False)  # a dollar sign in a name is no formula
        if axis.axis_name == "x":
            label.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")


def fonts() -> list[str]:
    """Return the fonts to try for names in any script, of those installed."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically and without the time it was drawn at."""
    with staged(Path(path)) as part:
        figure.savefig(
            part, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None}
        )
        part.replace(path)
