"""What one state of a model that draws did: what judges said of its pictures, and what else scores need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

PICTURES, FEATURES, LIKENESS = "pictures", "features", "likeness"
SAID = "said."  # before the kind of name
PROBED = "probed."  # before the probe and the kind of name


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers on every evaluation shot; `features` and `likeness` are of those without the target."""

    said: Mapping[str, Tensor]  # kind -> [n] place of a label, REJECT or UNASKED
    features: Tensor | None = None  # [m, d] for FID
    likeness: Tensor | None = None  # [m] CLIPScore
    # probe -> kind -> the same on the pictures of a probe
    probed: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    pictures: Tensor | None = field(default=None, repr=False)  # of the shots that pictures.png shows

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """Return what was said, as scoring takes it."""
        return {kind: said.numpy() for kind, said in self.said.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return everything by name, as a cache keeps it."""
        more = {PICTURES: self.pictures, FEATURES: self.features, LIKENESS: self.likeness}
        found = {SAID + k: v for k, v in self.said.items()}
        found |= {f"{PROBED}{p}.{k}": v for p, said in self.probed.items() for k, v in said.items()}
        return found | {k: v for k, v in more.items() if v is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Answers:
        """Return answers from what a cache kept."""
        said = {k.removeprefix(SAID): v for k, v in tensors.items() if k.startswith(SAID)}
        more = {name: tensors.get(name) for name in (PICTURES, FEATURES, LIKENESS)}
        probed: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(PROBED):
                probe, kind = key.removeprefix(PROBED).split(".", 1)
                probed.setdefault(probe, {})[kind] = value
        return cls(said=said, probed=probed, **more)
