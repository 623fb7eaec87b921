"""Which epoch of a training becomes the edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from torch import Tensor

from razor_cli.engine.search import Aim, Metrics, Prompt
from razor_cli.errors import ConfigError
from razor_cli.families.clip.tracing import ACCURACIES, Accuracies, tradeoff


class Keep(StrEnum):
    """Rules that choose among epochs; the unedited model is no candidate.

    Ties go to the earlier epoch, except under HIGHEST_LABEL_ACCURACY, where the published code takes the
    later one.
    """

    # Least shortfall from the Target on validation pictures; with a taxonomy, of Q and U.
    CLOSEST_TO_TARGET = "closest_to_target"
    LAST = "last"
    LOWEST_FORGET_ACCURACY = (
        "lowest_forget_accuracy"  # Tan & Gong: on training pictures, where the method measures it
    )
    HIGHEST_LABEL_ACCURACY = "highest_label_accuracy"  # Tan & Gong: on the labels that the method assigned


class Targets(Protocol):
    """The settings a Target is made of, in printed units."""

    @property
    def target_m1(self) -> float:
        """Return the largest M1 that counts as forgotten."""
        ...

    @property
    def target_m4_drop(self) -> float:
        """Return the points of generic M4 that may be lost."""
        ...

    @property
    def target_m5(self) -> float:
        """Return the least M5."""
        ...

    @property
    def target_others_drop(self) -> float:
        """Return the points of accuracy on other concepts that may be lost."""
        ...

    @property
    def target_quality(self) -> float:
        """Return the least share of fine accuracy on forgotten concepts that must go, where there is a
        taxonomy.
        """
        ...

    @property
    def target_utility(self) -> float:
        """Return the least share of the other accuracies that must stay, where there is a taxonomy."""
        ...


def aim_of(base: Metrics, targets: Targets) -> Aim:
    """Return the Target against the unedited model's validation metrics."""
    return Aim(
        base=base,
        m1=targets.target_m1,
        prompts=Prompt.BOTH,
        m4_drop=targets.target_m4_drop,
        m5=targets.target_m5,
        floor_m5=0.0,
        floor_m4_drop=100.0,
        floor_others_drop=100.0,
        others_drop=targets.target_others_drop,
    )


def shortfall(found: Metrics, aim: Aim) -> float:
    """Return how far validation metrics are from the Target, in points; 0 exactly when it is met.

    The sum of: M1 above its target, for both retain prompts, and while that is positive also the margins
    above 0 (M1 stays at 100 until the first picture changes sides, margins tell such epochs apart); generic
    M4 and accuracy on other concepts lost beyond what may be lost; retrieval accuracy lost beyond what the M5
    target allows.
    """
    lost = aim.base["m4_generic"] - found["m4_generic"] - aim.m4_drop
    others = aim.lost_others(found) - aim.others_drop
    return -aim.score(found) + max(0.0, lost) + max(0.0, aim.m5 - aim.utility(found)) + max(0.0, others)


MARGINS = ("margin", "margin_generic")


@dataclass(frozen=True, kw_only=True)
class TracingAim:
    """The Target of a taxonomy: Quality and Utility (Tan & Gong 4.1.3) on validation pictures, in %, against
    the unedited model.

    M1 and M5 cannot stand in for them: a name that no longer beats the neutral prompt may still beat all
    other names, and pictures of the forgotten concepts must keep their parents.
    """

    base: Accuracies
    quality: float
    utility: float

    @classmethod
    def of(cls, base: Metrics, targets: Targets) -> TracingAim | None:
        """Return the Target against the unedited model's metrics; None without accuracies by fine and coarse
        label.
        """
        if not all(base.get(name, 0.0) > 0 for name in ACCURACIES):
            return None
        return cls(base=_accuracies(base), quality=targets.target_quality, utility=targets.target_utility)

    def shortfall(self, found: Metrics) -> float:
        """Return the points of Quality and Utility that miss their targets, added up.

        While Quality is short, a hundredth of the margins above 0 comes on top: it tells epochs apart before
        the first picture changes sides.
        """
        value = tradeoff(_accuracies(found), self.base)
        quality = max(0.0, self.quality - 100 * float(value.quality))
        utility = max(0.0, self.utility - 100 * float(value.utility))
        left = sum(max(0.0, found[name]) for name in MARGINS if name in found)
        return quality + utility + (left / 100 if quality else 0.0)


def _accuracies(metrics: Metrics) -> Accuracies:
    return Accuracies(**{name: metrics[name] for name in ACCURACIES})


@dataclass(kw_only=True)
class Choice:
    """The best epoch so far: its number (0: none yet), its badness, its changed values in the dtype of the
    file.
    """

    rule: Keep
    aim: Aim
    tracing: TracingAim | None = None  # stands in for `aim` where there is a taxonomy
    epoch: int = 0
    badness: float = 0.0
    why: str = ""
    values: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, epoch: int, metrics: Metrics, values: dict[str, Tensor]) -> None:
        """Take an epoch if it is better than the best so far."""
        badness, why = self._judge(epoch, metrics)
        tied = (
            self.rule is Keep.HIGHEST_LABEL_ACCURACY and badness == self.badness
        )  # the published code takes the later one
        if not self.epoch or badness < self.badness or tied:
            self.epoch, self.badness, self.why, self.values = epoch, badness, why, values

    def _judge(self, epoch: int, metrics: Metrics) -> tuple[float, str]:
        if self.rule is Keep.LAST:
            return -epoch, "the last one"
        if self.rule is Keep.LOWEST_FORGET_ACCURACY:
            names = ("forget_accuracy", "fa_top1", "m1_generic")
            name = next(n for n in names if n in metrics)
            return metrics[name], f"{name} {metrics[name]:.2f}"
        if self.rule is Keep.HIGHEST_LABEL_ACCURACY:
            if "label_accuracy" not in metrics:
                raise ConfigError(
                    "method.keep=highest_label_accuracy: this method assigns no labels",
                    allowed=", ".join(k for k in Keep if k is not Keep.HIGHEST_LABEL_ACCURACY),
                )
            return -metrics["label_accuracy"], f"label_accuracy {metrics['label_accuracy']:.2f}"
        found = self.tracing.shortfall(metrics) if self.tracing else shortfall(metrics, self.aim)
        return found, f"shortfall {found:.2f} points" if found else "it meets the Target on validation data"
