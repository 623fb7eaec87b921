"""What the settings of a model promise before anything is loaded: what is wrong or missing, hashes, cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from razor_cli.contract.family import Family
    from razor_cli.contract.goals import Goals
    from razor_cli.errors import Problem


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a job does, counted: what an estimate of its cost is made of."""

    seen: int  # examples whose gradients an epoch takes
    tried: int  # examples of a trial of a step search
    judged: int  # examples of one evaluation
    epochs: float
    trained: bool  # an optimiser keeps its memory
    trials: float
    states: int  # evaluations
    processes: int
    attacks: int = 0  # states that are attacked
    asked: int = 0  # examples that attacks judge, of one state
    learnt: int = 0  # examples whose gradients attacks take, of one state


@runtime_checkable
class Attacking(Protocol):
    """Settings of an exam that attacks every state in full precision."""

    def attacked(self, targets: int) -> tuple[int, int]:
        """Return how many examples attacks judge of one state, and of how many they take gradients, where so
        many of the target are judged.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds and peak memory in MB (2**20 bytes) of one job, and where they come from."""

    seconds: float
    memory_mb: float
    source: str


class Spec(Protocol):
    """The settings that a model is opened from; conf/model/*.yaml. A frozen dataclass that
    imports no torch.
    """

    family: ClassVar[str]
    offers: ClassVar[frozenset[str]]  # BOARD, DUAL …
    libraries: ClassVar[tuple[str, ...]]  # distributions that compute, for provenance
    goals: ClassVar[Goals]  # what a method's `target` and `floor` may name
    losses: ClassVar[tuple[str, ...]]  # what its `forget_loss` may name
    retain_losses: ClassVar[tuple[str, ...]]  # what its `retain_loss` may name, RETAIN among them

    @property
    def name(self) -> str:
        """Return the label in tables."""
        ...

    @property
    def stand_in(self) -> bool:
        """Tell whether the model is a stand-in, whose numbers are never printed in a column of a real one."""
        ...

    def problems(self) -> list[Problem]:
        """Return what keeps the model from being opened, found before any weight is read."""
        ...

    def missing(self) -> str:
        """Return what is missing before the model can be opened without a network, or nothing."""
        ...

    def weights_hash(self) -> str:
        """Return the hash of the weights, from the files and remembered: nothing is loaded twice for it."""
        ...

    def beside(self, target: str) -> Mapping[str, str]:
        """Return the hashes of the companions of a run on this target, by state."""
        ...

    def cost(self, work: Work) -> Estimate:
        """Return what a job would cost, counted."""
        ...

    def open(self) -> Family:
        """Return the loaded model on its device. Raises WeightsError or ConfigError where it
        cannot be had.
        """
        ...
