"""The acceptance of a CLIP: which checks are made of it, in their order."""

from __future__ import annotations

from rich.console import Console

from razor_cli.acceptance.checks import Report, Request
from razor_cli.acceptance.clip import edit, patch, weights, zero_shot
from razor_cli.acceptance.clip.random import write_random
from razor_cli.acceptance.clip.subject import spec_of, subject_of
from razor_cli.acceptance.examination import Examination, run
from razor_cli.families.clip.spec import ClipSpec


def accept(request: Request, console: Console) -> Report:
    """Check a CLIP against what is published of it and return the report, which is written as well.

    Raises UserError where there is nothing to check: no weights, weights that do not fit, pictures that
    cannot be read.
    """
    groups = {
        "weights": weights.checks,
        "embeddings": zero_shot.embedding_checks,
        "zero-shot CIFAR-10": zero_shot.checks,
        "small edits": edit.checks,
        "a patch": patch.checks,
    }
    examination = Examination(
        family=ClipSpec.family,
        load=subject_of,
        randomize=lambda asked, folder: write_random(spec_of(asked), folder / "random.safetensors"),
        groups=groups,
    )
    return run(request, console, examination)
