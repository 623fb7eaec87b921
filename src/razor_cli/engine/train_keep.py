"""Which epoch of a training becomes the edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from razor_cli.contract.family import Metrics
from razor_cli.engine.choices import Keep
from razor_cli.engine.search import NOTHING_TO_FORGET, Aim
from razor_cli.errors import ConfigError
from razor_cli.metrics.tradeoff import ACCURACIES, Accuracies, tradeoff

QUALITY, UTILITY = "quality", "utility"  # with a taxonomy these two are the Target
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
    def of(cls, base: Metrics, target: Mapping[str, float | None]) -> TracingAim | None:
        """Return the Target against the unedited model's metrics; None without accuracies by fine and coarse
        label, or without numbers for them.
        """
        quality, utility = target.get(QUALITY), target.get(UTILITY)
        if quality is None or utility is None or not all(base.get(name, 0.0) > 0 for name in ACCURACIES):
            return None
        return cls(base=_accuracies(base), quality=quality, utility=utility)

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
        found = (self.tracing or self.aim).shortfall(metrics)
        met = "it meets the Target on validation data"
        if self.aim.idle and not self.tracing:
            met = NOTHING_TO_FORGET
        return found, f"shortfall {found:.2f} points" if found else met
