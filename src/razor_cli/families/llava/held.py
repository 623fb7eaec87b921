"""The tensors of a LLaVA in memory as patches see them, in the dtype that the model has; and such a model as
the rest of the family knows one on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from razor_cli.families.llava.answerer import Answerer, Looker
from razor_cli.families.llava.files import LlavaFiles
from razor_cli.families.llava.kinds import Language
from razor_cli.weights.parted import Parted, part_of


class HeldTensors(Parted):
    """The parameters of a model that nobody changes meanwhile; nothing is copied."""

    def __init__(self, module: nn.Module) -> None:
        self._held = {name: value.detach() for name, value in module.named_parameters()}

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the parts that a patch binds."""
        return tuple(dict.fromkeys(map(part_of, self._held)))

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype of a tensor."""
        return self._held[name].dtype

    def __getitem__(self, name: str) -> Tensor:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


@dataclass(kw_only=True)
class InMemory:
    """A model whose weights are all there, by the settings that it has."""

    files: LlavaFiles  # none on disk: what its configuration says
    module: Any
    stored: HeldTensors  # of the model that was handed over, by the names of the module
    processor: Any
    dtype: torch.dtype
    device: str
    language: Language = Language.FULL

    @property
    def answerer(self) -> Answerer:
        """Return the model that answers."""
        return Answerer(self.module, self.processor, self.files.variant)

    @property
    def looker(self) -> Looker:
        """Return the part of the model that looks at pictures."""
        return self.answerer


def settings_of(module: Any) -> Mapping[str, Any]:
    """Return the configuration of a model as its file would have it."""
    found: Mapping[str, Any] = module.config.to_dict()
    return found
