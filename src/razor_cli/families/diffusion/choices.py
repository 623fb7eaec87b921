"""Choices that the settings of a model that draws have, and what methods may name. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from razor_cli.contract.family import RETAIN
from razor_cli.contract.goals import Goal, Meaning
from razor_cli.dual.choices import FORGET_LOSSES as PAIRED


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
RETAIN_LOSSES = (RETAIN, "retain_nce", "drift")
GOALS: Mapping[str, Goal] = {
    "recognised": Goal(meaning=Meaning.AT_MOST, metrics=(("recognised",),), slopes=(("sure",),)),
    "spoilt": Goal(meaning=Meaning.AT_MOST, metrics=(("spoilt",),)),
    "text_gone": Goal(meaning=Meaning.AT_MOST, metrics=(("text_gone",),)),
    "ira_drop": Goal(meaning=Meaning.DROP, metrics=(("ira",),)),
    "cra_drop": Goal(meaning=Meaning.DROP, metrics=(("cra",),)),
    "near_drop": Goal(meaning=Meaning.DROP, metrics=(("near",),)),
    "text_kept": Goal(meaning=Meaning.KEPT, metrics=(("text_kept",),)),
}
