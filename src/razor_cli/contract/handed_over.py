"""What the settings of every model promise that a program handed over: it is there, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.contract.spec import Estimate, Work
    from razor_cli.errors import Problem


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """A model in memory, by the hash of its weights and of what it does beside them."""

    stand_in: ClassVar[bool] = False  # nobody can tell, so its numbers are those of a model of yours
    argument: ClassVar[str] = "MODEL"  # of razor_cli.unlearn
    stored_in: ClassVar[str] = "folder"  # where weights of this family lie

    name: str = "in_memory"  # label in tables
    weights: str = ""  # hash

    def problems(self) -> list[Problem]:
        """Nothing is missing: the model is there."""
        return []

    def missing(self) -> str:
        """Nothing is missing."""
        return ""

    def weights_hash(self) -> str:
        """Return the hash that was taken of the model."""
        return self.weights

    def cost(self, work: Work) -> Estimate:
        """Raise ConfigError: nothing is planned for a model that lives as long as its program."""
        raise self._not_here()

    def open(self) -> Any:
        """Raise ConfigError: a model in memory is handed over, and never opened."""
        raise self._not_here()

    def _not_here(self) -> ConfigError:
        return ConfigError(
            f"model={self.name} is a model in memory, which another process does not have",
            fix=f"razor_cli.unlearn({self.argument}, TARGET) in the program that has it, "
            f"or weights in a {self.stored_in}",
        )
