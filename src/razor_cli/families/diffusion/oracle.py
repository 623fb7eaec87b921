"""A pipeline that was trained without the target, which a run is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from razor_cli.contract.components import Moduled, parameters
from razor_cli.contract.family import Companions
from razor_cli.engine.changes import Weights
from razor_cli.errors import WeightsError
from razor_cli.families.clip.fit import fitted
from razor_cli.families.diffusion.files import PipelineFiles
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.nets import load_part
from razor_cli.families.diffusion.oracle_files import KEY, ORACLE

FIX = "it must be of the architecture that model.weights has"


@dataclass(frozen=True, kw_only=True)
class Against:
    """The files of an oracle, and what must be said of it."""

    files: PipelineFiles | None = None
    notes: tuple[str, ...] = ()

    def read(self, family: Moduled, kind: Kind) -> Companions:
        """Return the oracle as a change of the model: all values in which the two differ, net by net, so that
        no second model is held whole. Raises WeightsError for weights of another architecture.
        """
        if self.files is None:
            return Companions(notes=self.notes)
        if self.files.kind is not kind:
            raise WeightsError(
                f"{KEY}='{self.files.source}' is another kind of pipeline",
                allowed=kind.value,
                found=self.files.kind.value,
                fix=FIX,
            )
        change = Weights(values=dict(_different(family, self.files)))
        return Companions(states={ORACLE: change}, hashes={ORACLE: self.files.digest()}, notes=self.notes)


def _different(family: Moduled, files: PipelineFiles) -> Iterator[tuple[str, Tensor]]:
    own = parameters(family)
    what = f"{KEY}='{files.source}'"
    for name, part in files.parts.items():
        mine = family.module.get_submodule(name) if name in dict(family.module.named_children()) else None
        if mine is None:
            continue  # T5, where the model goes without it
        found = load_part(part, torch.float32, f"{what}: {name}")[0]
        stored: Mapping[str, Tensor] = dict(found.named_parameters())
        for key, value in fitted(mine, stored, f"{what}: {name}", FIX).items():
            base = own[f"{name}.{key}"]
            if not torch.equal(new := value.detach().to(base), base):
                yield f"{name}.{key}", new.clone()
