"""Folders of LLaVA in the layout of transformers: spellings of keys, the paired CLIP whose image tower lies
with the model, and the same weights as a LLaVA-NeXT.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from razor_cli.errors import WeightsError
from razor_cli.families.clip.files import WITHOUT_TOWER
from razor_cli.families.llava.answerer import Answerer
from razor_cli.families.llava.kinds import Variant
from razor_cli.families.llava.names import INSIDE, TOWER
from razor_cli.weights.checkpoint import read_state

# Parts as the library names them in memory, and as files named them before its version 4.52, which all read.
PARTS = {
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
}


def paired_state(paired: Path, model: Path) -> dict[str, Tensor]:
    """Return all weights of a CLIP that is stored without its image tower, the tower taken from the LLaVA's
    folder. Raises WeightsError where that has none.
    """
    from safetensors.torch import load_file

    stored = read_state(model)
    tower = {INSIDE + n.removeprefix(TOWER): stored[n] for n in stored if n.startswith(TOWER)}
    if not tower:
        raise WeightsError(f"{model} holds no image tower", allowed=f"tensors called {TOWER}…")
    return load_file(paired / WITHOUT_TOWER) | tower


def load_paired(paired: Path, model: Path) -> Any:
    """Return a CLIPModel with the text tower of one folder and the image tower of a LLaVA. Raises
    WeightsError for weights that are missing or left over.
    """
    from transformers import CLIPConfig, CLIPModel

    clip = CLIPModel(CLIPConfig.from_pretrained(paired))
    fill_all(clip, paired_state(paired, model), str(paired))
    return clip.eval()


def fill_all(module: torch.nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Copy every weight of a state into a module. Raises WeightsError for those missing or left over."""
    found = module.load_state_dict({n: w.float() for n, w in state.items()}, strict=False)
    off = [*found.missing_keys, *found.unexpected_keys]
    if off:
        raise WeightsError(
            f"{what}: weights and config.json are not of one model", found=", ".join(sorted(off)[:4])
        )


def load_answerer(folder: Path) -> Answerer:
    """Return the model of a folder of transformers, ready to answer, without what else a family checks."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model: Any = LlavaForConditionalGeneration.from_pretrained(folder, local_files_only=True)
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    return Answerer(model.eval(), processor, Variant.LLAVA)


def load_next(folder: Path, pinpoints: Sequence[tuple[int, int]]) -> Any:
    """Return the weights of a LLaVA folder as a LLaVA-NeXT that reads tiles of the sizes in `pinpoints`. The
    one tensor that it has more, the end of a row of tiles, is zero.
    """
    from transformers import LlavaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration

    own = LlavaConfig.from_pretrained(folder)
    config = LlavaNextConfig(
        vision_config=own.vision_config,
        text_config=own.text_config,
        image_token_index=own.image_token_id,
        vision_feature_layer=own.vision_feature_layer,
        vision_feature_select_strategy=own.vision_feature_select_strategy,
        projector_hidden_act=own.projector_hidden_act,
        tie_word_embeddings=False,
        image_grid_pinpoints=[list(p) for p in pinpoints],
    )
    model = LlavaNextForConditionalGeneration(config)
    stored = read_state(folder)
    state = {n: stored[n] for n in stored}
    fill_all(model, state | {"model.image_newline": torch.zeros_like(model.model.image_newline)}, str(folder))
    return model.eval()
