"""Choices of searches and trainings, apart from what makes them, so that settings import nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class Return(StrEnum):
    """Which acceptable trial a bisection returns (switch A13)."""

    BEST_SCORE = "best_score"  # Algorithm 2
    LARGEST_STABLE = "largest_stable"  # the paper's prose
    # Ours: once the Target is met, look for a smaller step that meets it too.
    SMALLEST_SUFFICIENT = "smallest_sufficient"
    # Ours: the best step tried, and a step that is no better than a smaller one lowers the upper end.
    TURN_BACK = "turn_back"


class Keep(StrEnum):
    """Rules that choose among epochs; the unedited model is no candidate.

    Ties go to the earlier epoch, except under HIGHEST_LABEL_ACCURACY, where the published code takes the
    later one.
    """

    # Least shortfall from the Target on validation pictures; with a taxonomy, of Quality and Utility.
    CLOSEST_TO_TARGET = "closest_to_target"
    LAST = "last"
    # Tan & Gong: on training pictures, where the method measures it.
    LOWEST_FORGET_ACCURACY = "lowest_forget_accuracy"
    HIGHEST_LABEL_ACCURACY = "highest_label_accuracy"  # Tan & Gong: on the labels that the method assigned


class Optimizer(StrEnum):
    """Which rule turns gradients into steps."""

    ADAMW = "adamw"
    SGD = "sgd"


class DecayOn(StrEnum):
    """What weight decay pulls on."""

    MATRICES = "matrices"  # not on biases, norms and the logit scale
    ALL = "all"


class Schedule(StrEnum):
    """How the learning rate runs over the method's own number of steps."""

    COSINE = "cosine"  # down to 0, step by step
    # The same curve, but constant within an epoch, as Tan & Gong's code has it.
    COSINE_EPOCHS = "cosine_epochs"
    CONST = "const"


class Precision(StrEnum):
    """What the towers compute in; weights, losses and optimiser are fp32 always."""

    AUTO = "auto"  # bf16 autocast on a GPU, fp32 on a CPU
    FP32 = "fp32"
    BF16 = "bf16"
