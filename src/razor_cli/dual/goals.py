"""What `target` and `floor` of a method may name for a model with two towers (metrics of
dual/criteria.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from razor_cli.contract.goals import Goal, Meaning

_MEAN, _GENERIC = (
    ("m1", "m1_generic"),
    ("m1_generic",),
)  # against the mean of the classes, and the neutral prompt
_MEAN_MARGIN, _GENERIC_MARGIN = ("margin", "margin_generic"), ("margin_generic",)

GOALS: Mapping[str, Goal] = {
    "m1": Goal(meaning=Meaning.AT_MOST, metrics=(_MEAN, _GENERIC), slopes=(_MEAN_MARGIN, _GENERIC_MARGIN)),
    "m1_mean": Goal(meaning=Meaning.AT_MOST, metrics=(_MEAN,), slopes=(_MEAN_MARGIN,)),
    "m1_generic": Goal(meaning=Meaning.AT_MOST, metrics=(_GENERIC,), slopes=(_GENERIC_MARGIN,)),
    # Among all names. Its slope is the neutral prompt's: a picture that a name still wins is close to the target's.
    "m1_multiclass": Goal(meaning=Meaning.AT_MOST, metrics=(("fa_top1",),), slopes=(_GENERIC_MARGIN,)),
    "m4_drop": Goal(meaning=Meaning.DROP, metrics=(("m4_generic",),)),
    # M5 as printed counts a gain of retrieval as it counts a loss. To a search a gain is no harm: on few
    # validation pictures a small step often gains some points, and a search that took them for damage went on
    # to a step so large that it lost them again.
    "m5": Goal(meaning=Meaning.KEPT, metrics=(("util",),)),
    "others_drop": Goal(meaning=Meaning.DROP, metrics=(("others",),)),
    "quality": Goal(meaning=Meaning.SHARE, metrics=(("df_fine",),)),
    "utility": Goal(meaning=Meaning.SHARE, metrics=(("dr_fine",), ("dr_coarse",), ("df_coarse",))),
}
