"""Which models are served, what may be edited in them, and how a picture becomes one vector. Imports no
torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Variant(StrEnum):
    """The models that are served, by their model_type."""

    LLAVA = "llava"  # one square of each picture
    LLAVA_NEXT = "llava_next"  # the square, and tiles at a higher resolution


class Candidates(StrEnum):
    """What may be edited."""

    VISION_EFFECTIVE = "vision_effective"  # layers of the image tower that reach the answers
    VISION_ALL = "vision_all"  # also those that only the paired CLIP's view goes through
    VISION_EFFECTIVE_PROJECTOR = "vision_effective+projector"
    PROJECTOR = "projector"

    @property
    def has_projector(self) -> bool:
        """Tell whether the projector is among them."""
        return self in (Candidates.VISION_EFFECTIVE_PROJECTOR, Candidates.PROJECTOR)


class Pool(StrEnum):
    """How the image tower's states become one vector of the paired CLIP's space."""

    CLS = "cls"  # as the CLIP does: through the last layer
    MEAN_PATCH = "mean_patch"  # the mean of what the language model sees


class Tiles(StrEnum):
    """Which tiles of a picture losses look at; the evaluation always looks at all of them."""

    BASE = "base"
    ALL = "all"


class Language(StrEnum):
    """How the language model is held; no edit changes it."""

    FULL = "full"  # in model.dtype
    INT8 = "int8"  # its layers by bitsandbytes: gradients of answers go through it


def deepest(feature_layer: int | Sequence[int], layers: int) -> int:
    """Return the number of layers behind which the deepest state is read that reaches the projector; state 0
    is what enters the first layer.
    """
    read = [feature_layer] if isinstance(feature_layer, int) else list(feature_layer)
    return max(r + layers + 1 if r < 0 else r for r in read)


def effective(feature_layer: int | Sequence[int], layers: int) -> range:
    """Return the layers of an image tower of `layers` that reach the projector."""
    return range(deepest(feature_layer, layers))
