"""RAZOR's switches, apart from what turns them. Imports no torch."""

from __future__ import annotations

from enum import StrEnum


class GradientPass(StrEnum):
    """Whether gradients see every example, or strata of them until two halves of what they saw agree."""

    FULL = "full"
    ADAPTIVE = "adaptive"


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


class Sign(StrEnum):
    """Sign of the forget term; `descend` is eq. 3 as printed and increases similarity: it exists for the sign
    test (A3).
    """

    AUTO = "auto"
    ASCEND = "ascend"
    DESCEND = "descend"


class MismatchForm(StrEnum):
    """Signed drift (eq. 6), squared drift (Table 1, eq. 10), or its absolute value (A4). Of a model that
    answers the squared drift is that of its answers' logits (eq. 13), and the last three are other readings
    of it.
    """

    SIGNED = "signed"
    SQUARED = "squared"
    ABS = "abs"
    FIRST_TOKEN = "first_token"  # squared, of the first token of each answer alone
    SIMILARITY = "similarity"  # squared, of the similarities of the two towers
    FEATURES = "features"  # squared, of the tokens of pictures


class MismatchSet(StrEnum):
    """Pairs whose drift the mismatch term sees (A5)."""

    FORGET = "forget"
    RETAIN = "retain"
    BOTH = "both"


class MismatchAt(StrEnum):
    """Weights at which the signed mismatch of the forget pairs is differentiated in stage two: those that the
    stage's gradients belong to, or the weights as they are when a component's turn comes (Algorithm 1).
    """

    STAGE = "stage"
    CURRENT = "current"


class Normalize(StrEnum):
    """How the three gradients of a component are scaled before they are blended."""

    NONE = "none"
    UNIT = "unit"
    MATCH_RETAIN = "match_retain"


class Conflict(StrEnum):
    """What becomes of that part of the forget gradient whose step would raise the retain loss."""

    NONE = "none"  # it stays, and the retain term works against it
    PROJECT = "project"  # it is left out of the step


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


class Ranking(StrEnum):
    """What ranks the steps of a search: how far from forgotten the target is, or how far from the whole
    Target the model is, so that a step may also give back what was lost.
    """

    FORGOTTEN = "forgotten"
    TARGET = "target"


class GrowDraw(StrEnum):
    """Which `grow_sample` examples refreshed gradients come from: the first of each set, or others each
    time.
    """

    FIRST = "first"
    ANEW = "anew"


class Stages(StrEnum):
    """Which components compete with each other: all of them, or those of one tower after the other's."""

    TOGETHER = "together"
    BY_TOWER = "by_tower"


class GrowUpdate(StrEnum):
    """What a growth round moves: the new component (Algorithm 1), or all chosen ones (prose of
    Fig. 2; A15).
    """

    NEW_ONLY = "new_only"
    ALL_ACTIVE = "all_active"
