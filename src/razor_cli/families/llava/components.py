"""The parts of a LLaVA as components: layers of its image tower that reach the answers, and its projector.

A LLaVA reads a state before the last layer of its image tower, so the layers behind it and the last norm have
no effect on any answer. The CLIP's view goes through them: a ranking by its losses would choose them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice
from razor_cli.dual.components import HUGGING_FACE, TowerLayout, layer_of, list_components
from razor_cli.errors import ConfigError
from razor_cli.families.llava.kinds import Candidates, effective
from razor_cli.families.llava.names import BLOCKS, PROJECTOR, TOWER

VISION_TOWER, PROJECTOR_TOWER = "vision", "projector"  # what edits call the parts
OF_PROJECTOR = ("linear_1", "linear_2")


@dataclass(frozen=True, kw_only=True)
class Editable:
    """What may be edited of a model."""

    layout: TowerLayout  # its layers are those that may be edited
    candidates: Candidates
    layers: int  # of the image tower in all

    def owns(self, name: str) -> bool:
        """Tell whether a parameter may be edited."""
        if name.startswith(PROJECTOR):
            return self.candidates.has_projector
        if self.candidates is Candidates.PROJECTOR or not name.startswith(TOWER):
            return False
        whole = self.layout.layers == self.layers
        return whole or layer_of(name, self.layout) < self.layout.layers


def editable_of(config: Any, candidates: Candidates, prefix: str = BLOCKS) -> Editable:
    """Return what may be edited of a model with this configuration; `prefix` begins the names of
    its layers.
    """
    vision = config.vision_config
    reach = len(effective(config.vision_feature_layer, vision.num_hidden_layers))
    layers = vision.num_hidden_layers if candidates is Candidates.VISION_ALL else reach
    layout = TowerLayout(
        tower=VISION_TOWER,
        prefix=prefix,
        layers=layers,
        width=vision.hidden_size,
        heads=vision.num_attention_heads,
        projection=None,
        names=HUGGING_FACE,
        root=TOWER,
    )
    return Editable(layout=layout, candidates=candidates, layers=vision.num_hidden_layers)


def components_of(
    editable: Editable, params: Mapping[str, Tensor], granularity: Granularity, towers: Towers
) -> list[Component]:
    """Return disjoint components in architecture order, the image tower before the projector. ConfigError
    where `towers` names none that may be edited.
    """
    found: list[Component] = []
    mine = {name: value for name, value in params.items() if editable.owns(name)}
    if editable.candidates is not Candidates.PROJECTOR:
        found += list_components((editable.layout,), mine, granularity, towers, False)
    if editable.candidates.has_projector and towers.include(PROJECTOR_TOWER):
        found += projector_components(mine, granularity)
    if not found:
        has = [*dict.fromkeys(c.tower for c in components_of(editable, params, granularity, Towers.BOTH))]
        raise ConfigError(
            f"method.towers={towers}: with model.candidates={editable.candidates} there is nothing to "
            "edit in it",
            allowed=f"{Towers.BOTH}, {', '.join(t for t in has if t in tuple(Towers))}".rstrip(", "),
            fix=f"method.towers={Towers.BOTH}",
        )
    return found


def projector_components(params: Mapping[str, Tensor], granularity: Granularity) -> list[Component]:
    """Return the components of the projector: its matrices as single tensors, else each with its bias."""
    found = []
    for layer, part in enumerate(OF_PROJECTOR):
        names = [n for n in params if n.startswith(f"{PROJECTOR}{part}.")]
        if granularity is Granularity.TENSOR:
            names = [n for n in names if n.endswith("weight")]
            found += [Component(n, "tensor", PROJECTOR_TOWER, layer, (Slice(n),)) for n in names]
        else:
            slices = tuple(Slice(n) for n in sorted(names, reverse=True))
            found.append(Component(f"projector.{layer}", "mlp", PROJECTOR_TOWER, layer, slices))
    return found


def every_tensor(editable: Editable, params: Mapping[str, Tensor]) -> list[Component]:
    """Return one component for each parameter that may be edited, named like it."""
    found = []
    for name in params:
        if not editable.owns(name):
            continue
        projector = name.startswith(PROJECTOR)
        tower = PROJECTOR_TOWER if projector else VISION_TOWER
        layer = OF_PROJECTOR.index(name.split(".")[-2]) if projector else layer_of(name, editable.layout)
        found.append(Component(name, "tensor", tower, layer, (Slice(name),)))
    return found
