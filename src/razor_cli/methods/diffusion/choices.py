"""Switches of the methods for models that draw from noise. Imports no torch."""

from __future__ import annotations

from enum import StrEnum


class Technique(StrEnum):
    """What the target's rows should give under UCE: what the anchor's give, or that without its part along
    the target's own.
    """

    REPLACE = "replace"
    TENSOR = "tensor"


class TokenRows(StrEnum):
    """Which rows of a prompt's context count."""

    LAST = "last"  # the last token of the words, the target's own where the prompt names it
    FROM_SUBJECT = "from_subject"  # that one and all that follow, padding too
    ALL = "all"


class Solver(StrEnum):
    """How UCE's matrix is inverted: as it is, or through the rows where these are fewer than its side
    (Woodbury).
    """

    AUTO = "auto"
    DIRECT = "direct"
    WOODBURY = "woodbury"


class SampledBy(StrEnum):
    """Who is asked: the model in training, or the unedited one. For ESD's pictures the first code and that
    of 2025 differ in this, for CA's teacher its two codes and its paper.
    """

    STUDENT = "student"
    TEACHER = "teacher"


class NoisedAt(StrEnum):
    """The timestep of a partly drawn picture: the sampler's own (code of 2025), or one drawn between it and
    the next (first code).
    """

    SAMPLER = "sampler"
    BETWEEN = "between"


class LearntFrom(StrEnum):
    """What CA learns to say of a picture of the anchor under the target's prompt: what the model says of it
    under the anchor's, or the noise that is in it.
    """

    MODEL = "model"
    NOISE = "noise"


class Inversion(StrEnum):
    """How FMN's prompts name the target: by tokens that are learnt from its pictures, or by its name."""

    TOKENS = "tokens"
    NONE = "none"
