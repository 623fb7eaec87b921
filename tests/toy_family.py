"""A second family: from a word to a picture, judged by a picture classifier. It has no image tower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from toy_data import Sets
from toy_net import DEPTH, Drawn, Net, distance

from razor_cli.contract.choices import Direction
from razor_cli.contract.components import Component, Slice, swapped
from razor_cli.contract.family import BOARD, RETAIN, Companions
from razor_cli.contract.goals import Goal, Meaning
from razor_cli.contract.quantizable import Quantizable
from razor_cli.contract.spec import Estimate
from razor_cli.metrics.scored import scored
from razor_cli.metrics.stats import paired_difference, wilson
from razor_cli.runs.remembered import file_hash

KNOWN = Goal(meaning=Meaning.AT_MOST, metrics=(("known",),), slopes=(("sure",),))
GOALS = {"known": KNOWN, "kept_drop": Goal(meaning=Meaning.DROP, metrics=(("kept",),))}


@dataclass(frozen=True)
class Loss:
    net: nn.Module
    direction, drifts, key = Direction.UP, False, {"name": "distance"}

    def gradient(self, part: Drawn, size: int, params: Any, tick: Any, **_: int) -> dict[str, Tensor]:
        live = {n: p for n, p in self.net.named_parameters() if n in set(params)}
        found = torch.autograd.grad(distance(self.net, part), list(live.values()))
        tick(len(part), len(part))
        return dict(zip(live, found, strict=True))


class Board:
    goals, notes = GOALS, ()

    def __init__(self, toy: Toy, sets: Sets, cost: Any) -> None:
        self.toy, self.sets, self.cost = toy, sets, cost
        self.base = self.current = self.rescore()

    def rescore(self) -> dict[str, float]:
        found = self.sets.hits(self.toy.module, "validation")
        return {n: 100 * float(v.mean()) for n, v in zip(("known", "sure", "kept"), found, strict=True)}

    def prepare(self, components: Any) -> None: ...

    def trial(self, values: Any, components: Any, **_: Any) -> dict[str, float]:
        self.cost.evaluations += 1
        with swapped(self.toy, values):
            return self.rescore()

    def commit(self, components: Any) -> dict[str, float]:
        self.current = self.rescore()
        return self.current


@dataclass(frozen=True)
class Exam:
    toy: Toy
    sets: Sets
    notes = ()

    def measure(self, key: Any, *, keep: bool = False) -> tuple[Tensor, Tensor]:
        known, _, kept = self.sets.hits(self.toy.module, "evaluation")
        return known, kept

    def scores(self, found: Mapping[Any, tuple[Tensor, Tensor]], seed: int) -> dict[Any, Any]:
        base = found["base", "none"][1]
        return {key: list(self._scores(*answers, base)) for key, answers in found.items()}

    def _scores(self, known: Tensor, kept: Tensor, base: Tensor) -> Any:
        yield scored("fa_top1", "all_classes", wilson(float(known.sum()), len(known)).scaled(100))
        yield scored("others_acc", "macro", wilson(float(kept.sum()), len(kept)).scaled(100))
        yield scored("others_acc_drop", "macro/base", paired_difference(base, kept).scaled(100))

    def draw(self, folder: Path, found: Any) -> None: ...


@dataclass
class Toy:
    module: nn.Module
    stored: Mapping[str, Tensor]
    digest: str
    budget: Any = None
    label, stand_in, device = "toy", True, "cpu"

    def storage_dtype(self, name: str) -> torch.dtype:
        return torch.float32

    def weights_hash(self) -> str:
        return self.digest

    def preparation(self) -> str:
        return ""

    def tensors(self) -> list[Component]:
        return [Component(n, "tensor", "text", -1, (Slice(n),)) for n, _ in self.module.named_parameters()]

    def components(self, *asked: Any, **more: Any) -> list[Component]:
        return [c for c in self.tensors() if "blocks" in c.name and "weight" in c.name]

    def siblings(self, component: Component) -> list[Component]:
        return [component]

    def loss(self, name: str, sets: Sets) -> Loss:
        return Loss(self.module)

    def board(self, sets: Sets, settings: Any, cost: Any, *, fast: bool, cache: Any = None) -> Board:
        return Board(self, sets, cost)

    def exam(self, sets: Sets, settings: Any, cache: Any, say: Any) -> Exam:
        return Exam(self, sets)

    def quantizable(self) -> Quantizable:
        names = dict.fromkeys([c.name for c in self.components()], "text")
        return Quantizable(linear={"text": [*names]}, counted={"text": DEPTH}, blocks=names, home=names)

    def within(self, budget: Any) -> None:
        self.budget = budget

    def companions(self, target: str) -> Companions:
        return Companions()

    def without_effect(self, change: Any, sets: Sets) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class ToySpec:
    family, offers, goals = "toy", frozenset({BOARD}), GOALS
    losses, retain_losses, libraries = ("distance", RETAIN), (RETAIN,), ("torch",)
    name: str = "toy"
    stand_in: bool = True
    weights: Path = Path("toy.safetensors")

    def problems(self) -> list[Any]:
        return []

    def missing(self) -> str:
        return ""

    def weights_hash(self) -> str:
        return file_hash(self.weights)

    def beside(self, target: str) -> dict[str, str]:
        return {}

    def cost(self, work: Any) -> Estimate:
        return Estimate(seconds=1.0, memory_mb=500.0, source="guess")

    def open(self) -> Toy:
        net, stored = Net().eval(), load_file(self.weights)
        net.load_state_dict(stored)
        return Toy(net, stored, self.weights_hash())
