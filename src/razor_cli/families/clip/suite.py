"""All scores of one state of a model, in every reading of the paper that the settings ask for."""

from __future__ import annotations

from razor_cli.dual.measures import Features, Reference, reference, search_metrics
from razor_cli.families.clip import scoring
from razor_cli.families.clip.membership import mia_scores, privleak_scores
from razor_cli.families.clip.oracle import distance_scores, rf_jsd_scores
from razor_cli.families.clip.readings import Metrics
from razor_cli.families.clip.tracing import tracing_scores
from razor_cli.metrics.score import Score

__all__ = ["Features", "Metrics", "Reference", "evaluate", "reference", "score_state", "search_metrics"]


def evaluate(
    features: Features,
    settings: Metrics,
    *,
    base: Reference | None = None,
    base_q: Reference | None = None,
    edit: Reference | None = None,
    oracle: Reference | None = None,
    from_base: bool = False,
    seed: int = 0,
) -> list[Score]:
    """Return every score of one state of a model.

    `base`: the unedited model in full precision. `base_q`: the same under the quantization of this state.
    `edit`: the edited model in full precision, for quantized rows. `oracle`: the model retrained without the
    target, in full precision. What needs a reference that is not given is `not computed`. `from_base` adds
    the distances from the base beside those from the oracle. Raises RunError for embeddings that are not
    finite, ValueError for a reference measured on other pictures.
    """
    references = {"base": base, "base_q": base_q, "edit": edit, "oracle": oracle}
    return score_state(reference(features), settings, **references, from_base=from_base, seed=seed)


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
    """Return every score of a state that is measured already; arguments as of `evaluate`."""
    against = {"base": base, "base_q": base_q, "edit": edit}
    for name, other in (against | {"oracle": oracle}).items():
        if other is not None and other.sizes != now.sizes:
            raise ValueError(
                f"the reference {name!r} was measured on other pictures: {other.sizes}, now {now.sizes}"
            )
    unedited = {"base": base, "base_q": base_q}
    return [
        *scoring.m1_scores(now, settings),
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
