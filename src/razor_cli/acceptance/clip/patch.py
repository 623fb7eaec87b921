"""Check of a patch: written, applied to a copy of the weights and reverted, bit for bit."""

from __future__ import annotations

import shutil

import torch
from torch import Tensor

from razor_cli.acceptance.checks import Check, Say, judged, skipped
from razor_cli.acceptance.clip.edit import FIX, SMALL
from razor_cli.acceptance.clip.subject import Subject
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.engine.search import stepped
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.weights.checkpoint import read_state, state_hash
from razor_cli.weights.patch import apply, revert, undo_path_for, write_patch


def checks(subject: Subject, say: Say) -> list[Check]:
    """Return the row on a patch written, applied to a copy of the weights and reverted, bit for bit."""
    model, folder, name = subject.model, subject.folder, "patch applied and reverted"
    needed, free = 3 * sum(v.nbytes for v in model.stored.values()), shutil.disk_usage(folder).free
    if free < 1.1 * needed:
        why = (
            f"three copies of the weights need {needed / 2**30:.1f} GB beside the output, "
            f"{free / 2**30:.1f} GB are free"
        )
        return [skipped(name, why=why, fix="make room, or output_dir=DIR on another disk")]
    values = _any_step(model)
    base, out, back = (folder / f"{n}.pt" for n in ("base", "edited", "back"))
    say("copying the weights")
    torch.save(dict(model.stored), base)
    write_patch(
        folder / "edit.safetensors",
        {n: v.cpu() for n, v in values.items()},
        model.stored,
        method="acceptance",
        target=None,
        libraries=ClipSpec.libraries,
    )
    say("applying")
    apply(folder / "edit.safetensors", base, out)
    edited = read_state(out)
    wrong = [n for n, v in edited.items() if not torch.equal(v, values.get(n, model.stored[n]).cpu())]
    del edited
    say("reverting")
    revert(out, back, undo_path=undo_path_for(out))
    before, after = state_hash(model.stored), state_hash(read_state(back))
    passed = not wrong and before == after
    why = (
        f"{len(wrong)} tensors differ from the edit, {wrong[0]} first"
        if wrong
        else "the reverted weights are not the base"
    )
    changed = f"{len(values)} tensors changed and back"
    expected, found = f"sha256 {before[:12]} again", f"sha256 {after[:12]}, {changed}"
    return [judged(name, passed, expected=expected, found=found, why=why, fix=FIX)]


def _any_step(model: Clip) -> dict[str, Tensor]:
    """Return a change of one head and one MLP, in the stored dtype: a patch does not ask what an
    edit is for.
    """
    every = model.components(Granularity.HEAD_MLP, Towers.BOTH)
    chosen = [every[0], every[-1]]
    directions = [[v.clone() for v in c.views(parameters(model))] for c in chosen]
    values = stepped(model, chosen, directions, [SMALL] * len(chosen))
    return {n: v.to(model.storage_dtype(n)) for n, v in values.items()}
