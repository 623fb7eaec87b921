"""Figures of models that draw: pictures of all methods beside each other, and which names go with which."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from razor_cli.figure import VECTOR, drawable, fonts, name_ticks, new_figure, own_settings, save
from razor_cli.runs.voucher import require_vouched

if TYPE_CHECKING:
    from razor_cli.runs.folder import Run
    from razor_cli.tables.interference import Heat
    from razor_cli.tables.sheets import Sheet

CELL = 1.05  # inches from a picture to the next
GAP = 0.06  # share of them that stays white
LINE, LINES = 18, 4  # letters of a prompt's line, and lines above a column
SECTIONS = {"target": "target", "near": "near it", "others": "others"}


def figures(name: str, runs: Sequence[Run]) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield title and drawing of every figure of a table of models that draw."""
    from razor_cli.tables import interference, sheets

    for sheet in sheets.sheets(runs, name) if name in sheets.SHAPES else ():
        yield sheet.title, partial(picture_grid, sheet=sheet)
    for heat in interference.heats(runs) if name == interference.TABLE else ():
        yield heat.title, partial(heat_map, heat=heat)


def pictures_of(path: Path, row: int, columns: int) -> list[NDArray[np.uint8]]:
    """Return one row of a file of equal square pictures. Raises UserError for a file of a run that is not
    what the run vouches for.
    """
    from PIL import Image

    require_vouched(path)
    with Image.open(path) as image:
        whole = np.asarray(image.convert("RGB"))
    side = whole.shape[1] // columns
    strip = whole[row * side : (row + 1) * side]
    return [strip[:, i * side : (i + 1) * side] for i in range(columns)]


@own_settings()
def picture_grid(path: Path, sheet: Sheet) -> None:
    """Draw a row of pictures for the unedited model and each method, a column for each prompt.

    All stand in one frame, one wide image for a row: a frame for each picture takes minutes to lay out.
    """
    width, height = len(sheet.columns), len(sheet.rows)
    figure, ax = new_figure(CELL * width + 1.4, CELL * height + 1.0, 1, sheet.title)
    right = width - GAP
    for i, (name, file, row) in enumerate(sheet.rows):
        strip = _beside(pictures_of(file, row, width))
        ax.imshow(strip, extent=(0, right, i + 1 - GAP, i), interpolation="nearest", aspect="equal")
        style: dict[str, Any] = {"horizontalalignment": "right", "verticalalignment": "center"}
        _write(ax, -GAP, i + (1 - GAP) / 2, drawable(name), fontsize=8, **style)
    for j in range(width):
        style = {"horizontalalignment": "center", "verticalalignment": "bottom"}
        _write(ax, j + (1 - GAP) / 2, -GAP / 2, _above(sheet, j), fontsize=6.5, **style)
    ax.set(xlim=(0, right), ylim=(height - GAP, 0))
    ax.set_axis_off()
    save(figure, path, VECTOR)


def _beside(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return pictures [side, side, 3] beside one another with white between them."""
    side = pictures[0].shape[0]
    space = np.full((side, round(side * GAP / (1 - GAP)), 3), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (picture, space)]
    return np.concatenate(parts[:-1], axis=1)


def _write(ax: Any, x: float, y: float, text: str, **style: Any) -> None:
    ax.text(x, y, text, family=fonts(text), parse_math=False, **style)


def _above(sheet: Sheet, place: int) -> str:
    """Return what stands above a column: its section where one begins, the prompt and the seed."""
    column = sheet.columns[place]
    begins = place == 0 or sheet.columns[place - 1].section != column.section
    lines = textwrap.wrap(drawable(column.prompt), LINE, max_lines=LINES - 1, placeholder=" …")
    head = SECTIONS.get(column.section, column.section).upper() if begins else ""
    return "\n".join([head, *lines, f"seed {column.seed}"])


@own_settings()
def heat_map(path: Path, heat: Heat) -> None:
    """Draw accuracy of generated names (columns) after forgotten ones (rows), a matrix for each method with a
    row for each name that it was run on.
    """
    columns, tall = len(heat.generated), [len(rows) for rows in heat.rows.values()]
    width, height = max(2.6, 0.24 * columns + 1.2), sum(0.24 * rows + 0.45 for rows in tall)
    figure, axes = new_figure(width + 1.6, height + 1.4, 1, heat.title, rows=len(tall), heights=tall)
    flat = list(axes.flat)
    look: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": 100, "interpolation": "nearest"}
    for ax, (method, matrix) in zip(flat, heat.methods.items(), strict=True):
        image = ax.imshow(matrix, aspect="equal", **look)  # a name that was not drawn stays blank
        ax.set_title(drawable(method), fontsize=9, family=fonts(method), parse_math=False)
        ax.tick_params(length=0)
        ax.set_xticks([])
        name_ticks(ax.yaxis, heat.rows[method])
    name_ticks(flat[-1].xaxis, heat.generated)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("accuracy, %\n(rows forgotten, columns generated)", fontsize=8)
    save(figure, path, VECTOR)
