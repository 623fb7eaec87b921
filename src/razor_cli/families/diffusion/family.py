"""A loaded pipeline of Stable Diffusion as a family: what draws, what reads the prompt, and everything they
offer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Companions, Quantizable, Say
from razor_cli.data.shots import DrawnSets
from razor_cli.dual.components import TowerLayout, siblings_of
from razor_cli.families.diffusion.components import every_tensor, text_components, text_layouts
from razor_cli.families.diffusion.denoiser import CORES, Denoiser
from razor_cli.families.diffusion.groups import group
from razor_cli.families.diffusion.quantizable import quantizable_of

if TYPE_CHECKING:
    from razor_cli.families.diffusion.board import DrawnBoard
    from razor_cli.families.diffusion.exam import DrawnExam


@dataclass(kw_only=True)
class Diffusion:
    """One loaded pipeline. `stored` has the tensors of its files by the names of the module, read when asked
    for; `digest` is the hash of all its files; `paired` are the CLIPs of its text encoders, by their names.
    """

    label: str
    stand_in: bool
    denoiser: Denoiser
    stored: Mapping[str, Tensor]
    digest: str
    paired: Mapping[str, Any] = field(default_factory=dict)
    layouts: tuple[TowerLayout, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.layouts = text_layouts(self.denoiser.encoders)

    @property
    def device(self) -> str:
        """Return where the model computes."""
        return self.denoiser.device

    @property
    def module(self) -> nn.Module:
        """Return the module; its parts are called as in model_index.json."""
        return self.denoiser.module

    def groups(self, name: str) -> list[str]:
        """Return the parameters of a group by its name. ConfigError lists those there are."""
        return group(self.module, self.denoiser.kind, CORES[self.denoiser.kind], name)

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components of the text encoders, in architecture order."""
        return text_components(self.layouts, parameters(self), granularity, towers, include_projections)

    def tensors(self) -> list[Component]:
        """Return one component for each parameter of the text encoders and the net, named like it."""
        return every_tensor(self.layouts, self.module)

    def siblings(self, component: Component) -> list[Component]:
        """Return the tensors of a block that belong together with one, itself included."""
        return siblings_of(component, self.components(Granularity.TENSOR, Towers.BOTH), self.layouts)

    def board(self, sets: DrawnSets, settings: Any, cost: Cost, *, fast: bool) -> DrawnBoard:
        """Return the scoreboard over the validation shots."""
        from razor_cli.families.diffusion.board import DrawnBoard

        return DrawnBoard(self, sets, settings, cost, fast=fast)

    def exam(self, sets: DrawnSets, settings: Any, cache: Any, say: Say) -> DrawnExam:
        """Return the evaluation over the evaluation shots."""
        from razor_cli.families.diffusion.exam import DrawnExam

        return DrawnExam(family=self, sets=sets, settings=settings, cache=cache, say=say)

    def quantizable(self) -> Quantizable:
        """Return what quantization covers."""
        return quantizable_of(self.module)

    def storage_dtype(self, name: str) -> torch.dtype:
        """Return the dtype a parameter has in its file (fp32 for weights that were never stored)."""
        return self.stored[name].dtype if name in self.stored else torch.float32

    def weights_hash(self) -> str:
        """Return the hash of all files of the pipeline that decide pictures."""
        return self.digest

    def companions(self, target: str) -> Companions:
        """Return nothing: no other model is held against this one."""
        return Companions()
