"""RAZOR's hyper-parameters (arXiv 2603.14819). Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from razor_cli.config.schema import INFINITE
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.family import BOARD, RETAIN
from razor_cli.contract.method import GradientPlan
from razor_cli.contract.strata import Adaptive
from razor_cli.engine.choices import Return
from razor_cli.engine.train_settings import check_shares
from razor_cli.errors import ConfigError
from razor_cli.methods.razor_choices import (
    Budget,
    Conflict,
    GradientPass,
    GrowDraw,
    GrowUpdate,
    MismatchAt,
    MismatchForm,
    MismatchSet,
    Normalize,
    Order,
    Ranking,
    Selector,
    Sign,
    Stages,
    Step,
    StepScale,
    TauMode,
)

TARGET = {"m1": 55.0, "m4_drop": 2.0, "m5": 98.0}
FLOOR = {"m5": 98.0, "m4_drop": 2.0, "others_drop": 100.0}
GOALS = ("floor", "guide")  # of a further attempt
DECIDE = (  # which components are chosen by two gradients, and the direction of each
    *("selector", "alpha", "epsilon", "norm_power", "tau", "tau_mode", "max_components"),
    *("granularity", "towers", "include_projections", "stages"),
    *("lambda_forget", "lambda_retain", "rho", "normalize", "retain_conflict", "forget_direction"),
)
Method = TypeVar("Method", bound="RazorSettings")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """What a further attempt does otherwise than the first; None: nothing. Raises ConfigError for a value out
    of range.
    """

    selector: Selector | None = None
    forget_loss: str | None = None
    order: Order | None = None
    max_components: int | None = None
    floor: dict[str, float | None] | None = None  # goals that change; the others stay
    guide: dict[str, float | None] | None = None  # likewise
    grow_rounds: int | None = None

    def __post_init__(self) -> None:
        check_shares("retries: floor", self.floor or {})
        check_shares("retries: guide", self.guide or {})
        ranges = {"max_components": (1, math.inf), "grow_rounds": (0, 1000)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(
                    f"method.retries: {name}: {value} is out of range", allowed=f"{low} to {high}, or null"
                )

    def __str__(self) -> str:
        plain = {k: v for k, v in self._changes.items() if k not in GOALS}
        goals = {f"{g}.{k}": v for g in GOALS for k, v in (getattr(self, g) or {}).items()}
        return ", ".join(f"{k} {v}" for k, v in (plain | goals).items()) or "as before"

    @property
    def _changes(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if v is not None}

    def applied(self, first: Method) -> Method:
        """Return the settings of this attempt."""
        goals = {g: {**getattr(first, g), **(getattr(self, g) or {})} for g in GOALS}
        return replace(first, **{**self._changes, "retries": (), **goals})


@dataclass(frozen=True, kw_only=True)
class RazorSettings:
    """Hyper-parameters of RAZOR; each knob is explained in conf/method/razor.yaml.

    Raises ConfigError for a value out of range, with its full key.
    """

    needs: ClassVar[frozenset[str]] = frozenset({BOARD})

    name: str = "razor"  # label in tables and folder of the runs
    alpha: float = 0.5
    rho: float = 0.5
    epsilon: float = 1e-8
    tau: float = field(default=0.5, metadata={INFINITE: True})  # inf: the most salient component only
    tau_mode: TauMode = TauMode.RELATIVE
    max_components: int | None = 8
    selector: Selector = Selector.PHI
    norm_power: int = 1
    granularity: Granularity = Granularity.HEAD_MLP
    towers: Towers = Towers.BOTH
    include_projections: bool = False
    lambda_forget: float = 1.0
    lambda_retain: float = 1.0
    lambda_mismatch: float = 0.1
    forget_loss: str = "cosine"  # a name that the model's family has a loss for
    retain_loss: str = RETAIN  # likewise; the name every family has is the paper's
    forget_direction: Sign = Sign.AUTO
    mismatch_form: MismatchForm = MismatchForm.SIGNED
    mismatch_set: MismatchSet = MismatchSet.FORGET
    mismatch_at: MismatchAt = MismatchAt.STAGE  # CURRENT: g_m of Algorithm 1, at the weights as they are
    normalize: Normalize = Normalize.NONE
    retain_conflict: Conflict = Conflict.NONE
    step: Step = Step.SEARCH
    step_size: float = 1.0
    step_scale: StepScale = StepScale.RELATIVE_NORM
    search_steps: int = 8
    floor: dict[str, float | None] = field(default_factory=lambda: dict(FLOOR))
    ranking: Ranking = Ranking.FORGOTTEN
    must_improve: bool = True  # False: Algorithm 2 as printed, which begins at s_best = -inf
    search_return: Return = Return.BEST_SCORE
    budget: Budget = Budget.GREEDY
    order: Order = Order.SEQUENTIAL
    joint_rounds: int = 3
    joint_decay: float = 0.5
    stages: Stages = Stages.TOGETHER
    grow_rounds: int = 6
    grow_update: GrowUpdate = GrowUpdate.NEW_ONLY
    grow_sample: int | None = None
    grow_draw: GrowDraw = GrowDraw.FIRST
    refresh_gradients: bool = False
    early_stop: bool = True
    trim_steps: int = 0
    retries: tuple[Retry, ...] = ()
    target: dict[str, float | None] = field(default_factory=lambda: dict(TARGET))
    guide: dict[str, float | None] = field(default_factory=dict)  # goals of single steps; {}: the Target's
    forget_batch: int = 128
    retain_batch: int | None = 128  # None: all N_r pairs at once, the sum of equation 4

    gradient: GradientPass = GradientPass.FULL
    gradient_agreement: float = 0.8  # of an adaptive pass: cosine that both halves must exceed
    gradient_floor: int = 512  # likewise: examples of each set that are seen in any case

    def __post_init__(self) -> None:
        ranges = {
            "gradient_agreement": (0, 1),
            "gradient_floor": (1, math.inf),
            "alpha": (0, 1),
            "rho": (0, 1),
            "search_steps": (1, 64),
            "joint_rounds": (1, 1000),
            "joint_decay": (0, 1),
            "grow_rounds": (0, 1000),
            "norm_power": (1, 2),
            "epsilon": (0, math.inf),
            "lambda_forget": (0, math.inf),
            "lambda_retain": (0, math.inf),
            "lambda_mismatch": (0, math.inf),
            "step_size": (0, math.inf),
            "trim_steps": (0, 64),
            "forget_batch": (2, 65536),
            "retain_batch": (2, 65536),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is None and name == "retain_batch":
                continue
            if not low <= value <= high:
                raise ConfigError(f"method.{name}: {value} is out of range", allowed=f"{low} to {high}")
        check_shares("target", self.target)
        check_shares("floor", self.floor)
        check_shares("guide", self.guide)
        for name in ("max_components", "grow_sample"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(
                    f"method.{name}: {getattr(self, name)} is out of range", allowed="1 or more, or null"
                )
        if self.gradient is GradientPass.ADAPTIVE and self.retain_batch is None:
            raise ConfigError(
                "method.gradient=adaptive takes some of the batches, and method.retain_batch=null makes all "
                "pairs one batch",
                allowed="method.retain_batch from 2 to 65536",
                found="null",
                fix="method.retain_batch=128, which changes the loss, or method.gradient=full",
            )
        if self.rho == 0:
            raise ConfigError(
                "method.rho: 0 is out of range",
                allowed="above 0, up to 1; method.lambda_forget=0 drops the forget term",
            )
        if self.tau_mode is TauMode.QUANTILE and not 0 <= self.tau <= 1:
            raise ConfigError(
                f"method.tau: {self.tau} is no quantile", allowed="0 to 1 with method.tau_mode=quantile"
            )
        if self.lambda_forget == self.lambda_retain == self.lambda_mismatch == 0:
            raise ConfigError(
                "method.lambda_forget, lambda_retain, lambda_mismatch are all 0: there is nothing to "
                "step along"
            )

    @property
    def stochastic(self) -> bool:
        """Tell whether another seed gives another edit: the random selector draws, and an adaptive pass."""
        return self.selector is Selector.RANDOM or self.gradient is GradientPass.ADAPTIVE

    @property
    def adaptive(self) -> Adaptive | None:
        """Return when a gradient pass may end early, and the settings that decide what half of it says."""
        if self.gradient is GradientPass.FULL:
            return None
        rule = ", ".join(f"{name}={getattr(self, name)}" for name in DECIDE)
        return Adaptive(agreement=self.gradient_agreement, floor=self.gradient_floor, rule=rule)

    @property
    def plan(self) -> GradientPlan:
        """Return the gradients this method wants."""
        return GradientPlan(
            forget_loss=self.forget_loss,
            retain_loss=self.retain_loss,
            forget_batch=self.forget_batch,
            retain_batch=self.retain_batch,
            adaptive=self.adaptive,
        )
