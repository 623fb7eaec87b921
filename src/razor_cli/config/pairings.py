"""Settings that are right one by one and impossible together, found before any weight is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from razor_cli.config.asked import ask_of
from razor_cli.config.conf_files import file_of
from razor_cli.config.data_keys import draws, kinds_that_draw
from razor_cli.config.quantization import BACKENDS
from razor_cli.config.schema import convert, unknown
from razor_cli.config.settings import JudgedOn, Options, Scenario
from razor_cli.contract.family import DENOISER
from razor_cli.contract.spec import Spec
from razor_cli.data.ask import Ask, DataSettings
from razor_cli.errors import ConfigError, Problem, RazorError, nearest
from razor_cli.writable import no_place, remedy

MISMATCHES = ("signed", "squared", "abs")  # forms of a mismatch term that every family has


def pairing_problems(options: Options, parts: Mapping[str, Any]) -> list[Problem]:
    """Return the problems between parts; parts that are None were refused already and take no part."""
    found = output_can_lie_there(options)
    rules: list[tuple[Callable[..., list[Problem]], tuple[str, ...]]] = [
        (method_serves_model, ("method", "model")),
        (training_serves_model, ("method", "model")),
        (model_is_there, ("model",)),
        (lambda d, s: data_fits(d, s, parts.get("model"), options), ("data", "scenario")),
        (bounds_are_right, ("scenario",)),
        (packages_are_there, ("quantization",)),
        (schemes_serve_model, ("quantization", "model")),
        (metrics_serve_model, ("metrics", "model")),
    ]
    for rule, names in rules:
        arguments = [parts.get(n) for n in names]
        if all(a is not None for a in arguments):
            found += rule(*arguments)
    return found


def output_can_lie_there(options: Options) -> list[Problem]:
    """The results folder must be a folder, or be able to become one."""
    if not (problem := no_place(options.output_dir)):
        return []
    found, allowed = str(options.output_dir), "a folder, or a place in one"
    return [Problem(what=f"output_dir: {problem}", allowed=allowed, found=found, fix=remedy("output_dir"))]


def refuse_grid(experiment: Options) -> None:
    """Raise ConfigError for a grid, or for processes of one, where a single run or a sweep is meant."""
    if experiment.grid:
        what = "grid belongs into the file of an experiment, and not into a single run or a sweep with -m"
        fix = (
            "razor-run experiment=NAME without -m; several values need no -m there, and grid=[] "
            "switches it off"
        )
        raise ConfigError(what, allowed="grid=[]", found=f"{len(experiment.grid)} blocks", fix=fix)
    if experiment.jobs != 1:
        raise ConfigError(
            "jobs spreads the grid of an experiment over processes, and this is a single run or a sweep",
            allowed="jobs=1",
            found=f"jobs={experiment.jobs}",
            fix="leave it out, or write the values into an experiment's grid",
        )


def method_serves_model(method: Any, model: Spec) -> list[Problem]:
    """A method runs only on families that offer what it needs, with goals and losses that they know."""
    lacking = sorted(method.needs - model.offers)
    if lacking:
        return [
            Problem(
                what=f"method={method.name} does not serve model={model.name}: the family {model.family} "
                f"offers no {' and no '.join(lacking)}",
                allowed=f"methods that need no more than {', '.join(sorted(model.offers))}",
                fix=_what_serves(model),
            )
        ]
    found = []
    for key in ("target", "floor", "guide"):
        for name, number in getattr(method, key, {}).items():
            if number is not None and name not in model.goals:
                found.append(unknown(name, f"method.{key}", model.goals))
    found += [
        unknown(name, "method.utility", model.goals)
        for name in getattr(method, "utility", ())
        if name not in model.goals
    ]
    losses = [getattr(method, "forget_loss", None), *(r.forget_loss for r in getattr(method, "retries", ()))]
    found += [
        p for loss in dict.fromkeys(losses) for p in _wrong_loss(loss, "forget_loss", model.losses, model)
    ]
    drift = str(method.mismatch_form) if getattr(method, "lambda_mismatch", 0) else None
    found += _wrong_loss(drift, "mismatch_form", getattr(model, "mismatches", MISMATCHES), model)
    kept = getattr(method, "retain_loss", None)
    found += _wrong_loss(kept, "retain_loss", model.retain_losses, model)
    return found or _not_in_parts(method, [*losses, kept], model)


def _what_serves(model: Spec) -> str:
    """Return which command lists the methods that a model takes; one of the user's own has another label."""
    if file_of("model", model.name).is_file():
        return f"`razor list methods --model {model.name}` lists what serves it"
    return f"`razor list methods` says what serves models of the family {model.family}"


def _not_in_parts(method: Any, losses: Sequence[str | None], model: Spec) -> list[Problem]:
    """A gradient pass that may end early takes losses in parts, which not every loss can be."""
    served = getattr(model, "in_batches", ())
    wrong = [name for name in dict.fromkeys(losses) if name is not None and name not in served]
    if getattr(method, "adaptive", None) is None or not wrong:
        return []
    return [
        Problem(
            what=f"method.gradient=adaptive takes losses in parts, which a {model.family} model's "
            f"{', '.join(wrong)} cannot be",
            allowed=f"full{', or the losses ' + ', '.join(served) if served else ''}",
            found="adaptive",
            fix="method.gradient=full",
        )
    ]


def training_serves_model(method: Any, model: Spec) -> list[Problem]:
    """Weights train in float32 whatever a model computes in; gradients in float16 vanish."""
    if not hasattr(method, "trained") or getattr(model, "dtype", None) != "float16":
        return []
    return [
        Problem(
            what=f"method={method.name} trains, and gradients vanish in model.dtype=float16",
            allowed="model.dtype=auto, float32 or bfloat16",
            found="model.dtype=float16",
            fix="model.dtype=bfloat16, which takes as little memory, or a method that trains nothing",
        )
    ]


def _wrong_loss(name: str | None, key: str, known: Sequence[str], model: Spec) -> list[Problem]:
    """A loss is named that the model's family does not have, or that this model cannot have; a method without
    such a setting names none.
    """
    refused = getattr(model, "refused_losses", {})
    if name in refused:
        why, fix = refused[name]
        what = f"method.{key}={name} does not serve model={model.name}: {why}"
        allowed = ", ".join(loss for loss in known if loss not in refused)
        return [Problem(what=what, allowed=allowed, found=name, fix=fix)]
    if name is None or name in known:
        return []
    close = nearest(name, known)
    fix = f"did you mean method.{key}={' or '.join(close)}?" if close else None
    what = f"method.{key} has the wrong value"
    return [Problem(what=what, allowed=", ".join(known), found=repr(name), fix=fix)]


def model_is_there(model: Spec) -> list[Problem]:
    """Return what keeps the model from being opened."""
    return model.problems()


def data_fits(data: DataSettings, scenario: Scenario, model: Spec | None, options: Options) -> list[Problem]:
    """Every kind of data knows what it cannot show and what it needs; models that draw have kinds of their
    own.
    """
    if model is not None and draws(data) != (DENOISER in model.offers):
        other = "draws pictures" if DENOISER in model.offers else "compares pictures with texts"
        kinds = [f"data={kind}" for kind in kinds_that_draw(model.family, drawn=DENOISER in model.offers)]
        return [
            Problem(
                what=f"data={data.kind} does not serve model={model.name}, which {other}",
                allowed=", ".join(kinds),
                found=f"data={data.kind}",
                fix=next((k for k in kinds if k.endswith("standin") is model.stand_in), None),
            )
        ]
    ask = ask_of(options, scenario, model)
    refused = _one_only(data, ask) + _held_back(options)
    return refused or [Problem.of(error) for each in ask.of_each() for error in data.problems(each)]


def _held_back(options: Options) -> list[Problem]:
    """Of several edits each searches on validation pictures of its own, which another's scores must not
    be of.
    """
    asked = [key for key in ("sequence", "compose") if getattr(options, key)]
    if not asked or options.judged_on is not JudgedOn.VALIDATION:
        return []
    what = f"{asked[0]}=true is judged on evaluation pictures: each of its edits searches on others"
    return [Problem(what=what, allowed="judged_on=evaluation", found=f"judged_on={options.judged_on}")]


def _one_only(data: DataSettings, ask: Ask) -> list[Problem]:
    """Several concepts go where the data can tell them apart, and their pictures lie under names."""
    if not ask.targets:
        return []
    if getattr(data, "aliases", ()):
        what = "data.aliases does not say which of several targets it names"
        return [Problem(what=what, allowed="data.aliases=[]", found=", ".join(ask.targets))]
    if getattr(data, "several", False) and not ask.taxonomy:
        return []
    fix = "data.forget=[a, b], which that scenario has for it" if ask.taxonomy else "one target for each run"
    return [
        Problem(
            what=f"target names several concepts; data={data.kind} scenario={ask.scenario} takes one",
            allowed="data=standin, generated, unlearncanvas or cifar10, without a taxonomy",
            found=", ".join(ask.targets),
            fix=fix,
        )
    ]


def bounds_are_right(scenario: Scenario) -> list[Problem]:
    """Each acceptance threshold must be one that the verdict understands."""
    from razor_cli.metrics.bounds import Bound

    found: list[Problem] = []
    convert(scenario.acceptance, dict[str, Bound], "scenario.acceptance", found)
    return found


def schemes_serve_model(quantization: Any, model: Any) -> list[Problem]:
    """A family may refuse schemes, each with the reason why it cannot tell what it would be like under it."""
    refused = getattr(model, "refused_schemes", {})
    return [
        Problem(
            what=f"quantization.schemes: {scheme} does not serve model={model.name}: {refused[scheme]}",
            allowed=", ".join(s for s in BACKENDS if s not in refused),
            found=scheme,
            fix="quantization=all, which rounds to nearest",
        )
        for scheme in quantization.schemes
        if scheme in refused
    ]


def metrics_serve_model(metrics: Any, model: Spec) -> list[Problem]:
    """An exam must be able to judge the model; a model in memory may be edited without one."""
    return [] if getattr(model, "in_memory", False) else exam_problems(metrics, model)


def exam_problems(metrics: Any, model: Spec) -> list[Problem]:
    """Return what an exam needs of a model that it has not, such as who judges."""
    problems = getattr(metrics, "problems", None)
    return [] if problems is None else [Problem.of(error) for error in problems(model)]


def packages_are_there(quantization: Any) -> list[Problem]:
    """A real quantization backend must be installed."""
    try:
        quantization.check_available()
    except RazorError as error:
        return [Problem(what=error.what, allowed=error.allowed, found=error.found, fix=error.fix)]
    return []
