"""The losses of a LLaVA by name: those of its image tower with the CLIP's texts, and those of its answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from razor_cli.contract.choices import Direction
from razor_cli.contract.family import Change, Loss, Named, Tick
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.named_losses import DualLoss, dual_loss
from razor_cli.errors import ConfigError, nearest
from razor_cli.families.llava.choices import (
    FEATURE_KEEP,
    FORGET_LOSSES,
    GENERIC,
    LITERAL,
    NLL,
    RETAIN_ANSWERS,
    RETAIN_LOSSES,
)
from razor_cli.families.llava.losses_answer import AnswerLoss
from razor_cli.families.llava.losses_drift import FeatureLoss, MismatchLoss

if TYPE_CHECKING:
    from razor_cli.families.llava.opened import OpenedLlava

SIMILARITY, MISMATCH = "mismatch_similarity", "mismatch_squared"
FIRST_TOKEN, FEATURES = "mismatch_first_token", "mismatch_features"
DRIFTS = (MISMATCH, FIRST_TOKEN, FEATURES, "mismatch_signed", "mismatch_abs", SIMILARITY)
NAMES = (*FORGET_LOSSES, *RETAIN_LOSSES, *DRIFTS)


@dataclass(frozen=True, kw_only=True)
class LiteralLoss:
    """Equation 12 with the sign of equation 7: the cross-entropy towards "any class but this" is raised,
    which makes the model surer of the name. It is here to show that, and for nothing else.
    """

    inner: DualLoss  # minus that cross-entropy

    @property
    def direction(self) -> Direction:
        """Return down: the inner loss, which forgets upwards, is the negative of the one that is raised."""
        return Direction.DOWN

    @property
    def drifts(self) -> bool:
        """Tell that it is no similarity of pairs."""
        return False

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and pictures."""
        return self.inner.key

    def anchored(self, base: Change, cache: Any = None) -> LiteralLoss:
        """Return itself: nothing is held against the unedited weights."""
        return self

    def gradient(
        self, part: Pairs, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the gradient of the inner loss."""
        return self.inner.gradient(part, size, params, tick, chunk=chunk)


def loss_of(family: OpenedLlava, sets: ConceptSets, name: str) -> Loss:
    """Return a loss by name. Raises ConfigError that lists the names there are, and WeightsError where the
    CLIP that a loss goes through does not fit the image tower.
    """
    if name not in NAMES:
        near = nearest(name, NAMES)
        raise ConfigError(
            f"a LLaVA has no loss '{name}'",
            allowed=f"method.forget_loss: {', '.join(FORGET_LOSSES)}; "
            f"method.retain_loss: {', '.join(RETAIN_LOSSES)}",
            found=name,
            fix=f"did you mean {near[0]}?" if near else None,
        )
    if name in (NLL, GENERIC, RETAIN_ANSWERS):
        return AnswerLoss(family=family, generic=name == GENERIC, forgets=name == NLL)
    if name in (FEATURE_KEEP, FEATURES):
        return FeatureLoss(family=family)
    if name in (MISMATCH, FIRST_TOKEN):
        return MismatchLoss(family=family, first=name == FIRST_TOKEN)
    shared = family.aligned(sets)
    if name == LITERAL:
        return LiteralLoss(inner=dual_loss(shared, sets, "concept_uniform"))
    return dual_loss(shared, sets, MISMATCH if name == SIMILARITY else name)
