"""`razor data judge`: a classifier of styles or objects, trained on UnlearnCanvas or the benchmark's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress
from rich.text import Text

from razor_cli.errors import ConfigError
from razor_cli.screen import Screen

ROLES, KINDS = ("exam", "search"), ("style", "object")


def judge(
    root: Annotated[
        Path | None,
        typer.Argument(help="UnlearnCanvas: <style>/<object>/<number>.jpg, or its parquet files."),
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="What it names: style or object.")] = "style",
    out: Annotated[
        Path, typer.Option("--out", help="The folder of judges; metrics.judges=DIR names it.")
    ] = Path("judges"),
    role: Annotated[
        str, typer.Option("--role", help="exam judges what came of an edit, search guides a method's steps.")
    ] = "exam",
    net: Annotated[
        str, typer.Option("--net", help="plain, residual, or vit_large_patch16_224.augreg_in21k (timm).")
    ] = "",
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Take a checkpoint of the benchmark; nothing is trained."),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", help="Times that every picture is seen.")] = 10,
    seed: Annotated[int, typer.Option("--seed", help="Of weights and order.")] = 0,
) -> None:
    """Train a judge of styles or objects on UnlearnCanvas, or take one of the benchmark's checkpoints.

    The judge of searches and the one of exams get different architectures and seeds by themselves. A killed
    training goes on where it was when the same line is given again.
    """
    for name, value, allowed in (("--kind", kind, KINDS), ("--role", role, ROLES)):
        if value not in allowed:
            raise ConfigError(f"{name}={value}", allowed=", ".join(allowed))
    if (root is None) == (checkpoint is None):
        raise ConfigError(
            "razor data judge needs a folder to train on, or --checkpoint=FILE",
            found="both" if root else "neither",
        )
    from razor_cli.families.diffusion.canvas_judges import take_checkpoint

    console = Screen(highlight=False, soft_wrap=True)
    if checkpoint is not None:
        file = take_checkpoint(out, role, kind, checkpoint)
    else:
        file = _trained(root, kind, out, role, network=net, epochs=epochs, seed=seed)
    entry = json.loads(file.read_text(encoding="utf-8"))["kinds"][kind]
    held = entry["measured"].get("views")
    said = (
        f"{held['accuracy']:.1f} % of {held['n']} held-out pictures"
        if held
        else "held-out accuracy not measured"
    )
    console.print(Text(f"{file}: {len(entry['labels'])} labels of kind {kind}, {said}"))
    console.print(Text(f"use it with metrics.judges={out}"))


def _trained(
    root: Path | None, kind: str, out: Path, role: str, *, network: str, epochs: int, seed: int
) -> Path:
    """Train under a bar and return the description."""
    from razor_cli.families.diffusion.canvas_training import Lesson, train_judge
    from razor_cli.writable import require_writable

    assert root is not None
    lesson = Lesson(
        root=root,
        kind=kind,
        out=out,
        role=role,
        network=network or ("residual" if role == "exam" else "plain"),
        epochs=epochs,
        seed=seed + (0 if role == "exam" else 1),
        lr=1e-5 if network.startswith("vit") else 2e-3,
    )
    require_writable(out, "--out")
    with Progress(transient=True) as bar:
        task = bar.add_task(f"training a judge of {kind}s", total=None)
        return train_judge(lesson, lambda done, total, loss: bar.update(task, completed=done, total=total))
