"""What methods may name of a LLaVA: losses and goals. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from razor_cli.contract.family import RETAIN
from razor_cli.contract.goals import Goal, Meaning
from razor_cli.dual.choices import FORGET_LOSSES as DUAL_FORGET
from razor_cli.dual.goals import GOALS as DUAL_GOALS

LITERAL = "concept_ce_literal"
NLL, GENERIC, RETAIN_ANSWERS = "answer_nll", "answer_generic", "retain_answers"
FEATURE_KEEP = "feature_keep"
FORGET_LOSSES = (*DUAL_FORGET, LITERAL, NLL, GENERIC)
RETAIN_LOSSES = (RETAIN, RETAIN_ANSWERS, FEATURE_KEEP)
IN_BATCHES = (*DUAL_FORGET, RETAIN)  # those whose gradient may be taken of some of the batches
MISMATCHES = ("squared", "first_token", "features", "similarity", "signed", "abs")
GOALS: Mapping[str, Goal] = {
    "fa": Goal(meaning=Meaning.AT_MOST, metrics=(("fa",),), slopes=(("sure",),)),
    "retain_fa_drop": Goal(meaning=Meaning.DROP, metrics=(("retain_fa",),)),
    "answers_drop": Goal(meaning=Meaning.DROP, metrics=(("answers",),)),
    **DUAL_GOALS,
}
