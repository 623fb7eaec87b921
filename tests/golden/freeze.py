"""Write golden files anew: `python tests/golden/freeze.py edits scores`, some three minutes.

A golden file says what the package did when it was written. A commit that rewrites one says why the new
behaviour is right.

    edits   edits.json.gz   the edit of every preset on the tiny model scores  scores.csv      one run from
    the command line world   tiny_world.safetensors: the tiny model, trained anew; edits and patches depend on
    it patch   a patch and its undo file as this version writes them; those of an earlier version are never
    written again
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import frozen
import presets
import tiny_world

from razor_cli.families.clip.spec import ClipSpec

ELSEWHERE = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}


def freeze_edits() -> None:
    """Write every preset's edit, and how far its sketch moves where sums are rounded in another way."""
    computed = compute_edits()
    other = json.loads(
        subprocess.check_output([sys.executable, __file__, "compute"], env={**os.environ, **ELSEWHERE})
    )
    for name, record in computed.items():
        record["spread"] = float(f"{frozen.distance(record['sketches'], other[name]['sketches']):.2g}")
    text = json.dumps(computed, sort_keys=True, separators=(",", ":"))
    frozen.EDITS.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    remember(frozen.EDITS)


def compute_edits() -> dict[str, dict[str, object]]:
    """Return the record of every preset's edit, by the method's name."""
    found = presets.preset_names(ClipSpec.offers)
    return {name: frozen.edit_record(preset) for name, preset in found.items()}


def freeze_scores() -> None:
    """Write the scores of one run."""
    with tempfile.TemporaryDirectory() as folder:
        rows = frozen.scores(Path(folder))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    frozen.SCORES.write_text(out.getvalue(), encoding="utf-8", newline="")
    remember(frozen.SCORES)


def freeze_world() -> None:
    """Write the weights of the tiny model."""
    from safetensors.torch import save_file

    save_file(tiny_world.teach(), tiny_world.WEIGHTS)


def freeze_patch() -> None:
    """Write a patch as `razor-run` does, and the undo file that comes with it."""
    from razor_cli import __version__
    from razor_cli.weights.patch import apply, undo_path_for, write_patch

    patch, undo, about = (
        frozen.patch_file(__version__.rsplit(".", 1)[0], kind) for kind in ("patch", "undo", "json")
    )
    if patch.exists():
        sys.exit(f"{patch} is kept as it was written")
    found = tiny_world.facts("razor", torch.float16)
    settings = {"method": "razor", "scenario": "identity", "version": __version__}
    write_patch(patch, found.values, found.base, method="razor", target=tiny_world.TARGET, settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        base, out = frozen.write_base(Path(folder) / "base.safetensors"), Path(folder) / "out.safetensors"
        apply(patch, base, out)
        undo.write_bytes(undo_path_for(out).read_bytes())
        said = {"base": frozen.content(base), "edited": frozen.content(out)}
    about.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def remember(file: Path) -> None:
    """Note which machine a file was computed on."""
    known = json.loads(frozen.MACHINES.read_text(encoding="utf-8")) if frozen.MACHINES.exists() else {}
    known[file.name] = frozen.machine()
    frozen.MACHINES.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    actions = {"edits": freeze_edits, "scores": freeze_scores, "world": freeze_world, "patch": freeze_patch}
    actions["compute"] = lambda: print(json.dumps(compute_edits()))  # for `edits`, with other kernels
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="+", choices=actions)
    for what in parser.parse_args().what:
        actions[what]()
