"""A CLIP that a program has in memory: of open_clip or of transformers, with its tokenizer and its pictures'
preparation. Imports no torch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from razor_cli.config.schema import checked_settings
from razor_cli.contract.choices import Device
from razor_cli.contract.goals import Goals, Instead
from razor_cli.contract.handed import Handed
from razor_cli.contract.handed_over import HandedOver
from razor_cli.dual.goals import SIGMOID
from razor_cli.errors import ConfigError
from razor_cli.families.clip.hf_kinds import REFUSED
from razor_cli.families.clip.spec import ClipSpec

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.families.clip.family import Clip

MODEL = "clip_tiny"
SERVED = "an open_clip model (open_clip.create_model…), or a CLIPModel or SiglipModel of transformers"
BESIDE = ("tokenizer", "preprocess", "processor")
LIBRARIES = {
    "open_clip": ("CLIP", "CustomTextCLIP", "CoCa"),
    "transformers": ("CLIPModel", "SiglipModel", "Siglip2Model"),  # the last is refused with the reason
}


@dataclass(frozen=True, kw_only=True)
class LoadedClip(HandedOver):
    """A CLIP in memory, by the hash of its weights and of what it makes of pictures and texts."""

    family: ClassVar[str] = ClipSpec.family
    offers: ClassVar[frozenset[str]] = ClipSpec.offers
    libraries: ClassVar[tuple[str, ...]] = ClipSpec.libraries
    goals: ClassVar[Goals] = ClipSpec.goals
    losses: ClassVar[tuple[str, ...]] = ClipSpec.losses
    retain_losses: ClassVar[tuple[str, ...]] = ClipSpec.retain_losses
    in_batches: ClassVar[tuple[str, ...]] = ClipSpec.in_batches
    stored_in: ClassVar[str] = "file"

    device: Device = Device.AUTO  # auto: where the model is

    def beside(self, target: str) -> Mapping[str, str]:
        """Return no companions: an oracle is a file."""
        return {}


@dataclass(frozen=True, kw_only=True)
class LoadedSiglip(LoadedClip):
    """Likewise of a model that was trained with the sigmoid loss."""

    instead: ClassVar[Instead] = SIGMOID


def serves(model: object) -> bool:
    """Tell whether a model is a CLIP of one of the two libraries."""
    return _library(model) is not None


def _library(model: object) -> str | None:
    for cls in type(model).__mro__:
        library = cls.__module__.partition(".")[0]
        if cls.__name__ in LIBRARIES.get(library, ()):
            return library
    return None


def handed(model: Any, beside: Mapping[str, Any], settings: Mapping[str, Any]) -> Handed:
    """Return a CLIP ready for a run: a copy of its own in fp32, named by what the model is stored as."""
    from razor_cli.families.clip.load import choose_device

    _refuse(model)
    cls = LoadedSiglip if getattr(model, "logit_bias", None) is not None else LoadedClip
    found = checked_settings(cls, settings)
    library = _library(model)
    known = ("tokenizer", "preprocess") if library == "open_clip" else ("processor",)
    if strays := sorted(beside.keys() - set(known)):
        raise ConfigError(
            f"{strays[0]}: not used with a model of {library}", allowed=", ".join(known), found=strays[0]
        )
    where = str(next(model.parameters()).device.type)
    device = where if found.device is Device.AUTO else choose_device(found.device.value)
    # The state itself, not a copy: nothing of the model that was handed over is changed while it is read.
    stored = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    own = copied(model).float().to(device)
    view = _open_clip(own, beside, stored) if library == "open_clip" else _hugging_face(own, beside, stored)
    view.device, view.label = device, found.name
    digest = f"{view.weights_hash()}{view.preparation()}"
    node = {**asdict(found), "device": found.device.value, "weights": _hashed(digest)}
    return Handed(family=view, settings={"_target_": f"{__name__}.{cls.__name__}", **node})


def _refuse(model: Any) -> None:
    """Raise ConfigError for a model of transformers that is known and not served."""
    config = getattr(model, "config", None)
    kind = str(getattr(config, "model_type", None))
    name = type(model).__name__
    if kind in REFUSED:
        why, fix = REFUSED[kind]
        raise ConfigError(f"{name} is {why}", allowed=SERVED, found=f"model_type {kind}", fix=fix)
    if getattr(getattr(config, "vision_config", None), "vision_use_head", True) is not True:
        raise ConfigError(
            f"{name}: the image tower pools nothing",
            allowed=SERVED,
            found="vision_config.vision_use_head false",
        )


def _hashed(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def _open_clip(model: Any, beside: Mapping[str, Any], stored: Mapping[str, Tensor]) -> Clip:
    import open_clip
    from open_clip.transform import PreprocessCfg

    from razor_cli.families.clip.open_clip_models import open_clip_view

    tokenizer, preprocess = beside.get("tokenizer"), beside.get("preprocess")
    if preprocess is None:
        said = getattr(model.visual, "preprocess_cfg", None)
        if said is None:
            raise _needed("preprocess", "the last that open_clip.create_model_and_transforms gave")
        preprocess = open_clip.transform.image_transform_v2(PreprocessCfg(**said), is_train=False)
    if tokenizer is None:
        raise _needed("tokenizer", "open_clip.get_tokenizer(ARCHITECTURE)")
    return open_clip_view(
        "in_memory", model, tokenizer, preprocess, stored, "memory", type(model).__name__, stand_in=False
    )


def _hugging_face(model: Any, beside: Mapping[str, Any], stored: Mapping[str, Tensor]) -> Clip:
    from razor_cli.families.clip.hugging_face import hugging_face_view, prepared_by

    processor = beside.get("processor")
    if processor is None:
        raise _needed("processor", "AutoProcessor.from_pretrained(FOLDER)")
    transform = prepared_by(processor.image_processor)
    if hasattr(model, "logit_bias"):
        from razor_cli.families.clip.siglip import siglip_view

        return siglip_view("in_memory", model, processor.tokenizer, transform, stored, "memory")
    return hugging_face_view("in_memory", model, processor.tokenizer, transform, stored, "memory")


def _needed(name: str, what: str) -> ConfigError:
    return ConfigError(f"{name} is needed with this model", allowed=what, found="nothing", fix=f"{name}=…")


def write(model: Any, values: Mapping[str, Tensor]) -> None:
    """Put new values into a model, each in its own dtype and on its own device."""
    import torch

    state = model.state_dict()
    with torch.no_grad():
        for name, value in values.items():
            state[name].copy_(value.reshape(state[name].shape))


def copied(model: Any) -> Any:
    """Return a copy that shares no weight with the model."""
    return copy.deepcopy(model)
