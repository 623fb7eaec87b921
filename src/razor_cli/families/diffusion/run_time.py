"""Changes of a model that draws which are no new weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from torch import Tensor

from razor_cli.contract.family import RUNTIME, Family
from razor_cli.families.diffusion.acting import present

if TYPE_CHECKING:
    from razor_cli.families.diffusion.acting import Actor
    from razor_cli.families.diffusion.opened import OpenedPipeline


@dataclass(frozen=True)
class AtRunTime:
    """Something that is done while pictures are drawn; nothing of it is stored."""

    kind: ClassVar[str] = RUNTIME

    actor: Actor

    @contextmanager
    def held(self, family: Family) -> Iterator[None]:
        """Let the actor take part in whatever the model encodes and draws."""
        with present(cast("OpenedPipeline", family).denoiser, self.actor):
            yield

    def random_like(self, family: Family, seed: int) -> str:
        """Say why there is none."""
        return "what is done at run time has no size that a random change could share"

    def tensors(self) -> Mapping[str, Tensor]:
        """Return nothing."""
        return {}
