"""Settings that are right one by one and impossible together, found before any weight is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from razor_cli.config.asked import ask_of
from razor_cli.config.schema import Problem, convert
from razor_cli.config.settings import Library, Model, Options, Scenario
from razor_cli.data.ask import DataSettings
from razor_cli.errors import RazorError

WEIGHT_SUFFIXES = (".pt", ".bin", ".safetensors", ".pth", ".ckpt", ".npz")


def pairing_problems(options: Options, parts: Mapping[str, Any]) -> list[Problem]:
    """Return the problems between parts; parts that are None were refused already and take no part."""
    rules: list[tuple[Callable[..., list[Problem]], tuple[str, ...]]] = [
        (method_serves_family, ("method", "model")),
        (weights_exist, ("model",)),
        (lambda d, s: data_fits(d, s, parts.get("model"), options), ("data", "scenario")),
        (bounds_are_right, ("scenario",)),
        (packages_are_there, ("quantization",)),
    ]
    found: list[Problem] = []
    for rule, names in rules:
        arguments = [parts.get(n) for n in names]
        if all(a is not None for a in arguments):
            found += rule(*arguments)
    return found


def method_serves_family(method: Any, model: Model) -> list[Problem]:
    """A method runs only on the families it declares."""
    if model.family in method.families:
        return []
    what = f"method={type(method).__name__} does not serve model.family={model.family} (model={model.name})"
    return [
        Problem(
            what=what,
            allowed=", ".join(method.families),
            found=model.family,
            fix="`razor list methods` shows what serves it",
        )
    ]


def weights_exist(model: Model) -> list[Problem]:
    """A path given as weights must exist; a tag is looked up when the model loads."""
    if model.weights is None:
        return []
    path = Path(model.weights).expanduser()
    is_path = path.suffix in WEIGHT_SUFFIXES or len(path.parts) > 1 or model.library is not Library.OPEN_CLIP
    if not is_path or path.exists():
        return []
    fix = "model.weights=FILE_OR_TAG, or the embedded stand-in: model=clip_tiny data=standin"
    return [
        Problem(what=f"model.weights: no such file or folder (model={model.name})", found=str(path), fix=fix)
    ]


def data_fits(data: DataSettings, scenario: Scenario, model: Model | None, options: Options) -> list[Problem]:
    """Every kind of data knows what it cannot show and what it needs."""
    return [Problem.of(error) for error in data.problems(ask_of(options, scenario, model))]


def bounds_are_right(scenario: Scenario) -> list[Problem]:
    """Each acceptance threshold must be one that the verdict understands."""
    from razor_cli.metrics.verdict import Bound

    found: list[Problem] = []
    convert(scenario.acceptance, dict[str, Bound], "scenario.acceptance", found)
    return found


def packages_are_there(quantization: Any) -> list[Problem]:
    """A real quantization backend must be installed."""
    try:
        quantization.check_available()
    except RazorError as error:
        return [Problem(what=error.what, allowed=error.allowed, found=error.found, fix=error.fix)]
    return []
