"""Pictures of a run: how similarities moved, and the text-image cosine matrix before and after. Same input,
same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from razor_cli.figure import draw_matrices, name_ticks, new_figure, open_frame, own_settings, save
from razor_cli.runs.rows import table_csv

# Grey and blue differ in lightness too, so print and colour blindness lose nothing.
BEFORE, AFTER = "#7a7a7a", "#0072b2"
BINS = 30
LEGEND = 1.3  # height of a histogram with its legend, which stands above all that is drawn


@own_settings()
def similarity_histograms(
    path: Path,
    before_forget: ArrayLike,
    after_forget: ArrayLike,
    before_retain: ArrayLike,
    after_retain: ArrayLike,
    *,
    title: str = "",
) -> None:
    """Draw how the cosines of pictures with their captions [n] moved, forget and retain sets side by side."""
    pairs = {
        "Forget set": (_vector(before_forget), _vector(after_forget)),
        "Retain set": (_vector(before_retain), _vector(after_retain)),
    }
    everything = np.concatenate([values for pair in pairs.values() for values in pair])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.03 * (high - low) or 0.01
    edges = np.linspace(low - margin, high + margin, BINS + 1)
    figure, axes = new_figure(9.0, 3.6, 2, title)
    for ax, (name, (before, after)) in zip(axes, pairs.items(), strict=True):
        for values, colour, label, filled in (
            (before, BEFORE, "before", True),
            (after, AFTER, "after", False),
        ):
            style: dict[str, Any] = {"alpha": 0.45} if filled else {"histtype": "step", "linewidth": 1.8}
            share = np.full(len(values), 100 / len(values))
            ax.hist(
                values,
                bins=edges,
                weights=share,
                color=colour,
                label=f"{label}, mean {values.mean():.3f}",
                **style,
            )
            line: dict[str, Any] = {"linestyle": "--" if filled else "-", "linewidth": 1}
            ax.axvline(float(values.mean()), ymax=1 / LEGEND, color=colour, **line)
        ax.set_title(f"{name} (n = {len(before)})", fontsize=10)
        ax.set_xlabel("cosine of picture and caption")
        ax.locator_params(axis="x", nbins=6)
        open_frame(ax)
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    axes[0].set_ylabel("pictures (%)")
    top = LEGEND * max(ax.get_ylim()[1] for ax in axes)  # one scale for both
    for ax in axes:
        ax.set_ylim(0, top)
    save(figure, path)


@own_settings()
def cosine_matrices(
    path: Path,
    before: ArrayLike,
    after: ArrayLike,
    row_names: Sequence[str],
    col_names: Sequence[str],
    *,
    title: str = "",
) -> None:
    """Draw the text-image cosines [rows: pictures' concepts, columns: prompts] before and after on one colour
    scale.

    Raises ValueError when matrices and names do not fit together.
    """
    first, second = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if not first.shape == second.shape == (len(row_names), len(col_names)):
        raise ValueError(
            f"matrices {first.shape} and {second.shape} do not fit {len(row_names)} rows and "
            f"{len(col_names)} columns"
        )
    rows, cols = first.shape
    cell = max(0.2, min(0.42, 8.0 / max(rows, cols)))
    figure, axes = new_figure(2 * cell * cols + 4.6, max(2.8, cell * rows + 2.4), 2, title)
    image = draw_matrices(axes, {"before": first, "after": second}, 10)
    for ax in axes:
        name_ticks(ax.xaxis, col_names)
        ax.set_xlabel("prompt")
    axes[0].set_ylabel("pictures of")
    name_ticks(axes[0].yaxis, row_names)
    axes[1].set_yticks([])
    figure.colorbar(image, ax=axes, label="mean cosine", shrink=0.85, pad=0.015)
    save(figure, path)


def cosines_csv(before: ArrayLike, after: ArrayLike, names: Sequence[str]) -> str:
    """Return what `cosine_matrices` draws as CSV, a row per cell: concept, prompt, before, after."""
    first, second = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    rows = [
        {"concept": row, "prompt": column, "before": first[i, j], "after": second[i, j]}
        for i, row in enumerate(names)
        for j, column in enumerate(names)
    ]
    return table_csv(("concept", "prompt", "before", "after"), rows)


def _vector(values: ArrayLike) -> np.ndarray:
    vector = np.asarray(values, dtype=float).reshape(-1)
    if not len(vector) or not np.isfinite(vector).all():
        raise ValueError("a histogram needs at least one value, and finite ones only")
    return vector
