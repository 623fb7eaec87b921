"""SLUG's switches, apart from what turns them. Imports no torch."""

from __future__ import annotations

from enum import StrEnum


class Align(StrEnum):
    """Alignment of the two gradients: |cos| as the code has it, or the signed cosine."""

    ABS = "abs"
    SIGNED = "signed"


class Candidates(StrEnum):
    """Which tensors may be edited: the code's rule, or attention and MLP weights only."""

    CODE = "code"
    ATTN_MLP_ONLY = "attn_mlp_only"


class Pick(StrEnum):
    """How one trial is chosen among all: the reference leaves it to the reader."""

    BEST_UTILITY = "best_utility"
    DEEPEST = "deepest"


class RetainPath(StrEnum):
    """How retain pictures reach their gradient: in the order of the list as they are evaluated, or shuffled
    and cropped at random, as the published code's data path hands out what it trains on.
    """

    LISTED = "listed"
    TRAINING = "training"


class Captions(StrEnum):
    """Captions of forget or retain pairs: their own, or the target's name on every picture, as the published
    scripts for text encoders overwrite them.
    """

    CAPTION = "caption"
    CONCEPT = "concept"


class Searched(StrEnum):
    """Which of the Pareto front gets a search: all of it; the deepest tensor of each tower; or that tensor as
    the published code finds it, which begins at block 0 with a strict comparison and never takes block 0.
    """

    FRONT = "front"
    DEEPEST = "deepest"
    DEEPEST_CODE = "deepest_code"


class Bracket(StrEnum):
    """How the step is found: doubled until it forgets and then bisected, or bisected below `first_bound`
    first steps with an eye on what must stay (published script for text encoders).
    """

    DOUBLE = "double"
    BOUNDED = "bounded"


class Along(StrEnum):
    """Which way a step goes: where the forget loss says that it forgets, or the other way, as the published
    scripts for text encoders do.
    """

    PAPER = "paper"
    REFERENCE = "reference"
