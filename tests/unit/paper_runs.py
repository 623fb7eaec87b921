"""Recorded runs with invented numbers behind the papers' tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_runs import fake_run

from razor_cli.metrics.score import Score
from razor_cli.report.plots import cosines_csv
from razor_cli.runs.folder import Run
from razor_cli.weights.survival import WHOLE, Survival, survival_csv

RATES = {
    "razor": (0.002, 0.0),
    "slug": (0.001, 0.1),
    "ga": (0.02, 0.5),
    "salun": (0.03, 0.7),
}  # edit size, recovery


def score(metric: str, variant: str, value: float) -> Score:
    return Score(
        metric=metric, variant=variant, value=value, n=50, ci_low=None, ci_high=None, unit="%", direction="up"
    )


def survival(size: float, moved: int) -> str:
    shape: dict[str, Any] = {
        "name": WHOLE,
        "weights": 1000,
        "moved": moved,
        "weight_norm": 100.0,
        "change_norm": size * 100.0,
    }
    shape["rel_update"] = size
    rows = [Survival(scheme="none", **shape)]
    rows += [
        Survival(scheme=s, **shape, codes_changed=share)
        for s, share in (("int8", 10 * size), ("int4", 2 * size))
    ]
    return survival_csv(rows)


def edited(outputs: Path, method: str, seed: int, offset: float = 0.0, **more: Any) -> Run:
    size, recovery = RATES[method]
    rec = {
        ("edit", q): [score("rec", "dual/mean_of_classes", recovery + 0.01 * seed)] for q in ("int8", "int4")
    }
    moved = 900 if method in ("ga", "salun") else 100
    first = 0.9 + 0.01 * seed
    cosines = cosines_csv(
        [[0.9, 0.1], [0.2, 0.8]], [[first - 0.5, 0.1], [0.2, 0.7]], ["Taylor Swift", "Elon Musk"]
    )
    files = {"survival.csv": survival(size, moved), "cosines.csv": cosines}
    return fake_run(outputs, method=method, seed=seed, offset=offset, extra=rec, files=files, **more)


def traced(outputs: Path, method: str, fine: float, **more: Any) -> Run:
    """Record a run on a taxonomy: the forgotten classes' fine accuracy, everything else as the base."""
    base = {"df_coarse": 80.0, "df_fine": 90.0, "dr_coarse": 70.0, "dr_fine": 60.0}
    edit = base | {"df_fine": fine, "quality": 100 - fine / 0.9, "utility": 99.0, "q_u": 95.0 - fine}
    extra = {
        (state, "none"): [score(m, split, v) for m, v in values.items() for split in ("in", "ood")]
        + [score("zero_shot", "mean", 55.0), score("zs_cifar10", "top1", 50.0)]
        for state, values in (("base", base), ("edit", edit))
    }
    options = {
        "scenario": "fine_grained",
        "data": "emoji",
        "target": "difficult",
        "quantizations": ("none",),
    } | more
    return fake_run(outputs, method=method, extra=extra, **options)


def record_all(folder: Path) -> None:
    """Record what the papers' tables and figures are made of."""
    for i, method in enumerate(RATES):
        for seed in range(2):
            edited(folder, method, seed, offset=2.0 * i + 0.1 * seed)
    steps = {"step": "fixed", "trim_steps": 0, "grow_rounds": 0}
    for i, size in enumerate((0.001, 0.01, 0.1)):
        fake_run(folder, flips=steps | {"step_size": size}, offset=float(i))
    for seed in range(2):
        of_class: dict[str, Any] = {"scenario": "class", "data": "cifar10", "seed": seed}
        fake_run(folder, target="dog", offset=5.0, flips={"lambda_retain": 0.0}, **of_class)
        fake_run(folder, target="dog", offset=1.0, **of_class)
        fake_run(folder, target="ship", offset=9.0, **of_class)  # no ablation of it was run
        fake_run(folder, target="dog", offset=3.0, flips={"grow_rounds": 0, "tau": 0.123}, **of_class)
        for method, fine in (("ga_tan", 0.0), ("nhl_kl_tan", 4.5), ("gdiff_tan", 9.0)):
            traced(folder, method, fine, seed=seed)
    traced(folder, "nhl_kl_tan", 45.0, flips={"alpha_coarse": 0.0})
    traced(folder, "nhl_kl_tan", 3.0, target="medium")
    traced(folder, "nhl_kl_tan", 2.0, data="portraits", target="four portraits")
