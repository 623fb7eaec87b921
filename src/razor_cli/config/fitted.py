"""What a run is fitted to its model by: `auto`, and goals and bounds that say nothing on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from razor_cli.config.settings import Scenario
    from razor_cli.contract.goals import Instead

TARGET, ACCEPTANCE = "method.target", "scenario.acceptance"


def fit_method(method: Any, instead: Instead, typed: Collection[str]) -> Any:
    """Return a method whose Target has what the model can be judged by, with the same numbers. A goal among
    the `typed` keys stays, and a goal that is named already keeps its own number.
    """
    target = getattr(method, "target", None)
    if not target or TARGET in typed:
        return method
    fitted: dict[str, float | None] = {}
    for goal, number in target.items():
        if goal not in instead.goals or f"{TARGET}.{goal}" in typed:
            fitted[goal] = number
        elif number is not None:
            fitted |= {name: number for name in instead.goals[goal] if name not in target}
    return method if fitted == target else replace(method, target=fitted)


def fit_scenario(scenario: Scenario, instead: Instead, typed: Collection[str]) -> Scenario:
    """Return a scenario whose bounds are of what the model can be judged by, with the same thresholds. A
    bound of which something is `typed` stays.
    """
    if ACCEPTANCE in typed:
        return scenario
    fitted: dict[str, dict[str, Any]] = {}
    for name, bound in scenario.acceptance.items():
        other = instead.bounds.get((str(bound.get("metric")), str(bound.get("variant"))))
        key = f"{ACCEPTANCE}.{name}"
        if other is None or any(word == key or word.startswith(f"{key}.") for word in typed):
            fitted[name] = bound
        elif other[0] not in scenario.acceptance:
            fitted[other[0]] = {**bound, "variant": other[1]}
    return scenario if fitted == scenario.acceptance else replace(scenario, acceptance=fitted)


def fit(parts: Mapping[str, Any], typed: Collection[str]) -> dict[str, Any]:
    """Return the parts of a run, fitted to its model: what `auto` means for it, and what stands in place of
    goals and bounds that say nothing on it. Parts that are None were refused already.
    """
    found, model = dict(parts), parts["model"]
    if (fitted := getattr(parts["metrics"], "fitted", None)) is not None:
        found["metrics"] = fitted(model)
    if (instead := getattr(model, "instead", None)) is not None:
        if parts["method"] is not None:
            found["method"] = fit_method(parts["method"], instead, typed)
        if parts["scenario"] is not None:
            found["scenario"] = fit_scenario(parts["scenario"], instead, typed)
    return found
