"""What was printed of UnlearnCanvas (RAZOR Tables 4 and 5, SLUG's slide), which presets stand beside it, and
what of it cannot be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from razor_cli.runs.folder import Run
from razor_cli.tables.hints import not_run
from razor_cli.tables.layout import plural
from razor_cli.tables.selection import published

FAMILY = "diffusion"
TASKS = ("style", "object")
SHARES = ("ua", "ira", "cra")
MODELS = {"sd15": "SD v1.5", "sd3": "SD3"}  # as in the published file: as it is called in titles
PREFIXES = {"sd15": ("sd15", "sd_tiny"), "sd3": ("sd3",)}  # models of ours that stand beside them
STAND_INS = {"sd15": "sd_tiny", "sd3": "sd3_tiny"}
METHODS = ("RAZOR", "SLUG", "ESD", "FMN", "UCE", "EDiff", "SalUn")  # of Tables 4 and 5
SLIDE = ("SLUG", "ESD", "FMN", "UCE", "CA", "SalUn", "SEOT", "SPM", "EDiff", "SHS")  # RAZOR has no row there
KINDS = tuple(f"_{task}" for task in TASKS)  # behind the names of presets that have one for each kind
TODAY = {"UCE": "< 1"}  # seconds; where the authors' code has become faster than what was printed
CARRIED = (
    "Published: all 36 cells of SD v1.5's baselines, and their times, memory and storage, are those of "
    "SLUG's slide: carried over, not run again. RAZOR's 78 s are twice SLUG's. Some of SD3's cells are those "
    "of SD v1.5 plus a whole number (SLUG's IRA, SalUn's object IRA, RAZOR's CRA); SalUn's object CRA is "
    "99.59 in both.",
    "Published: the text says that one metric is lost to a baseline; two are (SD3 style UA to ESD, 99.62 "
    "against 99.40; SD v1.5 object CRA to SalUn, 99.59 against 99.00), and SD3 object IRA is a tie. The "
    "caption names LAION-400M, Table 2 names CelebA, the benchmark is UnlearnCanvas.",
    "Published numbers are of real models on UnlearnCanvas, measured ones of the model named in each "
    "header. SLUG's row is not on the benchmark's 5,100 pictures, and its search looked at the pictures that "
    "judged it. Of a stand-in compare orderings, not values.",
    "UA: pictures asked of the target that the judge does not take for it. IRA, CRA: accuracy on other "
    "names of its kind, and on what else pictures show. By the benchmark's sentence; valid UA: those that "
    "also show what else was asked for, which nothing published has.",
)


def printed_as(run: Run) -> str:
    """Return which published model a run stands beside, nothing for another model."""
    model = run.record.model
    return next((key for key, own in PREFIXES.items() if model.startswith(own)), "")


def of_method(run: Run, method: str) -> bool:
    """Tell whether a run's preset is one of a printed method."""
    name = method.lower()
    return run.record.method == name or run.record.method.startswith(f"{name}_")


def presets(runs: Sequence[Run], method: str) -> list[str]:
    """Return the presets of a printed method that were run, the recommended one first; those that differ by
    kind of target only are one.
    """
    found = {preset_of(r) for r in runs if of_method(r, method)}
    return sorted(found, key=lambda preset: (preset != method.lower(), preset))


def preset_of(run: Run) -> str:
    """Return a run's preset, without the kind of target in its name."""
    name = run.record.method
    return next((name.removesuffix(kind) for kind in KINDS if name.endswith(kind)), name)


def missing(experiment: str, method: str, runs: Sequence[Run], *, scenario: str = "", model: str = "") -> str:
    """Return the command that runs what is missing: on the model of a panel's runs, or on `model`."""
    return not_run(experiment, runs, model="" if runs else model, scenario=scenario, method=method.lower())


def titled(where: str, runs: Sequence[Run]) -> str:
    """Return what a panel says of the runs behind it: model, targets, number of seeds."""
    if not runs:
        return where
    targets = sorted({r.record.target for r in runs})
    seeds = plural(len({r.record.seed for r in runs}), "seed")
    return f"{where}: {plural(len(targets), 'target', targets)}, {seeds}"


@cache
def table4() -> Mapping[tuple[str, str, str], Mapping[str, str]]:
    """Return the rows of Table 4 by model, kind of target and method."""
    return {(r["model"], r["task"], r["method"]): r for r in published("razor_table4")}


@cache
def table5() -> Mapping[str, Mapping[str, str]]:
    """Return the rows of Table 5 by method."""
    return {r["method"]: r for r in published("razor_table5")}


@cache
def slide() -> Mapping[str, Mapping[str, str]]:
    """Return the rows of SLUG's slide by method."""
    return {r["method"]: r for r in published("slug_unlearncanvas")}
