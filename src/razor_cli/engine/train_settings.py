"""Hyper-parameters that every trained method has, and what follows from them alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from razor_cli.contract.choices import Towers
from razor_cli.contract.family import BOARD, CLASSES, DUAL, Family
from razor_cli.engine.choices import DecayOn, Keep, Optimizer, Precision, Schedule
from razor_cli.errors import ConfigError

SCALE, BIAS = "logit_scale", "logit_bias"  # of neither tower; only a model with a sigmoid loss has the second
# The logit scale stays within [0, ln 100], as in the published training; beside a bias it is free, as in
# that of SigLIP.
MAX_LOG_SCALE = math.log(100)


# What counts as done; with a taxonomy, quality and utility are the Target.
TARGET = {"m1": 55.0, "m4_drop": 2.0, "m5": 98.0, "others_drop": 3.0, "quality": 80.0, "utility": 90.0}


def check_shares(key: str, numbers: Mapping[str, float | None]) -> None:
    """Raise ConfigError for a goal out of range; whether a family knows it is checked with the model."""
    for name, number in numbers.items():
        if number is not None and not 0 <= number <= 100:
            raise ConfigError(f"method.{key}.{name}: {number} is out of range", allowed="0 to 100, or null")


@dataclass(frozen=True, kw_only=True)
class Optimised:
    """Hyper-parameters of everything that an optimiser trains, whatever is trained and whoever judges it.

    Raises ConfigError for a value out of range, with its full key.
    """

    stochastic: ClassVar[bool] = True  # the order of the pictures is drawn
    judged: ClassVar[bool] = False  # epochs are scored on validation pictures

    name: str = "trained"  # label in tables and folder of the runs
    lr: float = 1e-5
    epochs: int = 10
    batch: int = 32
    optimizer: Optimizer = Optimizer.ADAMW
    momentum: float = 0.9  # of sgd
    weight_decay: float = 0.1
    decay_on: DecayOn = DecayOn.MATRICES
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])  # of adamw
    eps_opt: float = 1e-6  # of adamw
    schedule: Schedule = Schedule.COSINE
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        self.check_ranges(
            {
                "lr": (0, math.inf),
                "epochs": (0, 100_000),
                "batch": (1, 65536),
                "momentum": (0, 1),
                "eps_opt": (0, math.inf),
                "weight_decay": (0, math.inf),
                "warmup_steps": (0, 10**9),
            }
        )
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise ConfigError(
                f"method.betas: {self.betas} is out of range", allowed="[a, b], both at least 0 and below 1"
            )

    def check_ranges(self, ranges: dict[str, tuple[float, float]]) -> None:
        """Raise ConfigError for the first field outside its range (ends included)."""
        for name, (low, high) in ranges.items():
            if not (low <= getattr(self, name) <= high and math.isfinite(getattr(self, name))):
                raise ConfigError(
                    f"method.{name}: {getattr(self, name)} is out of range", allowed=f"{low} to {high}"
                )

    def trained(self, family: Family) -> list[str]:
        """Return the parameters that train."""
        raise NotImplementedError

    @property
    def rule(self) -> Keep:
        """Return which epoch becomes the edit."""
        return Keep.LAST

    @property
    def wanted(self) -> Mapping[str, float | None]:
        """Return what counts as done, by goal."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Training(Optimised):
    """Hyper-parameters of methods that train towers; a method inherits them, or those of `Trained`, and adds
    its own.

    Raises ConfigError for a value out of range, with its full key.
    """

    needs: ClassVar[frozenset[str]] = frozenset({BOARD, DUAL, CLASSES})
    judged: ClassVar[bool] = True

    train: Towers = Towers.BOTH
    exclude: list[str] = field(
        default_factory=lambda: [SCALE]
    )  # parameters whose name contains one of these stay
    keep: Keep = Keep.CLOSEST_TO_TARGET
    target: dict[str, float | None] = field(default_factory=lambda: dict(TARGET))
    precision: Precision = Precision.AUTO

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares("target", self.target)

    def trained(self, family: Family) -> list[str]:
        """Return the parameters of the chosen towers."""
        return trained_names(family, self)

    @property
    def rule(self) -> Keep:
        """Return which epoch becomes the edit."""
        return self.keep

    @property
    def wanted(self) -> Mapping[str, float | None]:
        """Return what counts as done, by goal."""
        return self.target


@dataclass(frozen=True, kw_only=True)
class Trained(Training):
    """Hyper-parameters of methods that also go through retain pictures in every epoch."""

    retain_sample: int | None = None  # retain pictures drawn for each epoch; None: all of them

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.retain_sample is not None and self.retain_sample < 1:
            raise ConfigError(
                f"method.retain_sample: {self.retain_sample} is out of range", allowed="1 or more, or null"
            )


def trained_names(family: Family, settings: Training) -> list[str]:
    """Return the parameters that train: those of the chosen towers and the logit scale with its bias,
    without the excluded ones; the bias is excluded with the scale. Where a model's scale cannot train in any
    case it may be excluded all the same.
    """
    every = family.tensors()
    for word in settings.exclude:
        if word != SCALE and not any(word in c.name for c in every):
            raise ConfigError(
                "method.exclude: no parameter has this in its name",
                found=word,
                fix="method.exclude=[logit_scale]",
            )
    chosen = [c.name for c in every if c.name in (SCALE, BIAS) or settings.train.include(c.tower)]
    out = [*settings.exclude, BIAS] if SCALE in settings.exclude else settings.exclude
    names = [n for n in chosen if not any(word in n for word in out)]
    if not names:
        raise ConfigError("method.exclude: it leaves nothing to train", found=settings.exclude)
    return names


def rate(settings: Optimised, step: int, total: int) -> float:
    """Return the learning rate of a step (from 0) of `total`: linear warm-up, then half a cosine down to 0,
    or constant.

    By epochs, the cosine is that of the epoch's number: the last epoch still learns.
    """
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.schedule is Schedule.CONST:
        return settings.lr
    if settings.schedule is Schedule.COSINE_EPOCHS:
        part = step * settings.epochs // total / settings.epochs
        return settings.lr * 0.5 * (1 + math.cos(math.pi * part))
    part = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * part))
