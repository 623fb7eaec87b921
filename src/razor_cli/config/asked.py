"""What the rest of a run says to its data."""

from __future__ import annotations

from razor_cli.config.settings import JudgedOn, Options, Scenario
from razor_cli.config.several import targets_of
from razor_cli.contract.spec import Spec
from razor_cli.data.ask import Ask, Confidence, Draw, Embed, no_model, nothing_drawn, nothing_embedded


def ask_of(
    options: Options,
    scenario: Scenario,
    model: Spec | None,
    *,
    confidence: Confidence = no_model,
    draw: Draw = nothing_drawn,
    embed: Embed = nothing_embedded,
) -> Ask:
    """Return what a kind of data may need of the rest of a run; nothing depends on a model that was
    refused.
    """
    names = targets_of(options.target)
    return Ask(
        target=names[0],
        targets=names if len(names) > 1 else (),
        domain=scenario.domain,
        pictures=scenario.pictures.value,
        suites=tuple(s.value for s in scenario.suites),
        taxonomy=scenario.taxonomy,
        called=scenario.default_target,
        scenario=scenario.name,
        model=model.name if model else "",
        stand_in=model.stand_in if model else True,
        seed=options.seed,
        held_back=options.judged_on is JudgedOn.VALIDATION,
        axis=scenario.axis,
        confidence=confidence,
        draw=draw,
        embed=embed,
    )
