"""All scores of one state of a model, in every reading of the paper that the settings ask for."""

from __future__ import annotations

from razor_cli.families.clip import scoring
from razor_cli.families.clip.membership import mia_scores, privleak_scores
from razor_cli.families.clip.oracle import distance_scores, rf_jsd_scores
from razor_cli.families.clip.reference import Reference
from razor_cli.families.clip.settings import Metrics
from razor_cli.families.clip.tracing import tracing_scores
from razor_cli.metrics.score import Score


def score_state(
    now: Reference,
    settings: Metrics,
    *,
    base: Reference | None = None,
    base_q: Reference | None = None,
    edit: Reference | None = None,
    oracle: Reference | None = None,
    from_base: bool = False,
    seed: int = 0,
) -> list[Score]:
    """Return every score of a state that is measured already; no model takes part."""
    against = {"base": base, "base_q": base_q, "edit": edit}
    for name, other in (against | {"oracle": oracle}).items():
        if other is not None and other.sizes != now.sizes:
            raise ValueError(
                f"the reference {name!r} was measured on other pictures: {other.sizes}, now {now.sizes}"
            )
    unedited = {"base": base, "base_q": base_q}
    return [
        *scoring.m1_scores(now, settings, unedited),
        *scoring.gone_scores(now),
        *scoring.m2_scores(now, settings, seed),
        *scoring.m3_scores(now, settings, against, seed),
        *mia_scores(now),
        *privleak_scores(now, oracle),
        *rf_jsd_scores(now, base, settings, seed),
        *distance_scores(now, oracle, "oracle", settings, seed),
        *(distance_scores(now, base, "base", settings, seed) if from_base else []),
        *scoring.m4_scores(now, settings, unedited),
        *scoring.m5_scores(now, settings, unedited, seed),
        *scoring.others_scores(now, settings, unedited),
        *scoring.suite_scores(now, unedited),
        *tracing_scores(now, settings, base, seed),
        *scoring.recovery_scores(now, settings, base, edit, seed),
    ]
