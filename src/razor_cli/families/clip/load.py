"""One way to a loaded CLIP, whatever library builds it."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from razor_cli.errors import ConfigError
from razor_cli.families.clip.architectures import check_served
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import Library, salt_of
from razor_cli.families.clip.fit import weights_digest
from razor_cli.families.clip.hf_files import is_siglip
from razor_cli.families.clip.hugging_face import architecture_of, load_hugging_face
from razor_cli.families.clip.siglip import load_siglip, siglip_name
from razor_cli.families.clip.stand_in import load_stand_in
from razor_cli.families.clip.standins import DEFAULT, stand_in_folder
from razor_cli.weights.beside import CompanionFiles
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.resident import page_out


def load(
    *,
    name: str,
    library: str,
    architecture: str | None,
    weights: str | None,
    device: str,
    files: CompanionFiles | None = None,
) -> Clip:
    """Return a model on its device. Raises WeightsError when it cannot be had, ConfigError for a device that
    is not there.
    """
    logging.getLogger("root").setLevel(logging.WARNING)  # open_clip logs to the root logger while it loads
    place = choose_device(device)
    if library == Library.STAND_IN:
        model = _stand_in(name, weights, architecture or DEFAULT)
    elif library == Library.HF:
        folder = Path(weights or "").expanduser()
        model = load_siglip(name, folder) if is_siglip(folder) else load_hugging_face(name, weights)
    else:
        from razor_cli.families.clip.open_clip_models import load_open_clip

        model = load_open_clip(name, architecture or "", weights)
    model.module.to(place)
    model.device, model.beside = place, files or CompanionFiles()
    page_out(model.stored.values())
    return model


def _stand_in(label: str, weights: str | None, name: str) -> Clip:
    root = stand_in_folder(name)
    if not is_siglip(root):
        return load_stand_in(label, weights, name)
    file = Path(weights).expanduser() if weights else root / f"{name}.safetensors"
    return load_siglip(label, root, file, stand_in=name)


def stored_hash(library: str, architecture: str | None, path: Path, weights: str | None = None) -> str:
    """Return the hash that the loaded model will have, from its files alone; `weights` is what the settings
    say, which may be a tag.
    """
    if library == Library.STAND_IN:
        if is_siglip(root := stand_in_folder(architecture or DEFAULT)):
            return weights_digest(root.name, read_state(path), salt_of(root))
        return weights_digest(DEFAULT, read_state(path))
    if library == Library.HF:  # what stands beside the weights is judged before they are read
        judged = siglip_name(path) if is_siglip(path) else architecture_of(path)
        return weights_digest(judged, read_state(path), salt_of(path))
    from razor_cli.families.clip.open_clip_folder import check_followed
    from razor_cli.families.clip.open_clip_models import open_clip_salt

    name = architecture or ""
    check_followed(path, name, check_served(name, str(path)))
    return weights_digest(name, read_state(path), open_clip_salt(name, path, weights))


def choose_device(device: str) -> str:
    """Return cpu or cuda for auto, cpu or cuda."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "model.device=cuda: no CUDA device is there", allowed="auto, cpu", fix="model.device=auto"
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
