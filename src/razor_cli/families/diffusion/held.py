"""The tensors of nets in memory as patches see them: by part and name, in the dtype that the nets have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from razor_cli.families.diffusion.files import T5
from razor_cli.families.diffusion.spelling import canonical
from razor_cli.weights.parted import Parted


class HeldTensors(Parted):
    """The states of nets that nobody changes meanwhile; nothing is copied."""

    def __init__(self, nets: Mapping[str, nn.Module]) -> None:
        self.every = tuple(nets)
        self._held: dict[str, Tensor] = {}
        for part, net in nets.items():
            for name, value in net.state_dict().items():
                if (called := canonical(name, type(net).__name__)) is not None:
                    self._held[f"{part}.{called}"] = value.detach()

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the nets that a patch binds: T5, which no edit changes, is none of them."""
        return tuple(part for part in self.every if part != T5)

    def __getitem__(self, name: str) -> Tensor:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
