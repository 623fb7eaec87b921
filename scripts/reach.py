"""How far the forgetting of recorded runs reaches: other wordings of the prompt, and pictures without any
prompt.

    python scripts/reach.py OUTPUTS [OUTPUTS ...] [--seed 0]

For every finished run of the embedded stand-in below OUTPUTS/runs that was judged on evaluation pictures of a
name or a class, the patch is applied to a copy of the unedited weights, and the target's evaluation pictures
are classified among all concepts in three ways: by the prompt that the edit saw (FA top-1), by wordings that
no caption has, and by the nearest mean embedding of training pictures, where no text takes part (an edit of
the text tower alone cannot change that). Prints a line for each run, and means over the runs that touch the
image tower and over those that do not; writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import normalize

from razor_cli import plain_yaml
from razor_cli.bench import sets_of
from razor_cli.config.check import check
from razor_cli.config.settings import Experiment
from razor_cli.data.prompts import spoken
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.gradients import batches
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.families.clip.standins import DEFAULT, stand_in_folder
from razor_cli.runs.folder import Run, complete_runs
from razor_cli.weights import patch

WORDINGS = (
    "this is {}",
    "photograph showing {}",
    "an old snapshot with {} in it",
    "here you see {}",
    "close view of {}",
)
BASE = stand_in_folder(DEFAULT) / f"{DEFAULT}.safetensors"
COLUMNS = ("edit's prompt", "other wordings", "pictures alone")
Reach = tuple[float, float, float]


@torch.no_grad()
def embedded(model: Clip, pairs: Pairs) -> Tensor:
    """Return the unit embeddings of all pictures [n, dim]."""
    return torch.cat([normalize(model.encode_image(b.pixels[:]), dim=-1) for b in batches(model, pairs, 128)])


@torch.no_grad()
def share(images: Tensor, classes: Tensor, own: int) -> float:
    """Return the percentage of pictures whose nearest class is their own."""
    return 100 * float(((images @ classes.T).argmax(1) == own).float().mean())


@torch.no_grad()
def reach_of(model: Clip, sets: ConceptSets) -> Reach:
    """Return the accuracy on the target with the edit's prompt, with other wordings (mean), and by pictures
    alone.
    """
    names, own = list(sets.class_names), sets.class_names.index(sets.target)
    images = embedded(model, sets.evaluation.forget)

    def worded(prompts: list[str]) -> float:
        return share(images, normalize(model.encode_text(model.tokenize(prompts)), dim=-1), own)

    said, shown = [spoken(n, sets.domain) for n in names], set(sets.retain.concepts)
    known = [n for n in names if n == sets.target or n in shown]
    means = [embedded(model, (sets.forget if n == sets.target else sets.retain).of(n)).mean(0) for n in known]
    alone = share(images, normalize(torch.stack(means), dim=-1), known.index(sets.target))
    others = [worded([w.format(n) for n in said]) for w in WORDINGS]
    return worded([sets.prompts[n] for n in names]), sum(others) / len(others), alone


def measured(run: Run, experiment: Experiment) -> tuple[Reach, Reach]:
    """Return the reach before and after one run's edit."""
    spec = experiment.model
    assert isinstance(spec, ClipSpec)  # `suits` takes runs of the embedded stand-in only
    sets = cast(ConceptSets, sets_of(experiment))
    before = reach_of(spec.open(), sets)
    with tempfile.TemporaryDirectory() as folder:
        edited = Path(folder) / BASE.name
        patch.apply(run.folder / "patch.safetensors", BASE, edited, undo=False)
        return before, reach_of(dataclasses.replace(spec, weights=str(edited)).open(), sets)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("outputs", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="runs of this seed only")
    asked = parser.parse_args()
    console, table, of = Console(), Table("method", "target", "tower", *COLUMNS), defaultdict(list)
    for run in [r for folder in asked.outputs for r in complete_runs(folder)]:
        experiment = check(plain_yaml.load(run.folder / "resolved_config.yaml"))
        if not suits(run, experiment, asked.seed):
            continue
        before, after = measured(run, experiment)
        towers = {c.tower for c in run.record.components} or {"both"}  # trained methods name no components
        where = "text" if towers == {"text"} else "image" if towers == {"vision"} else "both"
        of[run.record.scenario, run.record.method, where].append((before, after))
        row(table, run.record.method, run.record.target, where, before, after)
    for (scenario, method, where), pairs in of.items():
        means = [[sum(p[i][j] for p in pairs) / len(pairs) for j in range(len(COLUMNS))] for i in (0, 1)]
        row(table, method, f"[bold]{scenario}, mean of {len(pairs)}[/bold]", where, *means)
    console.print(table)


def suits(run: Run, experiment: Experiment, seed: int) -> bool:
    """Tell whether a run is one this script can measure."""
    r = run.record
    judged = r.judged_on == "evaluation" and r.scenario in ("identity", "class") and r.seed == seed
    return (
        judged
        and r.model == DEFAULT
        and isinstance(experiment.model, ClipSpec)
        and not experiment.model.weights
        and (run.folder / "patch.safetensors").exists()
    )


def row(
    table: Table, method: str, what: str, where: str, before: Sequence[float], after: Sequence[float]
) -> None:
    """Add a line."""
    table.add_row(method, what, where, *(f"{a:.1f} → {b:.1f}" for a, b in zip(before, after, strict=True)))


if __name__ == "__main__":
    main()
