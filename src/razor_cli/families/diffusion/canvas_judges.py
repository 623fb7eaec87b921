"""The benchmark's own classifiers of styles and objects: ViT-L of timm, one checkpoint per kind.

A folder of judges names them in its description: `network` for the kind, the file, its checksum. Checkpoints
are read as tensors alone, never as pickled code. They know no reject class and always name something.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from razor_cli.atomic import staged
from razor_cli.data.sources.unlearncanvas import PHOTOGRAPHS
from razor_cli.data.wording import shipped
from razor_cli.errors import ConfigError, WeightsError, headline

NETWORK = "vit_large_patch16_224.augreg_in21k"
SIDE, WIDTH = 224, 1024
STATE = "model_state_dict"  # where the benchmark's checkpoints keep their tensors


def canvas_labels(kind: str) -> list[str]:
    """Return the benchmark's labels of one kind in the order of its heads: 51 themes or 20 objects."""
    listed = shipped()["canvas"]
    if kind == "style":
        return sorted({*listed["styles"], PHOTOGRAPHS} - set(listed["beyond_the_benchmark"]))
    if kind == "object":
        return list(listed["objects"])
    raise ConfigError(f"the benchmark has no classifier of kind '{kind}'", allowed="style, object")


def sha256_of(file: Path) -> str:
    """Return the checksum of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def checkpoint(file: Path, sha256: str) -> Mapping[str, Tensor]:
    """Return the tensors of a classifier's checkpoint, once its checksum is found right."""
    try:
        found = sha256_of(file)
    except OSError:
        raise WeightsError(
            f"no classifier at '{file}'",
            allowed=f"the file with sha256 {sha256}",
            fix="fetch the benchmark's checkpoint, or train one: razor data judge ROOT --kind KIND --out DIR",
        ) from None
    if found != sha256:
        raise WeightsError(f"'{file}' is another file", allowed=f"sha256 {sha256}", found=f"sha256 {found}")
    return tensors_of(file)


def tensors_of(file: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a safetensors file, or of a pickled one that holds nothing else."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        read = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(f"'{file}' holds no tensors that can be read safely", found=error) from None
    state = read.get(STATE, read) if isinstance(read, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"'{file}' holds no classifier", allowed=f"tensors, or tensors under '{STATE}'")
    return state


def vit(count: int, *, pretrained: bool = False) -> nn.Module:
    """Return the network with a head of so many labels; needs timm. Its weights are random, or those that the
    benchmark's classifiers began with, which timm fetches.
    """
    try:
        import timm
    except ImportError:
        raise ConfigError(
            f"a judge '{NETWORK}' needs timm, which is not installed",
            fix="pip install 'razor-cli[canvas]', or judge by another classifier",
        ) from None
    try:
        net: nn.Module = timm.create_model(NETWORK, pretrained=pretrained, num_classes=count)
    except (OSError, RuntimeError) as error:  # the hub's errors of connection and of absence are OSErrors
        raise WeightsError(
            f"the weights '{NETWORK}' that training begins with cannot be fetched",
            found=headline(error),
            fix="connect to the hub once, or --net=residual",
        ) from None
    return net


def vit_logits(file: Path, sha256: str, count: int, device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """Return what maps pictures [N, 3, 224, 224] in [0, 1] to the logits of a checkpoint."""
    state = checkpoint(file, sha256)
    rows = state["head.weight"].shape[0] if "head.weight" in state else None
    if rows != count:
        raise WeightsError(
            f"'{file}' names {rows} labels" if rows else f"'{file}' has no head 'head.weight'",
            allowed=f"{count}, as its description says",
        )
    net = vit(count)
    try:
        net.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise WeightsError(f"'{file}' does not hold '{NETWORK}': {error}") from None
    net = net.float().eval().requires_grad_(False).to(device)

    def logits(pictures: Tensor) -> Tensor:
        found: Tensor = net((pictures.to(device) - 0.5) / 0.5)
        return found.cpu()

    return logits


def describe(folder: Path, role: str, kind: str, entry: Mapping[str, Any]) -> Path:
    """Write or replace the entry of one kind in a folder's description of a role, and return the file."""
    file = folder / f"{role}.json"
    described: dict[str, Any] = {"name": folder.name, "kinds": {}}
    if file.is_file():
        described = json.loads(file.read_text(encoding="utf-8"))
    described["kinds"][kind] = dict(entry)
    folder.mkdir(parents=True, exist_ok=True)
    with staged(file) as part:
        part.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        part.replace(file)
    return file


def take_checkpoint(folder: Path, role: str, kind: str, file: Path) -> Path:
    """Describe one of the benchmark's checkpoints as the judge of a kind, and return the description."""
    labels = canvas_labels(kind)
    if not file.is_file():
        raise WeightsError(f"no classifier at '{file}'", allowed="a checkpoint of the benchmark")
    head = tensors_of(file).get("head.weight")
    if head is None or head.shape != (len(labels), WIDTH):
        raise WeightsError(
            f"'{file}' is not the benchmark's classifier of kind '{kind}'",
            allowed=f"head.weight of [{len(labels)}, {WIDTH}]",
            found=list(head.shape) if head is not None else "no head.weight",
        )
    entry = {"labels": labels, "network": NETWORK, "file": str(file.absolute()), "sha256": sha256_of(file)}
    return describe(folder, role, kind, {**entry, "measured": {}})
