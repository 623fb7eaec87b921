"""One way to a loaded model, whatever library builds it."""

from __future__ import annotations

import torch

from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.libraries import load_hugging_face, load_open_clip, load_stand_in
from razor_cli.families.clip.standins import DEFAULT


def load(*, name: str, library: str, architecture: str | None, weights: str | None, device: str) -> Clip:
    """Return a model on its device. Raises WeightsError when it cannot be had, ConfigError for a device that
    is not there.
    """
    place = choose_device(device)
    if library == "stand_in":
        model = load_stand_in(name, weights, architecture or DEFAULT)
    elif library == "hf":
        model = load_hugging_face(name, weights)
    else:
        model = load_open_clip(name, architecture or "", weights)
    model.module.to(place)
    model.device = place
    return model


def choose_device(device: str) -> str:
    """Return cpu or cuda for auto, cpu or cuda."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "model.device=cuda: no CUDA device is there", allowed="auto, cpu", fix="model.device=auto"
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
