"""UCE's closed form: new values of a matrix that send some rows elsewhere and keep what others give.

W* = (l W + e sum v_i c_i' + r sum (W c_j) c_j') (l I + e sum c_i c_i' + r sum c_j c_j')^-1, where c_i are
rows to erase, v_i what they should give, c_j rows to keep. What is kept enters as one matrix, sum c_j c_j',
the same for every W; with M the matrix in the second bracket, W* = W + e (V - W C) C' M^-1. All in fp64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from razor_cli.methods.diffusion.choices import Solver

CHUNK = 4096  # rows that are multiplied at once in fp64


def gram(rows: Tensor) -> Tensor:
    """Return sum c c' of rows [n, d] in fp64."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64, device=rows.device)
    for part in rows.split(CHUNK):
        wide = part.double()
        total.addmm_(wide.T, wide)
    return total


class ClosedForm:
    """The part of the solution that all matrices share: e C' M^-1 for rows to erase C [n, d]."""

    def __init__(
        self,
        erase: Tensor,
        kept: Tensor,
        *,
        lamb: float,
        erase_scale: float,
        preserve_scale: float,
        solver: Solver = Solver.AUTO,
    ) -> None:
        self.rows = erase.double()
        rows, width = len(erase) + len(kept), erase.shape[1]
        few = rows < width if solver is Solver.AUTO else solver is Solver.WOODBURY
        if few:
            stacked = torch.cat([erase_scale**0.5 * self.rows, preserve_scale**0.5 * kept.double()])
            inverse = _by_rows(stacked, self.rows.T, lamb)
        else:
            matrix = erase_scale * gram(erase) + preserve_scale * gram(kept)
            matrix.diagonal().add_(lamb)
            inverse = torch.cholesky_solve(self.rows.T, torch.linalg.cholesky(matrix))
        self.right = erase_scale * inverse.T

    def edited(self, weight: Tensor, wanted: Tensor) -> Tensor:
        """Return W* [o, d] in fp64 where the erased rows should give `wanted` [n, o]."""
        wide = weight.double()
        return wide + (wanted.double() - self.rows @ wide.T).T @ self.right


def _by_rows(stacked: Tensor, right: Tensor, lamb: float) -> Tensor:
    """Return (l I + X'X)^-1 B by Woodbury's identity, which inverts a matrix of the size of X's rows."""
    inner = stacked @ stacked.T
    inner.diagonal().add_(lamb)
    middle = torch.cholesky_solve(stacked @ right, torch.linalg.cholesky(inner))
    return (right - stacked.T @ middle) / lamb


def replaced(weight: Tensor, anchor: Tensor) -> Tensor:
    """Return what rows give that stand in the target's place [n, o]: technique `replace`."""
    return anchor.double() @ weight.double().T


def projected(weight: Tensor, erase: Tensor, anchor: Tensor) -> Tensor:
    """Return the anchor's output without its part along the target's own [n, o]: technique `tensor`."""
    own, other = replaced(weight, erase), replaced(weight, anchor)
    along = own / own.norm(dim=1, keepdim=True).clamp_min(torch.finfo(own.dtype).tiny)
    return other - (other * along).sum(dim=1, keepdim=True) * along


def revived(pairs: Sequence[tuple[Tensor, Tensor]], rows: Tensor, gamma: float) -> Tensor:
    """Return rows c' [n, d] in fp64 that come nearest to giving under edited matrices W what `rows` gave
    under the unedited ones W_0, over all pairs (W, W_0): (g I + sum W'W)^-1 sum W'W_0 c.
    """
    width = rows.shape[1]
    matrix = torch.zeros(width, width, dtype=torch.float64, device=rows.device)
    right = torch.zeros_like(matrix)
    for edited, unedited in pairs:
        wide = edited.double()
        matrix.addmm_(wide.T, wide)
        right.addmm_(wide.T, unedited.double())
    matrix.diagonal().add_(gamma)
    return torch.cholesky_solve(right @ rows.double().T, torch.linalg.cholesky(matrix)).T
