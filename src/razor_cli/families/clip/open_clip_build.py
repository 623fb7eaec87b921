"""An open_clip module from its configuration, with weights yet to come: nothing is fetched and nothing is
said of random weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import open_clip
import torch
from open_clip.model import set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import Tensor

from razor_cli.errors import WeightsError, headline
from razor_cli.families.clip.architectures import FOLDER, folder_preprocess
from razor_cli.families.clip.fit import fitted
from razor_cli.families.clip.served import hf_folder, is_plain


def build(config: Mapping[str, Any], preprocess: Mapping[str, Any] | None = None) -> Any:
    """Return the module that a configuration of open_clip describes, as `open_clip.create_model` builds it in
    fp32.

    That function warns of random weights where the weights are read by somebody else, and asks the hub for
    text towers of transformers; this one takes their configuration from the hub's cache. `preprocess` is what
    is known of how pictures are prepared. Raises whatever the library raises over a configuration that it
    cannot build.
    """
    own = deepcopy(dict(config))
    vision, text = own["vision_cfg"], own["text_cfg"]
    custom = own.pop("custom_text", False)
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if name := text.get("hf_model_name"):
        text |= {"hf_model_name": str(hf_folder(str(name)) or name), "hf_model_pretrained": False}
        custom = True
    kinds = open_clip.CoCa if "multimodal_cfg" in own else open_clip.CustomTextCLIP
    module = (kinds if custom else open_clip.CLIP)(**own)
    said = merge_preprocess_dict(asdict(PreprocessCfg()), dict(preprocess or {}))
    if hasattr(module.visual, "image_size"):
        said["size"] = module.visual.image_size
    set_model_preprocess_cfg(module, said)
    return module


def build_for(architecture: str, config: Mapping[str, Any], stored: Mapping[str, Tensor], what: str) -> Any:
    """Return the module of an architecture, to be filled with `stored`. Raises WeightsError where it cannot
    be built, and for towers that a folder names and its weights do not fill.
    """
    try:
        if architecture.startswith(FOLDER) and not is_plain(config):
            with torch.device("meta"):  # without memory: a tower named in a file may be of any size
                hollow = build(config)
            fitted(hollow, stored, what)
        return build(config, folder_preprocess(architecture))
    except WeightsError:
        raise
    except Exception as error:  # a folder's configuration may say anything
        raise WeightsError(
            f"model.architecture={architecture}: open_clip cannot build it", found=headline(error)
        ) from error
