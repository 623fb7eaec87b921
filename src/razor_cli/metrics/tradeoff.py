"""Quality, Utility and Q-U of a two-level taxonomy (Tan & Gong, arXiv 2506.11253, 4.1.3), from accuracies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Forgotten and retained pictures, by fine and by coarse label.
ACCURACIES = ("df_fine", "df_coarse", "dr_fine", "dr_coarse")


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Top-1 accuracies of one state in [0, 1]: one number each, or one for each resample [draws]."""

    df_fine: float | NDArray[np.float64]
    df_coarse: float | NDArray[np.float64]
    dr_fine: float | NDArray[np.float64]
    dr_coarse: float | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """Quality, Utility and their harmonic mean in [0, 1] (Utility may pass 1 without the cap)."""

    quality: float | NDArray[np.float64]
    utility: float | NDArray[np.float64]
    q_u: float | NDArray[np.float64]


def tradeoff(now: Accuracies, base: Accuracies, *, cap: bool = True) -> Tradeoff:
    """Return Q = 1 - A(D_f), U = the mean of A over D_r, its parents and D_f's parents, Q-U = 2QU / (Q + U).

    A(S) is the accuracy now over that of the unedited model. `cap` holds each A of Utility to at most 1 and
    Quality to [0, 1]: the published tables only reproduce that way, though the paper does not say so. 0/0
    gives NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = {n: np.asarray(getattr(now, n), dtype=np.float64) / getattr(base, n) for n in ACCURACIES}
        quality = 1 - ratio["df_fine"]
        kept = [ratio[n] for n in ("dr_fine", "dr_coarse", "df_coarse")]
        if cap:
            quality, kept = np.clip(quality, 0, 1), [np.minimum(r, 1) for r in kept]
        utility = sum(kept) / 3
        return Tradeoff(quality=quality, utility=utility, q_u=2 * quality * utility / (quality + utility))
