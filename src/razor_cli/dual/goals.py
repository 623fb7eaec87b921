"""What `target` and `floor` of a method may name for a model with two towers (metrics of
dual/criteria.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from razor_cli.contract.goals import Goal, Instead, Meaning

_MEAN, _GENERIC = (
    ("m1", "m1_generic"),
    ("m1_generic",),
)  # against the mean of the classes, and the neutral prompt
_MEAN_MARGIN, _GENERIC_MARGIN = ("margin", "margin_generic"), ("margin_generic",)

GOALS: Mapping[str, Goal] = {
    "m1": Goal(meaning=Meaning.AT_MOST, metrics=(_MEAN, _GENERIC), slopes=(_MEAN_MARGIN, _GENERIC_MARGIN)),
    "m1_mean": Goal(meaning=Meaning.AT_MOST, metrics=(_MEAN,), slopes=(_MEAN_MARGIN,)),
    "m1_generic": Goal(meaning=Meaning.AT_MOST, metrics=(_GENERIC,), slopes=(_GENERIC_MARGIN,)),
    # Among all names. The neutral prompt is passed long before the last of them is, and its margin with it.
    "m1_multiclass": Goal(meaning=Meaning.AT_MOST, metrics=(("fa_top1",),), slopes=(_MEAN_MARGIN,)),
    "m4_drop": Goal(meaning=Meaning.DROP, metrics=(("m4_generic",),)),
    # M5 as printed counts a gain of retrieval as it counts a loss. To a search a gain is no harm: on few
    # validation pictures a small step often gains some points, and a search that took them for damage went on
    # to a step so large that it lost them again.
    "m5": Goal(meaning=Meaning.KEPT, metrics=(("util",),)),
    "others_drop": Goal(meaning=Meaning.DROP, metrics=(("others",),)),
    "quality": Goal(meaning=Meaning.SHARE, metrics=(("df_fine",),)),
    "utility": Goal(meaning=Meaning.SHARE, metrics=(("dr_fine",), ("dr_coarse",), ("df_coarse",))),
}

# Of models trained with the sigmoid loss: it pushes the cosines of pairs that do not match below 0, and the
# mean of many prompts, at length 1, lies further below still. Nearly any prompt beats it, whatever went.
SIGMOID = Instead(
    goals={"m1": ("m1_generic", "m1_multiclass")},
    bounds={("m1", "dual/mean_of_classes"): ("m1_multiclass", "multiclass")},
)
