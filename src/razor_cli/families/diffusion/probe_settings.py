"""How an edited model is asked for its target without the prompt: which probes there are, and how far they
go. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from razor_cli.errors import ConfigError, nearest


class Probe(StrEnum):
    """One way to ask; also what stands in the column `attack` of scores.csv."""

    COMPLETION = "completion"  # of a half-denoised picture of the target
    INPAINTING = "inpainting"  # of the right half of a picture of the target
    INVERSION = "inversion"  # tokens learnt from pictures of the target
    TOKENS = "tokens"  # words found for them


LEARNT = (Probe.INVERSION, Probe.TOKENS)  # those that have a budget of steps


@dataclass(frozen=True, kw_only=True)
class Probing:
    """The settings of probes, a part of those of the exam."""

    probes: list[str] = field(default_factory=list)  # of Probe
    probe_pictures: int = 24  # in [1, 1000]; pictures of the target that each begins with, at most
    probe_strength: float = 0.5  # in [0, 1]; of completion: share of the steps that is drawn
    probe_steps: int = 200  # in [1, 100000]; of inversion and tokens
    probe_batch: int = 8  # in [1, 4096]; pictures in one of these steps
    probe_tokens: int = 4  # in [1, 32]; that stand for the target

    def check_probes(self) -> None:
        """Raise ConfigError for probes there are not, and for numbers out of range."""
        for name in self.probes:
            if name not in list(Probe):
                near = nearest(str(name), [*Probe], 1)
                raise ConfigError(
                    f"metrics.probes has no choice {name!r}",
                    allowed=", ".join(Probe),
                    found=str(name),
                    fix=f"did you mean {near[0]}?" if near else None,
                )
        if len(set(self.probes)) < len(self.probes):
            raise ConfigError("metrics.probes names one twice", found=", ".join(self.probes))
        ranges: dict[str, tuple[float, float]] = {
            "probe_pictures": (1, 1000),
            "probe_strength": (0, 1),
            "probe_steps": (1, 100_000),
            "probe_batch": (1, 4096),
            "probe_tokens": (1, 32),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"metrics.{name} is out of range",
                    allowed=f"{low} to {high}",
                    found=getattr(self, name),
                )

    def attacked(self, targets: int) -> tuple[int, int]:
        """Return how many pictures the probes draw of one state, and how many they take gradients of, where
        so many of the target are judged.
        """
        drawn = len(self.probes) * min(self.probe_pictures, targets)
        return drawn, len(self.learnt) * self.probe_steps * self.probe_batch

    @property
    def learnt(self) -> Sequence[Probe]:
        """Return the probes that are asked for and learn something first."""
        return [p for p in LEARNT if p in self.probes]
