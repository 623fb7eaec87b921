"""RAZOR: ratio-aware, multi-component, one-shot editing (arXiv 2603.14819)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar

from razor_cli.contract.components import Granularity, Towers
from razor_cli.contract.method import Edit
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.lab import GradientPlan, Lab
from razor_cli.engine.search import Prompt, Return
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip


class TauMode(StrEnum):
    """How `tau` becomes a threshold on phi (switch A2)."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    TOPK = "topk"
    QUANTILE = "quantile"
    ZSCORE = "zscore"
    ALL = "all"


class Selector(StrEnum):
    """What components are ranked by."""

    PHI = "phi"
    GRADIENT_NORM = "gradient_norm"
    COSINE = "cosine"
    RANDOM = "random"
    ALL = "all"


class ForgetLoss(StrEnum):
    """Which loss forgetting ascends (switch A27)."""

    COSINE = "cosine"
    CONCEPT_CE = "concept_ce"
    CONCEPT_UNIFORM = "concept_uniform"
    CONCEPT_MARGIN = "concept_margin"


class Direction(StrEnum):
    """Sign of the forget term; `descend` is eq. 3 as printed and increases similarity: it exists for the sign
    test (A3).
    """

    AUTO = "auto"
    ASCEND = "ascend"
    DESCEND = "descend"


class MismatchForm(StrEnum):
    """Signed drift (eq. 6), squared drift (Table 1, eq. 10), or its absolute value (A4)."""

    SIGNED = "signed"
    SQUARED = "squared"
    ABS = "abs"


class MismatchSet(StrEnum):
    """Pairs whose drift the mismatch term sees (A5)."""

    FORGET = "forget"
    RETAIN = "retain"
    BOTH = "both"


class Normalize(StrEnum):
    """How the three gradients of a component are scaled before they are blended."""

    NONE = "none"
    UNIT = "unit"
    MATCH_RETAIN = "match_retain"


class Step(StrEnum):
    """Search the step size on validation data, or take a fixed one (Fig. 5)."""

    SEARCH = "search"
    FIXED = "fixed"


class StepScale(StrEnum):
    """Whether `step_size` is a share of the component's norm or a plain factor on the direction (A9)."""

    RELATIVE_NORM = "relative_norm"
    ABSOLUTE = "absolute"


class Budget(StrEnum):
    """Who may spend the utility allowance: the first component all of it, or each its share."""

    GREEDY = "greedy"
    SHARED = "shared"


class Order(StrEnum):
    """How the chosen components move: each by a step of its own (Algorithm 1), or all by one in common (prose
    of Fig. 2).
    """

    SEQUENTIAL = "sequential"
    JOINT = "joint"


class GrowUpdate(StrEnum):
    """What a growth round moves: the new component (Algorithm 1), or all chosen ones (prose of
    Fig. 2; A15).
    """

    NEW_ONLY = "new_only"
    ALL_ACTIVE = "all_active"


@dataclass(frozen=True, kw_only=True)
class Retry:
    """What a further attempt does otherwise than the first; None: nothing. Raises ConfigError for a value out
    of range.
    """

    selector: Selector | None = None
    forget_loss: ForgetLoss | None = None
    order: Order | None = None
    max_components: int | None = None
    search_floor: float | None = None
    search_others_drop: float | None = None
    grow_rounds: int | None = None

    def __post_init__(self) -> None:
        ranges = {
            "max_components": (1, math.inf),
            "search_floor": (0, 100),
            "search_others_drop": (0, 100),
            "grow_rounds": (0, 1000),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(
                    f"method.retries: {name}: {value} is out of range", allowed=f"{low} to {high}, or null"
                )

    def __str__(self) -> str:
        return ", ".join(f"{k} {v}" for k, v in self._changes.items()) or "as before"

    @property
    def _changes(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if v is not None}

    def applied(self, first: Razor) -> Razor:
        """Return the settings of this attempt."""
        return replace(first, retries=(), **self._changes)


@dataclass(frozen=True, kw_only=True)
class Razor:
    """Hyper-parameters of RAZOR; each knob is explained in conf/method/razor.yaml.

    Raises ConfigError for a value out of range, with its full key.
    """

    families: ClassVar[tuple[str, ...]] = ("clip",)

    name: str = "razor"  # label in tables and folder of the runs
    alpha: float = 0.5
    rho: float = 0.5
    epsilon: float = 1e-8
    tau: float = 0.5
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
    forget_loss: ForgetLoss = ForgetLoss.COSINE
    forget_direction: Direction = Direction.AUTO
    mismatch_form: MismatchForm = MismatchForm.SIGNED
    mismatch_set: MismatchSet = MismatchSet.FORGET
    normalize: Normalize = Normalize.NONE
    step: Step = Step.SEARCH
    step_size: float = 1.0
    step_scale: StepScale = StepScale.RELATIVE_NORM
    search_steps: int = 8
    search_floor: float = 98.0
    search_m4_drop: float = 2.0
    search_others_drop: float = 100.0
    search_return: Return = Return.BEST_SCORE
    budget: Budget = Budget.GREEDY
    order: Order = Order.SEQUENTIAL
    joint_rounds: int = 3
    grow_rounds: int = 6
    grow_update: GrowUpdate = GrowUpdate.NEW_ONLY
    grow_sample: int | None = None
    refresh_gradients: bool = False
    early_stop: bool = True
    trim_steps: int = 0
    retries: tuple[Retry, ...] = ()
    target_m1: float = 55.0
    target_m1_prompts: Prompt = Prompt.BOTH
    target_m4_drop: float = 2.0
    target_m5: float = 98.0
    forget_batch: int = 128
    retain_batch: int = 128

    def __post_init__(self) -> None:
        ranges = {
            "alpha": (0, 1),
            "rho": (0, 1),
            "search_floor": (0, 100),
            "target_m1": (0, 100),
            "target_m5": (0, 100),
            "search_steps": (1, 64),
            "joint_rounds": (1, 1000),
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
            "search_m4_drop": (0, 100),
            "search_others_drop": (0, 100),
            "target_m4_drop": (0, 100),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"method.{name}: {getattr(self, name)} is out of range", allowed=f"{low} to {high}"
                )
        for name in ("max_components", "grow_sample"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(
                    f"method.{name}: {getattr(self, name)} is out of range", allowed="1 or more, or null"
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
        """Tell whether another seed gives another edit: only the random selector draws."""
        return self.selector is Selector.RANDOM

    @property
    def plan(self) -> GradientPlan:
        """Return the gradients this method wants."""
        return GradientPlan(
            forget_loss=self.forget_loss.value, forget_batch=self.forget_batch, retain_batch=self.retain_batch
        )

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Select, blend, search and grow until the Target is met on validation data; return the changed
        tensors.
        """
        from razor_cli.methods.razor_loop import Loop

        return Loop(self, model, sets, lab).run()
