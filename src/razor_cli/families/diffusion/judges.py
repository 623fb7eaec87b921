"""Classifiers that say what a picture shows, or that it shows none of what they know.

A stand-in has two of them: `search` guides the steps of a method, `exam` judges what came of it. They differ
in seed, architecture and the icons they were trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.errors import ConfigError, WeightsError, nearest
from razor_cli.families.diffusion.canvas_judges import NETWORK, checkpoint, vit_logits
from razor_cli.families.diffusion.canvas_judges import SIDE as VIT_SIDE
from razor_cli.families.diffusion.judge_net import NETS, SIDE

ROLES = ("search", "exam")
KINDS = ("style", "object", "identity", "character")
REJECT = -1  # the answer: none of the labels
HELD_OUT = ("rebuilt", "views")  # which measure is printed: after the autoencoder, as drawn pictures are
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

    `logits` maps pictures [N, 3, side, side] in [0, 1] to [N, L]; with `rejects` there is one more column
    than labels, the last: none of these. `measured` holds its accuracies by what they were taken on.
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
    def held_out(self) -> Held | None:
        """Return its accuracy on pictures that it was not trained on; None if nobody measured it."""
        return next((self.measured[name] for name in HELD_OUT if name in self.measured), None)

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
    return F.interpolate(pictures, (side, side), mode="bilinear", align_corners=False, antialias=True).clamp(
        0, 1
    )


def load_judge(folder: Path, kind: str, role: str, device: str = "cpu") -> Judge:
    """Return the judge of one kind and role that a folder describes in `ROLE.json`; the benchmark's networks
    answer on a device, the small ones on the CPU.

    Without a network and a file of its own, a kind is a head of the one in `ROLE.safetensors`.
    """
    described = _description(folder / f"{role}.json")
    kinds: dict[str, Any] = described["kinds"]
    if kind not in kinds:
        raise ConfigError(
            f"'{folder / role}' judges no {kind}", allowed=", ".join(kinds), fix="choose one of these kinds"
        )
    entry = kinds[kind]
    labels = tuple(entry["labels"])
    sha256 = entry.get("sha256") or described["sha256"]
    whole = entry.get("network") == NETWORK
    file = folder / entry.get("file", f"{role}.safetensors")
    if whole:
        logits, side = vit_logits(file, sha256, len(labels), device), VIT_SIDE
    else:
        logits, side = _head(file, described, kind), entry.get("side", SIDE)
    return Judge(
        kind=kind,
        role=role,
        name=f"{described['name']}/{kind}/{role}",
        labels=labels,
        sha256=sha256,
        side=side,
        rejects=not whole,
        logits=logits,
        measured={name: Held(**value) for name, value in entry["measured"].items()},
    )


def _description(file: Path) -> dict[str, Any]:
    try:
        described: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(
            f"no judge at '{file}'", fix="train it: razor data judge ROOT --kind KIND --out DIR"
        ) from None
    except ValueError as error:
        raise WeightsError(f"'{file}' is not a judge's description: {error}") from None
    return described


def _head(file: Path, described: Mapping[str, Any], kind: str) -> Callable[[Tensor], Tensor]:
    """Return one head of a small network in fp32, checked against its checksum and architecture."""
    kinds = described["kinds"]
    alone = "sha256" in kinds[kind]
    mine = {kind: kinds[kind]} if alone else {k: v for k, v in kinds.items() if "sha256" not in v}
    architecture = kinds[kind]["network"] if alone else described["architecture"]
    if architecture not in NETS:
        raise WeightsError(f"'{file}': no network '{architecture}'", allowed=", ".join([*NETS, NETWORK]))
    state = checkpoint(file, kinds[kind]["sha256"] if alone else described["sha256"])
    net = NETS[architecture]({name: len(each["labels"]) for name, each in mine.items()})
    try:
        net.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in state.items()})
    except RuntimeError as error:
        raise WeightsError(f"'{file}' does not hold a judge '{architecture}': {error}") from None
    net.eval().requires_grad_(False)
    return lambda pictures: net(pictures)[kind]
