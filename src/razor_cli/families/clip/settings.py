"""Which readings of the paper's metrics are scored: the switches and their schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from razor_cli.errors import ConfigError, nearest


class RetainPrompt(StrEnum):
    """What q_retain of M1 and M4 is (switch A19)."""

    MEAN_OF_CLASSES = "mean_of_classes"
    GENERIC = "generic"
    PER_IMAGE_CLASS = "per_image_class"


class M1Mode(StrEnum):
    """Label space of M1 (switch A20)."""

    DUAL = "dual"
    MULTICLASS = "multiclass"


class M2Text(StrEnum):
    """Text that forget pictures are compared with (switch A22)."""

    PROMPT = "prompt"
    NATIVE = "native"


class M3Scale(StrEnum):
    """Unit of M3 (switch A24)."""

    X100 = "x100"
    RAW = "raw"


class Utility(StrEnum):
    """Util of M5 (switch A25)."""

    RETRIEVAL = "retrieval"
    DUAL_ACC = "dual_acc"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Which readings of the paper's metrics are scored, and in which units."""

    retain_prompt: list[str] = field(default_factory=lambda: [p.value for p in RetainPrompt])  # of M1 and M4
    m1_mode: list[str] = field(default_factory=lambda: [m.value for m in M1Mode])
    m2_text: list[str] = field(default_factory=lambda: [t.value for t in M2Text])
    m2_scale: float = 100.0  # > 0; the paper's tables use 100
    m3_scale: M3Scale = M3Scale.X100
    m5_util: list[str] = field(default_factory=lambda: [u.value for u in Utility])
    bootstrap_draws: int = 2000  # in [100, 100000]; resamples behind each interval of a mean
    per_concept: bool = True  # one row per other concept
    qu_cap: bool = True  # accuracy ratios of Utility count as 1 at most, as the published tables do

    def judge_hashes(self, sets: object) -> Mapping[str, str]:
        """Return the hashes of what judges these sets beside the model: nothing does."""
        return {}

    def __post_init__(self) -> None:
        choices = {"retain_prompt": RetainPrompt, "m1_mode": M1Mode, "m2_text": M2Text, "m5_util": Utility}
        for name, kind in choices.items():
            if not getattr(self, name):
                raise ConfigError(
                    f"metrics.{name} is empty", allowed=[k.value for k in kind], fix="name at least one"
                )
            for value in getattr(self, name):
                _check_choice(f"metrics.{name}", value, kind)
        _check_choice("metrics.m3_scale", self.m3_scale, M3Scale)
        if not self.m2_scale > 0:
            raise ConfigError("metrics.m2_scale is out of range", allowed="> 0", found=self.m2_scale)
        if not 100 <= self.bootstrap_draws <= 100_000:
            raise ConfigError(
                "metrics.bootstrap_draws is out of range", allowed="100 to 100000", found=self.bootstrap_draws
            )


def _check_choice(key: str, value: str, kind: type[StrEnum]) -> None:
    allowed = [k.value for k in kind]
    if value not in allowed:
        near = nearest(str(value), allowed, 1)
        raise ConfigError(
            f"{key} has no choice {value!r}",
            allowed=", ".join(allowed),
            found=value,
            fix=f"did you mean {near[0]}?" if near else None,
        )
