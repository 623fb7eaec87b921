"""What a loaded model promises: its components, losses, boards, exams and what quantization covers.

Nothing here is inherited from. A family is a folder below `families/` whose classes have these shapes; what
stands above them in the house knows the shapes only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from razor_cli.contract.place import Key

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from razor_cli.contract.budget import Budget
    from razor_cli.contract.choices import Direction, Granularity, Towers
    from razor_cli.contract.components import Component
    from razor_cli.contract.cost import Cost
    from razor_cli.contract.goals import Goals
    from razor_cli.contract.quantizable import Quantizable
    from razor_cli.metrics.score import Score

BOARD, DUAL = "board", "dual"  # what a family may offer, and a method need
CLASSES = "classes"  # its sets are pictures that two towers tell apart by the names of classes
DENOISER = "denoiser"  # pictures are drawn from noise by a net that prompts steer
ANSWERS = "answers"  # its `answerer` answers questions about pictures, and about none
WEIGHTS, ADAPTER, RUNTIME = "weights", "adapter", "runtime"  # kinds of change
RETAIN = "retain"  # the name of every family's loss on what must stay

Metrics = Mapping[str, float]  # of a board: name -> value in printed units
Named = dict[str, "Tensor"]  # parameter -> value or gradient
Say = Callable[[str], None]
Tick = Callable[[int, int], None]  # told of pictures sent forward, and of those sent backward


class Change(Protocol):
    """What an edit does to a model: other weights, something put beside them, or something done
    at run time.
    """

    @property
    def kind(self) -> str:
        """Return WEIGHTS, ADAPTER or RUNTIME."""
        ...

    def held(self, family: Family) -> AbstractContextManager[object]:
        """Hold the change in the model, and restore every bit on leaving. Changes nest."""
        ...

    def random_like(self, family: Family, seed: int) -> Change | str:
        """Return a change of the same size in a random direction, the control of this one; or why there is
        none.
        """
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Return what a patch stores, by name; nothing for a change at run time."""
        ...


class Loss(Protocol):
    """A loss over a part, whose gradient methods ask for by its name."""

    @property
    def direction(self) -> Direction:
        """Return which way along the loss forgets: no method guesses a sign."""
        ...

    @property
    def drifts(self) -> bool:
        """Tell whether minus the loss is the mean similarity of the pairs, up to a constant.

        Then the gradient of the signed mismatch on the same pairs is minus its own.
        """
        ...

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and examples (prompts, scale, draws)."""
        ...

    def gradient(
        self, part: Any, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the mean of the gradients of batches of `size` for `params`, `chunk` examples in memory at
        once.
        """
        ...

    def anchored(self, base: Change, cache: Any = None) -> Loss:
        """Return the loss against what the model said under `base`, the unedited weights (mismatch). `cache`
        may keep what costs much and is the same in another run.
        """
        ...


class Board(Protocol):
    """The scoreboard of a step search: validation data only, cheap, no intervals."""

    @property
    def notes(self) -> Sequence[str]:
        """Return what a reader of the run must know of how trials were judged; read when the edit is done."""
        ...

    @property
    def goals(self) -> Goals:
        """Return what a method's `target` and `floor` may name."""
        ...

    @property
    def base(self) -> Metrics:
        """Return the metrics of the unedited model."""
        ...

    @property
    def current(self) -> Metrics:
        """Return the metrics of the weights that were committed last."""
        ...

    def prepare(self, components: Sequence[Component]) -> None:
        """Get ready for trials of these components, with the committed weights in place."""
        ...

    def trial(
        self,
        values: Mapping[str, Tensor],
        components: Sequence[Component],
        *,
        wanted: Collection[str] | None = None,
        lost: Callable[[Metrics], bool] | None = None,
    ) -> Metrics:
        """Return metrics with `values` in place of the named parameters of `components`.

        `wanted`: names of the only metrics that are needed. `lost` tells whether metrics rule a trial out: it
        may be asked half-way, with everything not looked at yet counted as right, and if even then it says so
        those metrics are returned.
        """
        ...

    def commit(self, components: Sequence[Component], *, wanted: Collection[str] | None = None) -> Metrics:
        """Take the weights as they are now for granted and return what was looked at: all that is `wanted`.
        In `current` the rest may be as it was known before.
        """
        ...

    def rescore(self) -> Metrics:
        """Return metrics of the weights as they are now, everything computed anew."""
        ...


class Exam(Protocol):
    """The evaluation: each state of the model once, on data that no edit has looked at."""

    @property
    def notes(self) -> Sequence[str]:
        """Return what a reader of the scores must know, such as who judged."""
        ...

    def measure(self, key: Mapping[str, object] | None, *, keep: bool = False) -> Any:
        """Return what the weights as they are now answer; `key`, if given, names them for the cache.

        `keep` also holds on to what `draw` needs, and does what is asked for in full precision only.
        """
        ...

    def scores(self, found: Mapping[Key, Any], seed: int) -> Mapping[Any, list[Score]]:
        """Return the scores of every state and quantization by its Key, those of attacks by Place."""
        ...

    def draw(self, folder: Path, found: Mapping[Key, Any]) -> None:
        """Write the pictures of a run."""
        ...


@dataclass(frozen=True, kw_only=True)
class Companions:
    """Other models of the same architecture that a run is held against, by the state they are
    evaluated as.
    """

    states: Mapping[str, Change] = field(default_factory=dict)  # oracle, reseeded
    hashes: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each, for the cache
    notes: tuple[str, ...] = ()


class Family(Protocol):
    """One loaded model. Its weights never change outside `Change.held` and `contract.components.swapped`."""

    label: str  # in tables
    stand_in: bool
    budget: Budget | None  # what it may take; None: nobody said

    @property
    def device(self) -> str:
        """Return where the model computes, as torch names it."""
        ...

    @property
    def module(self) -> nn.Module:
        """Return the module; its parameter names are those of components, edits and patches."""
        ...

    @property
    def stored(self) -> Mapping[str, Tensor]:
        """Return the checkpoint's tensors as stored: what patches and hashes refer to."""
        ...

    def storage_dtype(self, name: str) -> torch.dtype:
        """Return the dtype a parameter has in its file."""
        ...

    def weights_hash(self) -> str:
        """Return the hash of the weights as stored, the same as their settings give without loading."""
        ...

    def within(self, budget: Budget) -> None:
        """Keep to a budget from now on: it says how many examples are taken at once."""
        ...

    def preparation(self) -> str:
        """Return the hash of what else decides answers, as the loaded model shows it on made-up input: how
        pictures and texts become tensors, and what its configuration changes. Part of every cache's keys.
        """
        ...

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components in architecture order."""
        ...

    def tensors(self) -> list[Component]:
        """Return one component for each parameter, named like it: what methods that train may change."""
        ...

    def siblings(self, component: Component) -> list[Component]:
        """Return the tensors that belong together with one (q, k and v; both matrices of an MLP), itself
        included.
        """
        ...

    def loss(self, name: str, sets: Any) -> Loss:
        """Return a loss by name, RETAIN among them. Raises ConfigError that lists the names there are."""
        ...

    def board(self, sets: Any, settings: Any, cost: Cost, *, fast: bool, cache: Any = None) -> Board:
        """Return a scoreboard over validation data; `settings` are the exam's. `cache` may keep what costs
        much and is the same in another run.
        """
        ...

    def exam(self, sets: Any, settings: Any, cache: Any, say: Say) -> Exam:
        """Return the evaluation over evaluation data."""
        ...

    def quantizable(self) -> Quantizable:
        """Return what quantization covers."""
        ...

    def companions(self, target: str) -> Companions:
        """Return the models that a run on this target is held against; none for most."""
        ...

    def without_effect(self, change: Change, sets: Any) -> str | None:
        """Return why a change that should forget has no effect on the target: no weight differs, or what the
        model gives for it does not. None where it has one, or where such an edit is a result like another.
        """
        ...


class TwoTowered(Protocol):
    """A family that offers DUAL."""

    def dual(self, tower: str = "") -> Any:
        """Return the pair of towers with one space (dual.view.DualEncoder)."""
        ...


class Drawing(Protocol):
    """A family that offers DENOISER."""

    def supplies(self, cache: Any) -> Any:
        """Return what data asks the unedited model for: `draw` and `embed`, as data.ask has them; `cache`
        keeps what was drawn.
        """
        ...
