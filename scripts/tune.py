"""Compare settings of RAZOR on validation pictures of names that no published table uses.

    python scripts/tune.py [--targets N] [--cifar DIR] [--only "NAME;NAME"]

The validation split is cut in two: the step search sees one half, the numbers printed here come from the other. Evaluation
pictures and the ten names of the papers' tables take no part, so a preset chosen by this table is not chosen on them.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from razor_cli.data.build import Kind, build_sets
from razor_cli.data.halves import doubled, on_validation
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.board import Board
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.journal import Cost
from razor_cli.engine.lab import Lab
from razor_cli.engine.search import Prompt, Return
from razor_cli.methods.razor import Budget, ForgetLoss, Normalize, Razor
from razor_cli.models.base import Granularity, Towers, swapped
from razor_cli.models.dual import Clip
from razor_cli.models.load import load

TARGETS = ("Ada Quill", "Nils Abernath", "Hana Mirov", "Quentin Marsh", "Zelda Thorne", "Chidi Okarra")
OURS = Razor(
    normalize=Normalize.UNIT, forget_loss=ForgetLoss.CONCEPT_UNIFORM, lambda_forget=4.0, lambda_mismatch=0.0,
    budget=Budget.SHARED, search_return=Return.SMALLEST_SUFFICIENT, search_floor=98.5, search_m4_drop=1.0, trim_steps=6,
    search_others_drop=3.0, target_m1=30.0, refresh_gradients=True, grow_sample=1024, step_size=0.5, search_steps=6,
    grow_rounds=12, retry_floor=99.3,
)  # fmt: skip
SETTINGS = {
    "literal (razor_paper)": Razor(),
    "literal, unit": Razor(normalize=Normalize.UNIT),
    "literal, unit, forget 4": Razor(normalize=Normalize.UNIT, lambda_forget=4.0),
    "ours": OURS,
    "ours, cosine loss": replace(OURS, forget_loss=ForgetLoss.COSINE),
    "ours, target CE": replace(OURS, forget_loss=ForgetLoss.CONCEPT_CE),
    "ours, not refreshed": replace(OURS, refresh_gradients=False),
    "ours, step 1": replace(OURS, step_size=1.0, search_steps=7),
    "ours, refresh on all": replace(OURS, grow_sample=None),
    "ours, towers text": replace(OURS, towers=Towers.TEXT),
    "ours, no trim": replace(OURS, trim_steps=0),
    "ours, retain batch 256": replace(OURS, retain_batch=256),
    "ours, attn_mlp": replace(OURS, granularity=Granularity.ATTN_MLP),
    "ours, tensor": replace(OURS, granularity=Granularity.TENSOR),
    "ours, mean prompt": replace(OURS, target_m1_prompts=Prompt.MEAN_OF_CLASSES),
    "ours, forget 8": replace(OURS, lambda_forget=8.0),
    "ours, forget 16": replace(OURS, lambda_forget=16.0),
    "ours, floor 98": replace(OURS, search_floor=98.0, search_m4_drop=2.0),
    "ours, M1 40": replace(OURS, target_m1=40.0),
    "ours, no retry": replace(OURS, retry_floor=None),
    "ours, floor 99.3": replace(OURS, search_floor=99.3, search_others_drop=2.0, target_m5=99.3),
    "ours, cap 16": replace(OURS, max_components=16, tau=0.3),
    "ours, greedy": replace(OURS, budget=Budget.GREEDY),
    "ours, best score": replace(OURS, search_return=Return.BEST_SCORE),
    "ours, forget 1": replace(OURS, lambda_forget=1.0),
    "ours, cap 4": replace(OURS, max_components=4),
    "ours, text": replace(OURS, towers=Towers.TEXT),
    "ours, vision": replace(OURS, towers=Towers.VISION),
    "ours, alpha 1": replace(OURS, alpha=1.0),
    "ours, alpha 0": replace(OURS, alpha=0.0),
}
SHOWN = ("m1", "m1_generic", "m2", "m4_generic", "m5", "others", "fa_top1")


def halves(target: str, cifar: Path | None) -> ConceptSets:
    """Return sets to search on one half of the validation pictures; the other half, which is measured, stands as `evaluation`."""
    sizes = doubled(Sizes(validation_forget=60, validation_retain=400))
    kind, domain = (Kind.CIFAR10, "object") if cifar and target in ("cat", "truck", "horse") else (Kind.PORTRAITS, "person")
    return on_validation(build_sets(kind=kind, target=target, domain=domain, sizes=sizes, cifar_root=cifar, stand_in=True))


def measured(model: Clip, method: Razor, sets: ConceptSets, cache: TensorCache) -> dict[str, float]:
    """Edit and return the metrics of the measured half, M4 and others as drops."""
    edit = method.edit(model, sets, Lab(model=model, sets=sets, cache=cache))
    board = Board(model, replace(sets, validation=sets.evaluation), Cost(), fast=True)
    base = board.base
    with swapped(model, {n: v.float() for n, v in edit.values.items()}):
        found = board.rescore()
    drops = {k: base[k] - found[k] for k in ("m4_generic", "others")}
    return {**found, **drops, "seconds": edit.cost.seconds, "trials": edit.cost.evaluations, "parts": len(edit.components)}


def meets(found: dict[str, float]) -> bool:
    """Tell whether the acceptance thresholds hold, by value."""
    forgotten = found["m1"] <= 55 and found["m1_generic"] <= 55
    return forgotten and found["m4_generic"] <= 2 and found["m5"] >= 97 and found["others"] <= 3


def main() -> None:
    """Print one row per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=4)
    parser.add_argument("--names", help="comma-separated targets instead of the built-in ones")
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--only", help="settings, separated by semicolons")
    parser.add_argument("--cache", type=Path, default=Path("outputs/cache/gradients"))
    args = parser.parse_args()
    console, cache = Console(width=150), TensorCache(args.cache)
    model = load(name="clip_tiny", library="stand_in", architecture=None, weights=None, device="cpu")
    chosen = [s.strip() for s in args.only.split(";")] if args.only else list(SETTINGS)
    worlds = {t: halves(t, args.cifar) for t in (args.names.split(",") if args.names else TARGETS[: args.targets])}
    table = Table(title=f"validation, half not searched; mean over {', '.join(worlds)}")
    for column in ("setting", "met", *SHOWN, "seconds", "trials", "parts"):
        table.add_column(column)
    for name in chosen:
        rows = []
        for target, sets in worlds.items():
            rows.append(measured(model, SETTINGS[name], sets, cache))
            cells = " ".join(f"{k} {rows[-1][k]:.1f}" for k in (*SHOWN, "seconds", "trials"))
            console.print(f"{name} · {target}: {cells}{' MET' if meets(rows[-1]) else ''}", highlight=False)
        means = [f"{statistics.mean(r[k] for r in rows):.1f}" for k in (*SHOWN, "seconds", "trials", "parts")]
        table.add_row(name, f"{sum(map(meets, rows))}/{len(rows)}", *means)
    console.print(table)


if __name__ == "__main__":
    main()
