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


class StandIn(StrEnum):
    """What a forget picture comes to be called by the net: its caption's anchor, or the caption of a retain
    picture.
    """

    ANCHOR = "anchor"
    RETAIN = "retain"


class Restored(StrEnum):
    """Which weights EraseDiff's inner phase gives back: those before it, or those before the epoch (published
    code: of all phases of an epoch only the last leaves something).
    """

    PER_INNER = "per_inner"
    EPOCH_START = "epoch_start"


class Weighing(StrEnum):
    """Whether EraseDiff's forgetting weighs alpha, or as much as it conflicts with keeping."""

    FIXED = "fixed"
    ADAPTIVE = "adaptive"


class Reinit(StrEnum):
    """Where Scissorhands draws weights anew: cross-attention (UnlearnCanvas), self-attention in the middle of
    the upper half (first code), or anywhere. In SD3, whose blocks have one joint attention, both of the
    former are its text side.
    """

    ATTN2 = "attn2"
    UP_ATTN1 = "up_attn1"
    ALL = "all"


class Forgetting(StrEnum):
    """How Scissorhands forgets while it recovers: forget pictures are relabelled, or their denoising loss
    ascends.
    """

    RELABEL = "relabel"
    ASCENT = "ascent"
