"""Train a judge of styles or of objects on a folder of UnlearnCanvas: the first 18 of 20 pictures of a cell
train it, the rest measure it. A killed training goes on from its last checkpoint.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from razor_cli.atomic import staged
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.unlearncanvas import UnlearnCanvas
from razor_cli.errors import ConfigError, DataError
from razor_cli.families.diffusion.canvas_judges import (
    NETWORK,
    canvas_labels,
    describe,
    sha256_of,
    vit,
)
from razor_cli.families.diffusion.canvas_judges import SIDE as VIT_SIDE
from razor_cli.families.diffusion.judge_net import NETS
from razor_cli.families.diffusion.judge_pictures import SPOILERS

SMALL = tuple(NETS)
SPOILED = 8  # one picture in so many is spoiled and shows none of the labels
Tell = Callable[[int, int, float], None]  # batches done, of how many, the loss


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is trained on what, and for how long."""

    root: Path
    kind: str
    out: Path
    role: str = "exam"
    network: str = "residual"
    side: int = 128
    epochs: int = 10
    batch: int = 64
    lr: float = 2e-3
    seed: int = 0
    every: int = 100  # batches between checkpoints

    def __post_init__(self) -> None:
        allowed = (*SMALL, NETWORK)
        if self.network not in allowed:
            raise ConfigError(f"--net={self.network}", allowed=", ".join(allowed), found=self.network)
        for name, value in (("--epochs", self.epochs), ("--batch", self.batch), ("--side", self.side)):
            if value < 1:
                raise ConfigError(f"{name}={value}", allowed="a whole number from 1 on")

    @property
    def whole(self) -> bool:
        """Tell whether the benchmark's own network is trained, without a reject class."""
        return self.network == NETWORK

    @property
    def pixels(self) -> int:
        """Return the side of the pictures it sees."""
        return VIT_SIDE if self.whole else self.side

    @property
    def stem(self) -> str:
        """Return the name of its files without their ending."""
        return f"{self.role}_{self.kind}"

    def settings(self) -> dict[str, Any]:
        """Return what a checkpoint has to have been trained with to be gone on from."""
        return {n: getattr(self, n) for n in ("kind", "network", "pixels", "epochs", "batch", "lr", "seed")}


@dataclass(frozen=True, kw_only=True)
class Material:
    """The pictures of both parts, and what each shows."""

    source: UnlearnCanvas
    labels: list[str]
    train: list[tuple[Picture, int]]
    held: list[tuple[Picture, int]]


def material(lesson: Lesson) -> Material:
    """Return the pictures that there are. Raises DataError for a folder that cannot tell two labels apart."""
    styles, objects = canvas_labels("style"), canvas_labels("object")
    source = UnlearnCanvas(lesson.root, styles, objects, setting="ROOT")
    at = {"style": 0, "object": 1}[lesson.kind]
    cells = source.concepts()
    there = {cell.split("/")[at] for cell in cells}
    labels = [name for name in canvas_labels(lesson.kind) if name in there]
    if len(labels) < 2:
        raise DataError(
            f"ROOT: '{lesson.root}' has pictures of {len(labels)} {lesson.kind}s",
            allowed="at least two, as <style>/<object>/<number>.jpg",
        )

    def part(split: str) -> list[tuple[Picture, int]]:
        return [(p, labels.index(c.split("/")[at])) for c in cells for p in source.pictures(c, split)]

    return Material(source=source, labels=labels, train=part("train"), held=part("evaluation"))


def pixels_of(source: UnlearnCanvas, pictures: Sequence[Picture], side: int) -> Tensor:
    """Return pictures as floats [N, 3, side, side] in [0, 1]; they are squeezed to a square, not cut."""
    images = [np.asarray(image.resize((side, side))) for image in source.load(pictures)]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


class Network(nn.Module):
    """The network in training: logits of one kind."""

    def __init__(self, lesson: Lesson, count: int) -> None:
        super().__init__()
        self.kind, self.whole = lesson.kind, lesson.whole
        self.net = vit(count, pretrained=True) if lesson.whole else NETS[lesson.network]({lesson.kind: count})

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits of pictures in [0, 1]."""
        if self.whole:
            return self.net((pictures - 0.5) / 0.5)
        return self.net(pictures)[self.kind]


def train_judge(lesson: Lesson, tell: Tell = lambda done, total, loss: None) -> Path:
    """Train, measure and describe one judge, and return the folder's description."""
    found = material(lesson)
    lesson.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(lesson.seed)
    net = Network(lesson, len(found.labels))
    steps = lesson.epochs * math.ceil(len(found.train) / lesson.batch)
    opt = torch.optim.AdamW(net.parameters(), lr=lesson.lr, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(opt, lesson.lr, total_steps=max(2, steps), pct_start=0.1)
    kept = lesson.out / f"{lesson.stem}.checkpoint.pt"
    first = _resume(kept, lesson, (net, opt, rate))
    for step, (x, y) in enumerate(_batches(found, lesson, first), start=first):
        loss = F.cross_entropy(net(x), y, label_smoothing=0.05)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        opt.step()
        opt.zero_grad()
        rate.step()
        tell(step + 1, steps, loss.item())
        if (step + 1) % lesson.every == 0:
            state = [part.state_dict() for part in (net, opt, rate)]
            with staged(kept) as part_file:
                torch.save({"lesson": lesson.settings(), "step": step + 1, "state": state}, part_file)
                part_file.replace(kept)
    file = _write(lesson, net, found)
    kept.unlink(missing_ok=True)
    return file


def _resume(kept: Path, lesson: Lesson, parts: Sequence[Any]) -> int:
    """Load a checkpoint of the same lesson and return its step; 0 where there is none."""
    if not kept.is_file():
        return 0
    saved = torch.load(kept, weights_only=True)
    if saved["lesson"] != lesson.settings():
        raise ConfigError(
            f"'{kept}' is of another training",
            allowed=str(saved["lesson"]),
            found=str(lesson.settings()),
            fix="go on with its settings, or delete it",
        )
    for part, state in zip(parts, saved["state"], strict=True):
        part.load_state_dict(state)
    return int(saved["step"])


def _batches(found: Material, lesson: Lesson, first: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches from one on; what a batch holds depends on its number alone."""
    per_epoch = math.ceil(len(found.train) / lesson.batch)
    for step in range(first, lesson.epochs * per_epoch):
        epoch, at = divmod(step, per_epoch)
        order = list(range(len(found.train)))
        random.Random(f"{lesson.seed} {epoch}").shuffle(order)
        rows = [found.train[i] for i in order[at * lesson.batch : (at + 1) * lesson.batch]]
        g = torch.Generator().manual_seed(1_000_003 * lesson.seed + step)
        x = pixels_of(found.source, [p for p, _ in rows], lesson.pixels)
        y = torch.tensor([label for _, label in rows])
        flipped = torch.rand(len(x), generator=g) < 0.5
        x[flipped] = x[flipped].flip(3)
        if not lesson.whole and len(x) >= SPOILED:
            spoil = SPOILERS[step % len(SPOILERS)]
            bad = torch.randperm(len(x), generator=g)[: len(x) // SPOILED]
            x[bad] = spoil(x[bad], g)
            y[bad] = len(found.labels)
        yield x, y


def _write(lesson: Lesson, net: Network, found: Material) -> Path:
    """Write the weights and the judge's entry with its accuracy on what it never saw."""
    net.eval()
    right = 0
    for at in range(0, len(found.held), lesson.batch):
        rows = found.held[at : at + lesson.batch]
        with torch.no_grad():
            said = net(pixels_of(found.source, [p for p, _ in rows], lesson.pixels)).argmax(1)
        right += int((said == torch.tensor([label for _, label in rows])).sum())
    file = lesson.out / f"{lesson.stem}.safetensors"
    state = {n: v.half() if v.is_floating_point() else v for n, v in net.net.state_dict().items()}
    with staged(file) as part:
        save_file({n: v.contiguous() for n, v in state.items()}, part)
        part.replace(file)
    entry: dict[str, Any] = {"labels": found.labels, "network": lesson.network, "file": file.name}
    entry |= {"sha256": sha256_of(file), "side": lesson.pixels, "measured": {}}
    entry |= {"trained": {**lesson.settings(), "pictures": len(found.train)}}
    if found.held:
        share = round(100 * right / len(found.held), 2)
        entry["measured"] = {"views": {"accuracy": share, "n": len(found.held)}}
    return describe(lesson.out, lesson.role, lesson.kind, entry)
