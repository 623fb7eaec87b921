"""A model that a program has in memory and hands over, where a command line names files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.contract.family import Family


@dataclass(frozen=True, kw_only=True)
class Handed:
    """A handed-over model, ready: its family over a copy of its own, and the settings that stand for it."""

    family: Family
    settings: Mapping[str, Any]  # of a Spec, `_target_` among them, as conf/model/*.yaml would hold them


class Handing(Protocol):
    """What `families/<family>/loaded.py` offers: the way from a model in memory to a family, and back."""

    MODEL: str  # an option of conf/model of the family, whose other files a run is composed with
    SERVED: str  # which models, in words
    BESIDE: tuple[str, ...]  # what may be given with a model: its tokenizer, for example

    def serves(self, model: object) -> bool:
        """Tell whether a model is of this family, without a library being imported for it."""
        ...

    def handed(self, model: Any, beside: Mapping[str, Any], settings: Mapping[str, Any]) -> Handed:
        """Return a model ready for a run; it stays as it is. `settings` are what was given of its Spec.

        Raises ConfigError or WeightsError for a model that cannot be served.
        """
        ...

    def write(self, model: Any, values: Mapping[str, Tensor]) -> None:
        """Put new values of weights, by the names of the family's `stored`, into a model."""
        ...

    def copied(self, model: Any) -> Any:
        """Return a copy that shares no weight with the model."""
        ...
