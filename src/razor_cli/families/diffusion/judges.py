"""Classifiers that say what a picture shows, or that it shows none of what they know.

A stand-in has two of them: `search` guides the steps of a method, `exam` judges what came of it. They differ in
seed, architecture and the icons they were trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from razor_cli.errors import ConfigError, WeightsError, nearest
from razor_cli.families.diffusion.judge_net import NETS, SIDE

ROLES = ("search", "exam")
KINDS = ("style", "object", "identity", "character")
REJECT = -1  # the answer: none of the labels
BATCH = 64  # pictures at once; a judge's answer on a picture does not depend on the others


@dataclass(frozen=True, kw_only=True)
class Held:
    """A share of right answers, in percent, and the number of pictures it is of."""

    accuracy: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a judge said of pictures: the index of a label or -1, and how sure it was of it."""

    labels: Tensor  # int64 [N]
    confidence: Tensor  # float32 [N] in [0, 1]

    @property
    def rejected(self) -> Tensor:
        """Return which pictures show none of the labels, as bool [N]."""
        return self.labels == REJECT


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A classifier of one kind of label.

    `logits` maps pictures [N, 3, side, side] in [0, 1] to [N, L]; with `rejects` there is one more column than
    labels, the last: none of these. `measured` holds its accuracies by the name of what they were taken on.
    """

    kind: str
    role: str
    name: str
    labels: tuple[str, ...]
    sha256: str
    side: int
    rejects: bool
    logits: Callable[[Tensor], Tensor] = field(repr=False)
    measured: Mapping[str, Held] = field(default_factory=dict)

    @property
    def held_out(self) -> Held:
        """Return its accuracy on sources it never saw, where there are some, else on new views of those it
        saw.
        """
        for name in ("unseen", "views"):
            if name in self.measured:
                return self.measured[name]
        raise WeightsError(f"judge '{self.name}' has no held-out accuracy", fix="train it anew")

    def index(self, label: str) -> int:
        """Return the place of a label among `labels`; a label it does not know is refused."""
        if label in self.labels:
            return self.labels.index(label)
        near = nearest(label, self.labels)
        raise ConfigError(
            f"judge '{self.name}' does not know the {self.kind} '{label}'",
            allowed=", ".join(near or self.labels),
            fix="name a label of the judge, or a judge that knows it",
        )

    @torch.no_grad()
    def predict(self, pictures: Tensor) -> Answers:
        """Return the answers on pictures [N, 3, H, W] in [0, 1]."""
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures of shape [N, 3, H, W] are judged, not {list(pictures.shape)}")
        parts = [self.logits(resized(part, self.side)) for part in pictures.float().split(BATCH)]
        logits = torch.cat(parts) if parts else torch.zeros(0, len(self.labels) + self.rejects)
        confidence, labels = logits.float().softmax(1).max(1)
        return Answers(labels=labels.masked_fill(labels == len(self.labels), REJECT), confidence=confidence)


def resized(pictures: Tensor, side: int) -> Tensor:
    """Return pictures at side x side pixels."""
    if pictures.shape[-2:] == (side, side):
        return pictures
    return F.interpolate(pictures, (side, side), mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def load_judge(folder: Path, kind: str, role: str) -> Judge:
    """Return the judge of one kind and role that a folder holds as `ROLE.json` and `ROLE.safetensors`."""
    described = _description(folder / f"{role}.json")
    kinds: dict[str, Any] = described["kinds"]
    if kind not in kinds:
        raise ConfigError(
            f"'{folder / role}' judges no {kind}", allowed=", ".join(kinds), fix="choose one of these kinds"
        )
    file = folder / f"{role}.safetensors"
    net = _net(file, described)
    held = {name: Held(**value) for name, value in kinds[kind]["measured"].items()}
    return Judge(
        kind=kind,
        role=role,
        name=f"{described['name']}/{kind}/{role}",
        labels=tuple(kinds[kind]["labels"]),
        sha256=described["sha256"],
        side=SIDE,
        rejects=True,
        logits=lambda pictures: net(pictures)[kind],
        measured=held,
    )


def _description(file: Path) -> dict[str, Any]:
    try:
        described: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        raise WeightsError(
            f"no judge at '{file}'", fix="train it with scripts/train_standins.py judges"
        ) from None
    except ValueError as error:
        raise WeightsError(f"'{file}' is not a judge's description: {error}") from None
    return described


def _net(file: Path, described: Mapping[str, Any]) -> torch.nn.Module:
    """Return the network in fp32, its weights checked against the checksum and the architecture."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"no weights at '{file}'", found="its description alone") from None
    found = hashlib.sha256(data).hexdigest()
    if found != described["sha256"]:
        raise WeightsError(
            f"'{file}' is not the file that its description is of",
            allowed=f"sha256 {described['sha256']}",
            found=f"sha256 {found}",
            fix="restore the file",
        )
    heads = {kind: len(each["labels"]) for kind, each in described["kinds"].items()}
    net = NETS[described["architecture"]](heads)
    try:
        net.load_state_dict({name: _fp32(value) for name, value in load(data).items()}, strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(f"'{file}' does not hold a judge '{described['architecture']}': {error}") from None
    return net.eval().requires_grad_(False)


def _fp32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
