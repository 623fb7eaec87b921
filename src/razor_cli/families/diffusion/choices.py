"""Choices that the settings of a model that draws have, and what methods may name. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from razor_cli.contract.family import RETAIN
from razor_cli.contract.goals import Goal, Meaning
from razor_cli.dual.choices import FORGET_LOSSES as PAIRED
from razor_cli.errors import ConfigError


class Precision(StrEnum):
    """The dtype that a model is held and computes in."""

    AUTO = "auto"  # float32: a coarser one cannot hold every new value that is rounded to the file's dtype
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @property
    def chosen(self) -> str:
        """Return the dtype that it means."""
        return Precision.FLOAT32.value if self is Precision.AUTO else self.value


class ThirdEncoder(StrEnum):
    """What becomes of SD3's T5."""

    LOAD = "load"  # where the pipeline lists it
    OFF = "off"


FORGET_LOSSES = (*PAIRED, "concept_head", "anchor")
RETAIN_NCE = "retain_nce"  # what `retain` is of a model that compares pictures with texts
RETAIN_LOSSES = (RETAIN, RETAIN_NCE, "drift")
NEED_PAIR = (*PAIRED, RETAIN_NCE)  # losses in the space of the paired CLIP
GOALS: Mapping[str, Goal] = {
    "recognised": Goal(meaning=Meaning.AT_MOST, metrics=(("recognised",),), slopes=(("sure",),)),
    "spoilt": Goal(meaning=Meaning.AT_MOST, metrics=(("spoilt",),)),
    "text_gone": Goal(meaning=Meaning.AT_MOST, metrics=(("text_gone",),)),
    "ira_drop": Goal(meaning=Meaning.DROP, metrics=(("ira",),)),
    "cra_drop": Goal(meaning=Meaning.DROP, metrics=(("cra",),)),
    "near_drop": Goal(meaning=Meaning.DROP, metrics=(("near",),)),
    "text_kept": Goal(meaning=Meaning.KEPT, metrics=(("text_kept",),)),
}


def refused_losses(paired: bool) -> Mapping[str, tuple[str, str]]:
    """Return the losses that a model cannot have, each with why and what helps: without a paired CLIP those
    that compare pictures with texts.
    """
    if paired:
        return {}
    why = "it compares pictures with texts, and no CLIP is beside the model (model.companion=null)"
    fix = "model.companion=DIR with the CLIP that the text encoder comes from, or a loss that needs none"
    return dict.fromkeys(NEED_PAIR, (why, fix))


def no_float16() -> ConfigError:
    """Return the error of a model that a CPU would compute in float16."""
    return ConfigError(
        "model.dtype=float16 is for GPUs: on a CPU it is slow, and many of its operations are missing",
        allowed="auto, float32, bfloat16",
        found="float16 on cpu",
        fix="model.dtype=bfloat16, or model.device=cuda",
    )


class Reweighting(StrEnum):
    """How SEOT takes words out of a context: each singular value shrinks by itself (soft), all rows are
    scaled, or a share of the values goes, from the top or all but the top.
    """

    SOFT = "soft"
    WEIGHT = "weight"
    TOP = "alpha"
    REST = "beta"


class Gate(StrEnum):
    """Which prompts SEOT touches: those that ask for the target as the request knows it, those that hold its
    name, or all.
    """

    ORACLE = "oracle"
    SUBSTRING = "substring"
    ALWAYS = "always"


class PooledVector(StrEnum):
    """What SEOT makes of the vector that SD3 reads of a whole prompt: nothing, or that of no words."""

    LEAVE = "leave"
    EMPTY = "empty"


class Optimising(StrEnum):
    """Whether SEOT moves contexts by gradient steps too: on a UNet, never, or refused where it cannot be."""

    AUTO = "auto"
    OFF = "off"
    ON = "on"


class Matching(StrEnum):
    """How much of a membrane takes part under a prompt: by the likeness of contexts, the share of the
    concept's tokens that it has, the larger of both, or all of it under every prompt.
    """

    COSINE_OR_TOKENS = "clipcos_tokenuni"
    COSINE = "clipcos"
    TOKENS = "tokenuni"
    FIXED = "fixed"
