"""RAZOR and SLUG on a model that answers, searched by what the CLIP of its image tower sees: two names of a
documented failure, as what the CLIP forgets and keeps is not what the answers do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from razor_cli.contract.family import ANSWERS, BOARD, DUAL
from razor_cli.methods.razor import Razor
from razor_cli.methods.slug import Slug


@dataclass(frozen=True, kw_only=True)
class RazorByClip(Razor):
    """RAZOR with its settings, for models that answer alone."""

    needs: ClassVar[frozenset[str]] = frozenset({BOARD, DUAL, ANSWERS})


@dataclass(frozen=True, kw_only=True)
class SlugByClip(Slug):
    """SLUG with its settings, for models that answer alone."""

    needs: ClassVar[frozenset[str]] = frozenset({BOARD, DUAL, ANSWERS})
