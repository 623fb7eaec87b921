"""Patches of a LLaVA: names of today, files as they were spelled, and every other byte the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llava import SPELLINGS, opened, tiny_companion, tiny_llava

from razor_cli.contract.components import parameters
from razor_cli.families.clip.files import WITHOUT_TOWER
from razor_cli.families.llava.folder import load_next, load_paired
from razor_cli.families.llava.names import TOWER, canonical
from razor_cli.weights.checkpoint import find_layout, read_state

NAME = f"{TOWER}encoder.layers.1.mlp.fc1.weight"


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("link", [False, True])
def test_a_change_is_written_in_the_spelling_of_the_files(tmp_path: Path, spelling: str, link: bool) -> None:
    from transformers import AutoModelForImageTextToText

    folder = tiny_llava(tmp_path / "model", spelling=spelling, dtype=torch.float16)
    before = load_file(folder / "model.safetensors")
    layout = find_layout(folder)
    state = layout.read()
    assert set(state) == {canonical(n) for n in before}
    layout.write(tmp_path / "out", {NAME: state[NAME] + 1}, link=link)
    after = load_file(tmp_path / "out/model.safetensors")
    assert [canonical(n) for n in before if not torch.equal(before[n], after[n])] == [NAME]
    assert all(torch.equal(v, before[n]) for n, v in load_file(folder / "model.safetensors").items())
    raw, new = (f.read_bytes() for f in (folder / "model.safetensors", tmp_path / "out/model.safetensors"))
    assert len(raw) == len(new)
    told, info = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(dict(told.named_parameters())[NAME], state[NAME] + 1)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in folder.iterdir()}


def test_shards_without_a_change_are_linked(tmp_path: Path) -> None:
    folder = tiny_llava(tmp_path / "model")
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    homes = {n: f"model-{1 + ('language' in n)}-of-2.safetensors" for n in whole}
    for file in set(homes.values()):
        save_file({n: v for n, v in whole.items() if homes[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {homes}}}'.replace("'", '"'))
    layout = find_layout(folder)
    layout.write(tmp_path / "out", {NAME: layout.read()[NAME] * 2}, link=True)
    same = [(folder / f).samefile(tmp_path / "out" / f) for f in sorted(set(homes.values()))]
    assert same == [False, True]
    assert torch.equal(find_layout(tmp_path / "out").read()[NAME], layout.read()[NAME] * 2)


def test_names_of_patches_are_those_of_the_opened_model(tmp_path: Path) -> None:
    family = opened(tmp_path / "plain")
    assert set(read_state(tmp_path / "plain")) == set(parameters(family)) == set(family.stored)


def test_a_clip_without_its_tower_is_filled_from_the_llava(tmp_path: Path) -> None:
    folder = tiny_llava(tmp_path / "plain")
    clip = tiny_companion(folder, tmp_path / "clip")
    state = load_file(clip / "model.safetensors")
    save_file({n: v for n, v in state.items() if not n.startswith("vision_model.")}, clip / WITHOUT_TOWER)
    found = load_paired(clip, folder).state_dict()
    assert all(torch.equal(v, found[n]) for n, v in state.items())
    tiles = load_next(folder, [(24, 48)])
    assert torch.equal(tiles.state_dict()[NAME], read_state(folder)[NAME])
    assert not tiles.model.image_newline.any()
