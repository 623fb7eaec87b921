"""What quantization covers of a LLaVA, and the counts that prove it: the matrices of image tower, projector
and language model; its head stays as it is.

All layers of the image tower are covered, those that reach no answer too. Weights are found by their names,
and counted by the classes of the modules around them.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from razor_cli.contract.quantizable import Quantizable
from razor_cli.families.llava.components import PROJECTOR_TOWER, VISION_TOWER
from razor_cli.families.llava.names import LANGUAGE, PROJECTOR, TOWER

LANGUAGE_TOWER = "language"
FORMS = {
    VISION_TOWER: re.compile(r"layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])\.weight"),
    PROJECTOR_TOWER: re.compile(r"linear_[12]\.weight"),
    LANGUAGE_TOWER: re.compile(r"layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)\.weight"),
}
ROOTS = {VISION_TOWER: TOWER, PROJECTOR_TOWER: PROJECTOR, LANGUAGE_TOWER: LANGUAGE}


def quantizable_of(module: Any) -> Quantizable:
    """Return what covers a model. Layers whose weights are integers already count neither way."""
    names = [n for n, p in module.named_parameters() if p.is_floating_point()]
    towers = {n: t for n in names for t, root in ROOTS.items() if n.startswith(root)}
    layers = {
        VISION_TOWER: module.model.vision_tower.encoder.layers,
        PROJECTOR_TOWER: module.model.multi_modal_projector,
        LANGUAGE_TOWER: module.model.language_model.layers,
    }
    inside = {id(p) for part in layers.values() for p in part.parameters()}
    return Quantizable(
        linear={t: [n for n in names if towers.get(n) == t and FORMS[t].search(n)] for t in ROOTS},
        counted={t: sum(type(m) is nn.Linear for m in part.modules()) for t, part in layers.items()},
        blocks={n: towers[n] for n, p in module.named_parameters() if n in towers and id(p) in inside},
        home=towers,
        convolutions={VISION_TOWER: [f"{TOWER}embeddings.patch_embedding.weight"]},
    )
