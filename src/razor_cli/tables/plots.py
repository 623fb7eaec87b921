"""Figures of the papers from recorded runs: step sizes (5), cosine matrices (6), and what quantization brings
back.

Same input, same bytes. Colours are told apart in grey, too: every method also has a marker of its own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from razor_cli.figure import (
    VECTOR,
    at_the_cost_of_a_note,
    draw_matrices,
    log_ticks,
    name_ticks,
    new_figure,
    open_frame,
    own_settings,
    save,
)
from razor_cli.tables.figures import SHOWN, Curve, Matrices
from razor_cli.tables.layout import half_width
from razor_cli.tables.quantization import SCHEMES, Point

if TYPE_CHECKING:
    from razor_cli.tables.selection import Sample

# Okabe and Ito's palette, then darker ones; RAZOR is always the first.
COLOURS = (
    "#0072b2 #d55e00 #009e73 #cc79a7 #e69f00 #56b4e9 #000000 #7f3c8d "
    "#806000 #a50026 #3b7a57 #5a5a5a #c51b7d #4575b4 #8c510a #01665e"
).split()
MARKERS = "osD^vP*X<>hdp8HX"
ACROSS = 4  # matrices beside one another


def _styles(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    ordered = sorted(dict.fromkeys(methods), key=_order)
    return {
        m: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        for i, m in enumerate(ordered)
    }


def _order(method: str) -> tuple[bool, bool, str]:
    return not method.startswith("razor"), not method.startswith("slug"), method


@own_settings()
def sweep_curves(path: Path, curves: Sequence[Curve], *, title: str = "") -> None:
    """Draw M1, M4 and M5 (columns) over fixed step size and learning rate (rows), means with 95 % t intervals
    over runs.
    """
    knobs = {"step_size": "fixed step, share of a component's norm", "lr": "learning rate"}
    rows = [k for k in knobs if any(c.knob == k for c in curves)]
    styles = _styles([c.method for c in curves])
    figure, axes = new_figure(11.0, 2.9 * len(rows) + 0.7, len(SHOWN), title, rows=len(rows))
    for i, knob in enumerate(rows):
        for j, measure in enumerate(SHOWN):
            ax = axes[i][j]
            for curve in [c for c in curves if c.knob == knob]:
                xs = [x for x, samples in curve.points.items() if samples[measure.key]]
                values = [list(curve.points[x][measure.key].values()) for x in xs]
                means, widths = [statistics.mean(v) for v in values], [half_width(v) or 0.0 for v in values]
                ax.errorbar(
                    xs,
                    means,
                    yerr=widths,
                    label=curve.method,
                    capsize=2,
                    linewidth=1.3,
                    markersize=4.5,
                    **styles[curve.method],
                )
            log_ticks(ax.xaxis)
            ax.set_ylim(-4, 104)
            ax.set_title(measure.heading, fontsize=10)
            ax.set_xlabel(knobs[knob], fontsize=9)
            open_frame(ax)
            ax.grid(alpha=0.25)
        axes[i][-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    save(figure, path, VECTOR)


@own_settings()
def matrix_grid(path: Path, found: Matrices) -> None:
    """Draw the text-image cosines of the unedited model and after each method, on one colour scale."""
    panels = {
        "before": found.before,
        **{method: found.after[method] for method in sorted(found.after, key=_order)},
    }
    columns = min(ACROSS, len(panels))
    rows = math.ceil(len(panels) / columns)
    side = max(1.9, 0.22 * len(found.names) + 0.5)
    figure, axes = new_figure(
        side * columns + 2.4, (side + 0.35) * rows + 1.8, columns, found.title, rows=rows
    )
    image = draw_matrices(axes.flat[: len(panels)], panels, 9)
    for k, ax in enumerate(axes.flat):
        if k >= len(panels):
            ax.set_axis_off()
            continue
        ax.set_xticks([])
        ax.set_yticks([])
        if k % columns == 0:
            name_ticks(ax.yaxis, found.names)
        if k + columns >= len(panels):
            name_ticks(ax.xaxis, found.names)
    figure.colorbar(
        image, ax=axes, label="mean cosine of pictures (rows) and prompts (columns)", shrink=0.85, pad=0.015
    )
    save(figure, path, VECTOR)


@own_settings()
def quantization_plot(path: Path, points: Sequence[Point], *, title: str = "") -> None:
    """Draw per width (rows) codes changed over edit size, and recovery over codes changed; a marker per
    method.

    Full-model methods are filled, local ones hollow; bars are 95 % t intervals over runs.
    """
    widths = [s for s in SCHEMES if any(p.scheme == s for p in points)]
    styles = _styles([p.method for p in points])
    figure, axes = new_figure(10.5, 3.5 * len(widths) + 0.6, 2, title, rows=len(widths))
    for i, scheme in enumerate(widths):
        left, right = axes[i]
        for p in [p for p in points if p.scheme == scheme]:
            style = styles[p.method] | {
                "markerfacecolor": "white" if p.local else styles[p.method]["color"],
                "markersize": 7,
            }
            _cross(left, p.size, p.codes, style, f"{p.method} ({'local' if p.local else 'full-model'})")
            if p.recovery:
                _cross(right, p.codes, p.recovery, style)
        left.set(xlabel="edit size, % of the norm of all weights", ylabel="codes changed, %")
        right.axhline(0, color="#7a7a7a", linewidth=0.8)
        right.set(xlabel="codes changed, %", ylabel="recovery, share of the forgetting")
        for ax in (left, right):
            ax.set_title(SCHEMES[scheme], fontsize=10)
            open_frame(ax)
            ax.grid(alpha=0.25)
            ax.margins(0.08)
        log_ticks(left.xaxis)
    drawn = [pair for row in axes for pair in zip(*row[0].get_legend_handles_labels(), strict=True)]
    shown = {
        label: handle[0] for handle, label in reversed(drawn)
    }  # a method may have one of the widths only
    labels = sorted(shown, key=_order)
    figure.legend(
        [shown[label] for label in labels], labels, frameon=False, fontsize=8, loc="outside right center"
    )
    save(figure, path, VECTOR)


def _cross(ax: Any, xs: Sample, ys: Sample, style: dict[str, Any], label: str | None = None) -> None:
    x, y = ([v[k] for k in sorted(xs.keys() & ys.keys())] for v in (xs, ys))
    if not x:
        x, y = list(xs.values()), list(ys.values())
    ax.errorbar(
        statistics.mean(x),
        statistics.mean(y),
        yerr=half_width(y) or 0.0,
        xerr=_inside(x),
        label=label,
        linewidth=0,
        elinewidth=0.9,
        capsize=2,
        **style,
    )


def _inside(values: Sequence[float]) -> list[list[float]] | None:
    """Return the interval's arms, the lower one kept above 0 so that a log axis can show it."""
    half = half_width(values)
    if half is None:
        return None
    mean = statistics.mean(values)
    return [[min(half, 0.9 * mean)], [half]]


def _figures(name: str, runs: Sequence[Any]) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield title and drawing of every figure of a table that CLIP's runs have."""
    from razor_cli.tables import figures, quantization
    from razor_cli.tables.selection import usable

    if name == "figure5":
        for title, lines in figures.swept(runs).items():
            yield title, partial(sweep_curves, curves=lines, title=title)
    if name == "figure6":
        for found in figures.matrices(runs):
            yield found.title, partial(matrix_grid, found=found)
    if name == "quantization":
        for where, own in quantization.grouped(usable(runs)).items():
            if points := quantization.points(own):
                yield where, partial(quantization_plot, points=points, title=where)


def draw_all(name: str, folder: Path, runs: Sequence[Any]) -> tuple[list[Path], list[str]]:
    """Draw the figures of one table, if it has any and something was recorded; return the files, PNG before
    its other forms, and a note on each figure that could not be drawn.
    """
    from razor_cli.tables import plots_drawn

    files: list[Path] = []
    notes: list[str] = []
    for title, figure in (*_figures(name, runs), *plots_drawn.figures(name, runs)):
        number = f"_{len(files) // (1 + len(VECTOR)) + 1}" if files else ""
        path, failed = folder / f"{name}{number}.png", len(notes)
        with at_the_cost_of_a_note(notes, f"{path.name} ({title})"):
            figure(path)
        if len(notes) == failed:
            files += [path, *(path.with_suffix(f".{form}") for form in VECTOR)]
    return files, notes
