"""One stage of a training that is measured in minutes, can be killed at any time, and goes on from there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

SAVE_EVERY = 60.0  # seconds
WARM_UP = 100  # steps


@dataclass
class Stage:
    """Trains for a number of minutes, over as many starts as it takes; `parts` hold a state_dict each."""

    name: str
    file: Path
    minutes: float
    console: Console
    generator: torch.Generator
    parts: dict[str, Any]
    step: int = 0
    seconds: float = 0.0
    history: list[str] = field(default_factory=list)

    def load(self) -> None:
        """Go on from the checkpoint where there is one."""
        if not self.file.exists():
            return
        saved = torch.load(self.file, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(saved["parts"][name])
        self.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["torch"])
        self.step, self.seconds, self.history = saved["step"], saved["seconds"], saved["history"]
        self.console.print(f"{self.name}: going on from step {self.step}, {self.seconds:.0f} s")

    def save(self) -> None:
        """Write everything needed to go on, atomically."""
        state = {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
        }
        torch.save(state, self.file.with_suffix(".tmp"))
        self.file.with_suffix(".tmp").replace(self.file)

    @property
    def done(self) -> float:
        """Return the share of the minutes that is spent, in [0, 1]."""
        return min(1.0, self.seconds / (60 * self.minutes))

    def rate(self) -> float:
        """Return the factor of the learning rate: linear warm-up, then cosine to zero."""
        return min(1.0, (self.step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * self.done))

    def steps(self, report: Callable[[], str], every: int = 200) -> Iterator[int]:
        """Yield step numbers until the minutes are over, keeping checkpoints and a history."""
        saved = start = time.monotonic()
        before = self.seconds
        with Progress(console=self.console) as progress:
            task = progress.add_task(f"training {self.name}", total=100, completed=int(100 * self.done))
            while self.done < 1.0:
                yield self.step
                self.step += 1
                now = time.monotonic()
                self.seconds = before + now - start
                progress.update(task, completed=100 * self.done)
                if self.step % every == 0:
                    self.history.append(f"step {self.step}, {self.seconds:.0f} s: {report()}")
                    self.console.print(f"{self.name} {self.history[-1]}")
                if now - saved > SAVE_EVERY:
                    saved = now
                    self.save()
        self.save()


@dataclass
class CountedStage(Stage):
    """Trains for a number of steps instead: the same weights however busy the machine was."""

    total: int = 0

    @property
    def done(self) -> float:
        """Return the share of the steps that is done, in [0, 1]."""
        return min(1.0, self.step / self.total)
