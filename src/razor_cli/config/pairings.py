"""Settings that are right one by one and impossible together, found before any weight is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from razor_cli.config.schema import convert, unknown
from razor_cli.config.settings import Data, DataKind, Options, Pictures, Scenario
from razor_cli.contract.family import Spec
from razor_cli.data.choices import LABELLED
from razor_cli.data.prepared import prepared
from razor_cli.data.taxonomy import templates
from razor_cli.errors import ConfigError, Problem, RazorError, nearest

PHOTOGRAPHS = "data=folder data.root=DIR (DIR/<concept>/*.jpg|png|webp)"
SHARDS = "data=webdataset data.root=DIR (.tar shards with captions)"
CLASSES = {
    DataKind.CIFAR10: "CIFAR-10 has ten classes",
    DataKind.IMAGENET: "ImageNet-1K has a thousand classes",
}
OWN = (
    DataKind.FOLDER,
    DataKind.WEBDATASET,
    DataKind.LAION,
)  # kinds that take benchmarks and names beside their own pictures


def pairing_problems(options: Options, parts: Mapping[str, Any]) -> list[Problem]:
    """Return the problems between parts; parts that are None were refused already and take no part."""
    rules: list[tuple[Callable[..., list[Problem]], tuple[str, ...]]] = [
        (method_serves_model, ("method", "model")),
        (model_is_there, ("model",)),
        (scenario_has_data, ("scenario", "data", "model")),
        (data_is_there, ("data", "scenario")),
        (benchmarks_fit, ("data", "scenario")),
        (taxonomy_fits, ("data", "scenario")),
        (aliases_differ, ("data",)),
        (bounds_are_right, ("scenario",)),
        (packages_are_there, ("quantization",)),
    ]
    found: list[Problem] = []
    for rule, names in rules:
        arguments = [parts.get(n) for n in names]
        if all(a is not None for a in arguments):
            found += rule(*arguments, options) if rule is aliases_differ else rule(*arguments)
    return found


def method_serves_model(method: Any, model: Spec) -> list[Problem]:
    """A method runs only on families that offer what it needs, with goals and losses that they know."""
    lacking = sorted(method.needs - model.offers)
    if lacking:
        return [
            Problem(
                what=f"method={method.name} does not serve model={model.name}: the family {model.family} "
                f"offers no {' and no '.join(lacking)}",
                allowed=f"methods that need no more than {', '.join(sorted(model.offers))}",
                fix="`razor list methods` shows what serves it",
            )
        ]
    found = []
    for key in ("target", "floor"):
        for name in getattr(method, key, {}):
            if name not in model.goals:
                found.append(unknown(name, f"method.{key}", model.goals))
    losses = [getattr(method, "forget_loss", None), *(r.forget_loss for r in getattr(method, "retries", ()))]
    for loss in losses:
        if loss is not None and loss not in model.losses:
            close = nearest(loss, model.losses)
            found.append(
                Problem(
                    what="method.forget_loss has the wrong value",
                    allowed=", ".join(model.losses),
                    found=repr(loss),
                    fix=f"did you mean method.forget_loss={' or '.join(close)}?" if close else None,
                )
            )
    return found


def model_is_there(model: Spec) -> list[Problem]:
    """Return what keeps the model from being opened."""
    return model.problems()


def scenario_has_data(scenario: Scenario, data: Data, model: Spec) -> list[Problem]:
    """Drawn portraits are known to the stand-in only, and every source shows its own kind of concept."""
    if data.kind is DataKind.STANDIN and scenario.pictures is Pictures.PORTRAITS and not model.stand_in:
        return [_no_photographs(scenario, model)]
    if data.kind is DataKind.STANDIN and scenario.pictures is Pictures.CIFAR10:
        what = f"scenario={scenario.name} with data=standin: that draws portraits and emoji, no photographs"
        return [
            Problem(
                what=what,
                allowed=f"data=cifar10, {PHOTOGRAPHS}, {SHARDS}",
                found="data=standin",
                fix="data=cifar10",
            )
        ]
    if data.kind in CLASSES and scenario.domain != "object":
        what = (
            f"scenario={scenario.name} with data={data.kind}: {CLASSES[data.kind]} of objects, no "
            f"{scenario.domain}"
        )
        allowed = f"data=standin with model=clip_tiny, {PHOTOGRAPHS}, {SHARDS}"
        fix = f"scenario=class data={data.kind} target=" + (
            "dog" if data.kind is DataKind.CIFAR10 else "tench"
        )
        return [Problem(what=what, allowed=allowed, found=f"data={data.kind}", fix=fix)]
    if data.kind in (DataKind.FOLDER, DataKind.WEBDATASET, DataKind.LAION) and scenario.domain == "emoji":
        what = f"scenario={scenario.name} shows emoji, data={data.kind} photographs"
        return [
            Problem(
                what=what,
                allowed="data=standin",
                found=f"data={data.kind}",
                fix=f"scenario=class data={data.kind} data.root=DIR",
            )
        ]
    return []


def _no_photographs(scenario: Scenario, model: Spec) -> Problem:
    return Problem(
        what=f"model={model.name} scenario={scenario.name} has no pictures: only the stand-in knows what "
        "data=standin draws",
        allowed=f"{PHOTOGRAPHS}, {SHARDS}",
        found="data=standin",
        fix=(
            "one of\n"
            "    your photographs: data=folder data.root=DIR, 12 or more in DIR/<target>/; what must "
            "keep working comes from\n"
            "      data.retain_root=DIR, or from CIFAR-10 fetched once by `razor data prepare cifar10`\n"
            "    captioned shards: data=webdataset data.root=DIR\n"
            "    with weights from: model.weights=FILE_OR_TAG\n"
            "    the stand-in, which needs neither: model=clip_tiny data=standin"
        ),
    )


def data_is_there(data: Data, scenario: Scenario) -> list[Problem]:
    """Folders that are named must exist, and those that are needed must be named."""
    keys = (
        "root",
        "retain_root",
        "cifar_root",
        "celeba_root",
        "imagenet_root",
        "names_file",
        "taxonomy",
        "ood_root",
    )
    named = {k: getattr(data, k) for k in keys} | {
        f"suite_roots.{k}": path for k, path in data.suite_roots.items()
    }
    found = [
        _no_folder(f"data.{key}", path)
        for key, path in named.items()
        if path is not None and not _exists(path)
    ]
    if data.kind in (*OWN, *LABELLED, DataKind.IMAGENET) and data.root is None:
        fix = "data.root=DIR; the stand-in needs no pictures: model=clip_tiny data=standin"
        found.append(
            Problem(
                what=f"data.root is needed by data={data.kind}",
                allowed="a folder of pictures",
                found="null",
                fix=fix,
            )
        )
    if data.kind is DataKind.CIFAR10 and data.cifar_root is None and not prepared("cifar10").is_dir():
        fix = "run `razor data prepare cifar10` once, or add data.cifar_root=DIR"
        what = f"data.cifar_root is needed by data=cifar10 (scenario={scenario.name})"
        found.append(
            Problem(
                what=what, allowed="a folder with CIFAR-10's parquet or binary files", found="null", fix=fix
            )
        )
    if (
        data.kind is DataKind.FOLDER
        and data.root is not None
        and data.root.is_dir()
        and not _has_retain(data)
    ):
        fix = (
            "data.retain_root=DIR, or run `razor data prepare cifar10` once, or put other concepts "
            "beside the target's folder"
        )
        found.append(
            Problem(
                what="data.retain_root is needed: data.root shows nothing besides the target",
                found="null",
                fix=fix,
            )
        )
    return found


def benchmarks_fit(data: Data, scenario: Scenario) -> list[Problem]:
    """CelebA and lists of names go with pictures of the user's own, and CelebA shows persons."""
    found = []
    for key in ("celeba_root", "imagenet_root", "names_file"):
        if getattr(data, key) is not None and data.kind not in OWN:
            what, allowed = (
                f"data.{key} is not used with data={data.kind}",
                ", ".join(f"data={k}" for k in OWN),
            )
            found.append(
                Problem(
                    what=what, allowed=allowed, found=str(getattr(data, key)), fix=f"leave data.{key} out"
                )
            )
    if data.celeba_root is not None and data.kind in OWN and scenario.domain != "person":
        what = (
            f"data.celeba_root shows persons, and scenario={scenario.name} is about the domain "
            f"{scenario.domain}"
        )
        found.append(Problem(what=what, allowed="scenario=identity", found=str(data.celeba_root)))
    if data.judge_on_celeba and data.celeba_root is None:
        what = "data.judge_on_celeba needs the photographs of CelebA"
        found.append(Problem(what=what, allowed="data.celeba_root=DIR", found="data.celeba_root=null"))
    return found


def _exists(path: Path) -> bool:
    return path.exists() or any(
        c in path.name for c in "*?[{"
    )  # a pattern of shards is expanded by its source


def _no_folder(key: str, path: Path) -> Problem:
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = nearest(path.name, siblings)
    return Problem(
        what=f"{key}: no such file or folder",
        found=str(path),
        fix=f"did you mean {path.parent / close[0]}?" if close else None,
    )


def _has_retain(data: Data) -> bool:
    assert data.root is not None
    others = sum(p.is_dir() for p in data.root.iterdir()) > 1
    return (
        others or data.retain_root is not None or data.cifar_root is not None or prepared("cifar10").is_dir()
    )


def taxonomy_fits(data: Data, scenario: Scenario) -> list[Problem]:
    """A taxonomy needs labelled pictures, and what is said of it needs a taxonomy."""
    labelled, found = data.kind in LABELLED, []
    if scenario.taxonomy and not labelled and data.kind is not DataKind.STANDIN:
        what = f"scenario={scenario.name} needs fine and coarse labels, which data={data.kind} has not"
        allowed = "data=standin, data=imgnetdogs, data=compcars, data=labelled"
        found.append(
            Problem(what=what, allowed=allowed, found=f"data={data.kind}", fix="data=labelled data.root=DIR")
        )
    if labelled and not scenario.taxonomy:
        what = f"data={data.kind} has a taxonomy, and scenario={scenario.name} forgets a single concept"
        fix = "scenario=fine_grained, or data=folder for a folder per class"
        found.append(
            Problem(what=what, allowed="scenario=fine_grained", found=f"scenario={scenario.name}", fix=fix)
        )
    if data.forget and not scenario.taxonomy:
        what, fix = (
            "data.forget names concepts that go together",
            "scenario=fine_grained, or one concept as target=NAME",
        )
        found.append(
            Problem(what=what, allowed="scenario=fine_grained", found=f"scenario={scenario.name}", fix=fix)
        )
    for key in ("taxonomy", "prompts", "ood_root", "suite_roots"):
        if getattr(data, key) and not labelled:
            what, allowed = (
                f"data.{key} is not used with data={data.kind}",
                ", ".join(f"data={k}" for k in LABELLED),
            )
            found.append(Problem(what=what, allowed=allowed, fix=f"leave data.{key} out"))
    if labelled and data.prompts:
        try:
            templates(data.prompts)
        except ConfigError as error:
            found.append(Problem.of(error))
    return found


def aliases_differ(data: Data, options: Options) -> list[Problem]:
    """An alias that is the target says nothing."""
    same = [a for a in data.aliases if a.casefold() == options.target.casefold()]
    return (
        [Problem(what="data.aliases repeats the target", found=same[0], allowed="other names of the target")]
        if same
        else []
    )


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
