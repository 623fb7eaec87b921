"""A LLaVA that was opened: its parts, components, the paired towers, and what quantization covers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from razor_cli.contract.budget import Budget
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters, swapped
from razor_cli.contract.family import Change, Companions
from razor_cli.contract.quantizable import Quantizable
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.components import layer_of, siblings_of
from razor_cli.families.diffusion.stored import StoredTensors
from razor_cli.families.llava.answerer import Answerer, Looker
from razor_cli.families.llava.components import Editable, components_of, every_tensor
from razor_cli.families.llava.held import HeldTensors, InMemory
from razor_cli.families.llava.load import OnDisk
from razor_cli.families.llava.memory import at_once
from razor_cli.families.llava.names import TOWER
from razor_cli.families.llava.preparation import preparation_of
from razor_cli.families.llava.quantizable import quantizable_of
from razor_cli.families.llava.tower import SharedTower


@dataclass(kw_only=True)
class OpenedLlava:
    """One loaded model. Its language model is read when `answerer` is asked for; what may be edited is there
    from the start.
    """

    label: str
    stand_in: bool
    disk: OnDisk | InMemory
    shared: SharedTower
    editable: Editable
    digest: str  # hash of all its files
    beside: str = ""  # hash of the paired CLIP's files
    min_alignment: float = 0.5
    budget: Budget | None = None
    _checked: set[str] = field(default_factory=set, init=False, repr=False)
    _preparation: str | None = field(default=None, init=False)

    @property
    def device(self) -> str:
        """Return where the model computes."""
        return self.disk.device

    @property
    def module(self) -> nn.Module:
        """Return the module, named as in transformers."""
        found: nn.Module = self.disk.module
        return found

    @property
    def stored(self) -> StoredTensors | HeldTensors:
        """Return the tensors of the files by the names of the module, read when asked for."""
        return self.disk.stored

    @property
    def at_once(self) -> int:
        """Return how many pictures a gradient pass keeps at once, at most."""
        return at_once(self.disk.files, str(self.disk.dtype).removeprefix("torch."))

    @property
    def looker(self) -> Looker:
        """Return the part that looks at pictures."""
        return self.disk.looker

    @property
    def answerer(self) -> Answerer:
        """Return the model that answers; its language model is read the first time."""
        return self.disk.answerer

    def __post_init__(self) -> None:
        live = dict(self.module.named_parameters())
        for component in self.tensors():
            live[component.name].requires_grad_(True)

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components of what may be edited, in architecture order."""
        return components_of(self.editable, parameters(self), granularity, towers)

    def tensors(self) -> list[Component]:
        """Return one component for each parameter that may be edited, named like it."""
        return every_tensor(self.editable, parameters(self))

    def siblings(self, component: Component) -> list[Component]:
        """Return the tensors of a block that belong together with one, itself included."""
        every = self.components(Granularity.TENSOR, Towers.BOTH)
        return siblings_of(component, every, (self.editable.layout,))

    def dual(self, tower: str = "") -> SharedTower:
        """Return the image tower with the text tower of its CLIP."""
        return self.shared

    def within(self, budget: Budget) -> None:
        """Keep to a budget from now on."""
        self.budget = self.shared.budget = budget

    def aligned(self, sets: ConceptSets) -> SharedTower:
        """Return the two towers after a check on the retain pictures of `sets` that they fit. Raises
        WeightsError where they do not.
        """
        key = sets.validation.retain.fingerprint()
        if key not in self._checked:
            with self.at_base():
                self.shared.check_aligned(sets, self.min_alignment)
            self._checked.add(key)
        return self.shared

    @contextmanager
    def at_base(self) -> Iterator[None]:
        """Hold what may be edited as the files have it, whatever an edit has put there."""
        names = [component.name for component in self.tensors()]
        with swapped(self, {name: self.disk.stored[name] for name in names}):
            yield

    def dead(self, names: Collection[str]) -> list[str]:
        """Return which of these parameters have no effect on any answer: those of the image tower behind the
        state that the projector reads.
        """
        reach = self.disk.files.depth
        layout = self.editable.layout
        after = {n for n in names if n.startswith(TOWER) and "post_layernorm" in n}
        return [n for n in names if n in after or (n.startswith(TOWER) and layer_of(n, layout) >= reach)]

    def without_effect(self, change: Change, sets: ConceptSets) -> str | None:
        """Return why a change has no effect on the answers: no weight differs, or none of those that do
        reaches them.
        """
        live = parameters(self)
        moved = [
            n for n, v in change.tensors().items() if n not in live or not torch.equal(v.to(live[n]), live[n])
        ]
        if change.kind == "weights" and not moved:
            return "no weight differs from the unedited model's"
        if moved and len(self.dead(moved)) == len(moved):
            return f"{len(moved)} tensors differ, and none of them reaches an answer: {', '.join(moved[:3])}"
        return None

    def quantizable(self) -> Quantizable:
        """Return what quantization covers: all three parts. The language model is read for it."""
        return quantizable_of(self.answerer.module)

    def storage_dtype(self, name: str) -> torch.dtype:
        """Return the dtype a parameter has in its file (fp32 for weights that were never stored)."""
        return self.disk.stored.dtype(name) if name in self.disk.stored else torch.float32

    def weights_hash(self) -> str:
        """Return the hash of all files that decide answers."""
        return self.digest

    def preparation(self) -> str:
        """Return the hash of what processor, templates and settings do beside the weights, and of the CLIP
        beside the image tower.
        """
        if self._preparation is None:
            self._preparation = preparation_of(self.disk, self.shared, self.beside)
        return self._preparation

    def companions(self, target: str) -> Companions:
        """Return nothing: no other model is held against this one."""
        return Companions()
