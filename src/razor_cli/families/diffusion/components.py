"""The parts of a pipeline as components: those of the text encoders, which edits choose among, and every
parameter that may be trained.

In SD3 the last layer of a CLIP encoder changes only the vector of the whole prompt, as the vectors of tokens
are taken before it; it stays among the candidates, as that vector steers every block of the transformer. T5
has no candidates: no image tower belongs to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice
from razor_cli.dual.components import (
    HUGGING_FACE,
    NOT_CANDIDATES,
    TowerLayout,
    layer_of,
    list_components,
)
from razor_cli.errors import ConfigError

TOWERS = {  # what edits call the parts of a pipeline
    "text_encoder": "text",
    "text_encoder_2": "text_2",
    "text_encoder_3": "text_3",
    "unet": "unet",
    "transformer": "transformer",
}
CLIP_ENCODERS = ("text_encoder", "text_encoder_2")
PROJECTION = "text_projection.weight"
SKIPPED = (*NOT_CANDIDATES, "norm")  # of single tensors: SLUG's rule for text encoders


def text_layouts(encoders: Mapping[str, nn.Module]) -> tuple[TowerLayout, ...]:
    """Return where the parameters of the CLIP encoders are, by their names in the pipeline."""
    return tuple(_layout(n, encoders[n]) for n in CLIP_ENCODERS if n in encoders)


def _layout(name: str, encoder: Any) -> TowerLayout:
    names = [f"{name}.{n}" for n, _ in encoder.named_parameters()]
    # Versions of the library differ in what precedes `layers`, so the prefix is found, not written down.
    first = next(n for n in names if ".layers.0." in n)
    config = encoder.config
    return TowerLayout(
        tower=TOWERS[name],
        prefix=first[: first.index("layers.0.") + len("layers.")],
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        projection=f"{name}.{PROJECTION}" if f"{name}.{PROJECTION}" in names else None,
        names=HUGGING_FACE,
        root=f"{name}.",
        skipped=SKIPPED,
    )


def text_components(
    layouts: Sequence[TowerLayout],
    params: Mapping[str, Tensor],
    granularity: Granularity,
    towers: Towers,
    include_projections: bool,
) -> list[Component]:
    """Return the components of the text encoders in architecture order. ConfigError where `towers` names none
    that a pipeline has.
    """
    found = list_components(tuple(layouts), params, granularity, towers, include_projections)
    if not found:
        raise ConfigError(
            f"method.towers={towers}: a model that draws has no such tower to edit",
            allowed=f"{Towers.BOTH}, {Towers.TEXT}",
            fix=f"method.towers={Towers.TEXT}",
        )
    return found


def every_tensor(layouts: Sequence[TowerLayout], module: nn.Module) -> list[Component]:
    """Return one component for each parameter of the text encoders and the net, named like it."""
    by_root = {layout.root: layout for layout in layouts}
    found = []
    for name, _ in module.named_parameters():
        part = name.partition(".")[0]
        if part not in TOWERS:
            continue
        layout = by_root.get(f"{part}.")
        layer = layer_of(name, layout) if layout else 0
        found.append(Component(name, "tensor", TOWERS[part], layer, (Slice(name),)))
    return found
