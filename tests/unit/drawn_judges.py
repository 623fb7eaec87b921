"""Judges of drawn pictures whose answers are known: a picture's channels hold the places of what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from razor_cli.data.shots import DrawnSets, Shot
from razor_cli.families.diffusion import panel
from razor_cli.families.diffusion.judges import Held, Judge

CHANNELS = {"style": 0, "object": 1, "identity": 2}
NOTHING = 255  # in a channel: none of the judge's names
SIDE = 8

Rule = Callable[[Shot], Mapping[str, int]]  # what a picture shows otherwise than it was asked for


@dataclass
class Asked:
    """What was asked of whom, in order: roles of judges, and seeds of drawn pictures."""

    roles: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)


def write_descriptions(folder: Path, labels: Mapping[str, Sequence[str]]) -> Path:
    """Write the descriptions of a folder of classifiers, beside files that are no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    for role in ("search", "exam"):
        (folder / f"{role}.safetensors").write_text(role)
        kinds = {kind: {"labels": list(names), "measured": {}} for kind, names in labels.items()}
        (folder / f"{role}.json").write_text(
            json.dumps({"name": "coded", "sha256": sha256(role.encode()).hexdigest(), "kinds": kinds})
        )
    return folder


def use_coded(monkeypatch: pytest.MonkeyPatch, labels: Mapping[str, Sequence[str]]) -> Asked:
    """Let judges read what pictures of a `Coder` show; return the record of what they were asked."""
    asked = Asked()

    def load(folder: Path, kind: str, role: str, device: str) -> Judge:
        names = tuple(labels[kind])

        def logits(pictures: Tensor) -> Tensor:
            asked.roles += [role] * len(pictures)
            places = (255 * pictures[:, CHANNELS[kind], 0, 0]).round().long()
            places = places.masked_fill(places == NOTHING, len(names))
            return 9.0 * torch.nn.functional.one_hot(places, len(names) + 1)

        return Judge(
            kind=kind,
            role=role,
            name=f"coded/{kind}/{role}",
            labels=names,
            sha256=role * 12,
            side=SIDE,
            rejects=True,
            logits=logits,
            measured={"views": Held(accuracy=97.5, n=200)},
        )

    monkeypatch.setattr(panel, "load_judge", load)
    return asked


@dataclass
class Coder:
    """In place of a store of pictures: paints each shot's labels into the channels, as a rule
    says otherwise.
    """

    sets: DrawnSets
    labels: Mapping[str, Sequence[str]]
    asked: Asked
    rule: Rule = lambda _: {}

    def pictures(
        self, prompts: Sequence[str], seeds: Sequence[int], sampler: Any, tick: Any = lambda _: None
    ) -> Tensor:
        """Return pictures [n, 3, SIDE, SIDE] as bytes."""
        self.asked.seeds += seeds
        known = {(s.prompt, s.seed): s for s in (*self.sets.evaluation, *self.sets.validation)}
        found = torch.zeros(len(prompts), 3, SIDE, SIDE, dtype=torch.uint8)
        for row, at in enumerate(zip(prompts, seeds, strict=True)):
            shot = known[at]
            shown = {kind: self.labels[kind].index(name) for kind, name in shot.labels}
            for kind, place in {**shown, **self.rule(shot)}.items():
                found[row, CHANNELS[kind]] = place
        tick(len(prompts))
        return found
