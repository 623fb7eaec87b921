"""SLUG by a loss that only models that draw have: prompts of the target come to mean what stands in its
place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from razor_cli.contract.family import BOARD, DENOISER
from razor_cli.methods.slug import Slug


@dataclass(frozen=True, kw_only=True)
class DrawnSlug(Slug):
    """SLUG with its settings, for models that draw alone."""

    needs: ClassVar[frozenset[str]] = frozenset({BOARD, DENOISER})

    forget_loss: str = "anchor"
