"""Small made-up places of pictures for models that draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pictures import picture_bytes
from PIL import Image

from razor_cli.data.ask import Ask
from razor_cli.data.kinds.canvas_standin import CanvasStandIn
from razor_cli.data.shots import DrawnSets

STYLES = ("Van_Gogh", "Monet", "Seed_Images")
OBJECTS = ("Cats", "Dogs")


def asked(axis: str, target: str, **more: Any) -> Ask:
    """Return what a run on a real model asks of its data."""
    known: dict[str, Any] = {"scenario": axis, "model": "m", "stand_in": False} | more
    return Ask(target=target, axis=axis, **known)


def write_canvas(root: Path, each: int = 20, styles: Sequence[str] = STYLES) -> Path:
    """Write UnlearnCanvas' folders for some styles and objects, every picture another one."""
    for number, (style, shown) in enumerate((s, o) for s in styles for o in OBJECTS):
        folder = root / style / shown
        folder.mkdir(parents=True)
        for i in range(each):
            (folder / f"{i + 1}.jpg").write_bytes(picture_bytes(1000 * number + i, "JPEG"))
    return root


def write_canvas_rows(file: Path, each: int = 20, styles: Sequence[str] = STYLES) -> Path:
    """Write the same as one parquet file of the hub's columns."""
    rows = [
        (style, shown, number * 1000 + i)
        for number, (style, shown) in enumerate((s, o) for s in styles for o in OBJECTS)
        for i in range(each)
    ]
    called = {"Seed_Images": "Photo"}
    texts = [f"A {o} image in {called.get(s, s).replace('_', ' ')} style" for s, o, _ in rows]
    images = [{"bytes": picture_bytes(seed, "JPEG"), "path": f"{seed}.jpg"} for _, _, seed in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, "text": texts}), file, row_group_size=50)
    return file.parent


class Easel:
    """Draws a plain picture for each prompt and seed, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int, float]] = []

    def __call__(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float
    ) -> list[Image.Image]:
        self.calls += [(p, s, steps, guidance) for p, s in zip(prompts, seeds, strict=True)]
        return [
            Image.new("RGB", (8, 8), (s % 256, len(p) % 256, steps))
            for p, s in zip(prompts, seeds, strict=True)
        ]


TARGETS = {"style": "Noto", "object": "Cats", "identity": "Taylor Swift", "character": "Pim Puddle"}


def sets_of(axis: str, seed: int = 0, held_back: bool = False, **settings: Any) -> DrawnSets:
    ask = asked(axis, TARGETS[axis], stand_in=True, seed=seed, held_back=held_back)
    return CanvasStandIn(**settings).sets(ask)
