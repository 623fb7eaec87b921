"""Choices of methods that train a model with two towers, apart from the losses that know them. Imports no
torch.
"""

from __future__ import annotations

from enum import StrEnum

# Losses that forgetting may ascend (switch A27), by name; dual/named_losses.py has them.
FORGET_LOSSES = (
    "cosine",
    "concept_ce",
    "concept_uniform",
    "concept_margin",
    "concept_runner_up",
    "concept_neutral",
)


class Ascended(StrEnum):
    """Which loss of the forget pairs is raised."""

    COSINE = "cosine"
    INFONCE = "infonce"
    CLASSIFIER_CE = "classifier_ce"


class KlReduction(StrEnum):
    """What a summed KL is divided by: pictures x classes as the published code has it, or pictures."""

    NUMEL = "numel"
    BATCHMEAN = "batchmean"


class FineMask(StrEnum):
    """Which fine classes KL_f leaves out: the picture's own (published code), or all that are forgotten (the
    paper).
    """

    OWN_LABEL = "own_label"
    FORGET_CLASSES = "forget_classes"


class NpoReduction(StrEnum):
    """Whether NPO's log-sigmoid sees each picture (eq. 7) or the difference of batch means
    (published code).
    """

    SAMPLE = "sample"
    BATCH = "batch"
