"""An architecture that open_clip has no name for, as docs/own-models.md prints it."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
from documented import ROOT, files
from safetensors.torch import save_file

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.contract.choices import Granularity, Towers


def test_a_folder_with_description_and_weights_is_a_model(tmp_path: Path) -> None:
    (described,) = files(ROOT / "docs/own-models.md", tmp_path)
    folder = described.parent
    assert folder == tmp_path / "FOLDER"
    module = open_clip.CLIP(**json.loads(described.read_text())["model_cfg"])
    save_file(module.state_dict(), folder / "open_clip_model.safetensors")
    for name in ("Ada", "Ben"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    own = ["model=open_clip", f"model.architecture=local-dir:{folder}", f"model.weights={folder}"]
    experiment = checked(read([*own, "data=folder", f"data.root={tmp_path / 'photos'}", "target=Ada"]))
    model = experiment.model.open()
    parts = model.components(Granularity.HEAD_MLP, Towers.BOTH, False)
    assert len([c for c in parts if c.kind == "head"]) == 4 * 4 + 4 * 4
    assert len([c for c in parts if c.kind == "mlp"]) == 8
