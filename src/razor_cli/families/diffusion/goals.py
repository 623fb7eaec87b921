"""What `target` and `floor` of a method may name for a model that draws (metrics of board.py). Imports no
torch.
"""

from __future__ import annotations

from collections.abc import Mapping

from razor_cli.contract.goals import Goal, Meaning

GOALS: Mapping[str, Goal] = {
    # of pictures, as far as the search may draw them
    "recognised": Goal(meaning=Meaning.AT_MOST, metrics=(("recognised",),), slopes=(("sure",),)),
    "ira_drop": Goal(meaning=Meaning.DROP, metrics=(("ira",),)),
    "cra_drop": Goal(meaning=Meaning.DROP, metrics=(("cra",),)),
    "near_drop": Goal(meaning=Meaning.DROP, metrics=(("near",),)),
    # of contexts of prompts, which cost milliseconds
    "text_gone": Goal(meaning=Meaning.AT_MOST, metrics=(("text_gone",),)),
    "text_kept": Goal(meaning=Meaning.KEPT, metrics=(("text_kept",),)),
}
