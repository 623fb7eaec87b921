"""Folders of LLaVA: every version's spelling is the same model, and what does not fit is named before weights
are read.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from llava_folders import both, copied, spoil_json, spoil_tensors, told
from safetensors.torch import load_file, save_file
from tiny_llava import SPELLINGS, opened, tiny_companion, tiny_llava, tiny_llava_next
from tiny_world import make_sets

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.choices import Precision
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.components import components_of, editable_of
from razor_cli.families.llava.files import LlavaFiles
from razor_cli.families.llava.kinds import Candidates, Language, Variant
from razor_cli.families.llava.load import build_empty
from razor_cli.families.llava.names import LANGUAGE, PROJECTOR, TOWER, projector_names, tower_names
from razor_cli.families.llava.spec import LlavaSpec


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both(tmp_path_factory.mktemp("loading"))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("variant", ["plain", "next"])
def test_every_spelling_is_the_same_model(tmp_path: Path, root: Path, variant: str, spelling: str) -> None:
    write = tiny_llava if variant == "plain" else tiny_llava_next
    other = write(tmp_path / variant, spelling=spelling)
    clip = root / f"{variant}_clip"
    loaded = [opened(f, companion=str(clip)).disk for f in (root / variant, other)]
    first, second = (disk.answerer.module.state_dict() for disk in loaded)
    assert first.keys() == second.keys()
    assert all(torch.equal(v, second[n]) for n, v in first.items())
    assert {n: v.dtype for n, v in first.items()} == {n: v.dtype for n, v in second.items()}


@pytest.mark.parametrize("variant", ["plain", "next"])
def test_the_model_is_that_of_the_library(root: Path, variant: str) -> None:
    from transformers import AutoModelForImageTextToText

    own = opened(root / variant).answerer.module
    theirs = AutoModelForImageTextToText.from_pretrained(root / variant, dtype=torch.float32)
    state = theirs.state_dict()
    assert state.keys() == own.state_dict().keys()
    assert all(torch.equal(v, state[n]) for n, v in own.state_dict().items())
    buffers = dict(theirs.named_buffers())
    assert all(torch.equal(v, buffers[n]) for n, v in own.named_buffers())


def test_shards_are_one_model_and_the_hash_is_that_of_the_settings(root: Path, tmp_path: Path) -> None:
    folder = copied(root / "plain", tmp_path / "sharded")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    homes = {n: f"model-0000{1 + (i % 2)}-of-00002.safetensors" for i, n in enumerate(state)}
    for file in set(homes.values()):
        save_file({n: state[n] for n, f in homes.items() if f == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    family = opened(folder)
    whole = opened(root / "plain").answerer.module.state_dict()
    assert all(torch.equal(v, whole[n]) for n, v in family.answerer.module.state_dict().items())
    spec = LlavaSpec(weights=str(folder), stand_in=False)
    assert family.weights_hash() == spec.weights_hash()
    assert spec.weights_hash() != LlavaSpec(weights=str(root / "plain"), stand_in=False).weights_hash()
    name = "model-00002-of-00002.safetensors"
    (folder / name).unlink()
    assert name in told(folder)


def test_what_a_processor_leaves_open_is_filled_from_the_model(root: Path, tmp_path: Path) -> None:
    folder = copied(root / "plain", tmp_path / "old")
    none = {"patch_size": None, "num_additional_image_tokens": None, "vision_feature_select_strategy": None}
    spoil_json(folder, "processor_config.json", **none)
    processor = opened(folder).disk.processor
    assert (processor.patch_size, processor.num_additional_image_tokens) == (8, 1)
    assert processor.vision_feature_select_strategy == "default"


def test_language_models_are_counted_when_they_load(root: Path, tmp_path: Path) -> None:
    folder = copied(root / "plain", tmp_path / "short")
    spoil_tensors(folder, lambda s: s.pop("language_model.model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(WeightsError, match=r"1 missing: model\.language_model\.layers\.1"):
        opened(folder)


def test_values_that_are_no_numbers_are_refused(root: Path, tmp_path: Path) -> None:
    folder = copied(root / "plain", tmp_path / "nan")
    spoil_tensors(folder, lambda s: s["language_model.lm_head.weight"].fill_(float("nan")))
    family = opened(folder)
    with pytest.raises(WeightsError, match="values that are not finite"):
        _ = family.answerer


def test_a_companion_may_lie_without_its_tower(root: Path, tmp_path: Path) -> None:
    clip = shutil.copytree(root / "plain_clip", tmp_path / "clip")
    state = load_file(clip / "model.safetensors")
    (clip / "model.safetensors").unlink()
    less = {n: v for n, v in state.items() if not n.startswith("vision_model.")}
    save_file(less, clip / "without_tower.safetensors")
    with_it, without = (opened(root / "plain", companion=str(c)) for c in (root / "plain_clip", clip))
    images = make_sets().forget.load(0, 2)
    one, other = (f.shared.encode_image(f.shared.preprocess(images)) for f in (with_it, without))
    torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert without.shared.aligned
    assert with_it.beside != without.beside


def full_size(folder: Path) -> LlavaFiles:
    """Return LLaVA 1.5 7B as its settings have it, with weights that are not there."""
    settings = {
        "model_type": "llava",
        "image_token_index": 32000,
        "vision_feature_layer": -2,
        "text_config": {"model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096},
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 1024,
            "image_size": 336,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
            "projection_dim": 768,
        },
    }
    return LlavaFiles(path=folder, variant=Variant.LLAVA, config=settings, weights=(), beside=())


def test_the_7b_model_has_the_names_and_counts_of_the_published_one(tmp_path: Path) -> None:
    files = full_size(tmp_path)
    module = build_empty(files)
    params = dict(module.named_parameters())
    count = {p: sum(v.numel() for n, v in params.items() if n.startswith(p)) for p in (TOWER, PROJECTOR)}
    assert round(sum(p.numel() for p in params.values()) / 1e9, 3) == 7.063
    assert round(count[TOWER] / 1e6, 1) == 303.5
    assert round(count[PROJECTOR] / 1e6, 2) == 20.98
    tower = [n for n in params if n.startswith(TOWER)]
    assert sorted(tower) == sorted(tower_names(files.vision))
    assert len(tower) == 391
    assert sorted(n for n in params if n.startswith(PROJECTOR)) == sorted(projector_names(True))
    editable = editable_of(module.config, Candidates.VISION_EFFECTIVE_PROJECTOR)
    assert sum(editable.owns(n) for n in tower) == 373
    heads = components_of(editable, params, Granularity.HEAD_MLP, Towers.BOTH)
    assert len(heads) == 23 * (16 + 1) + 2
    assert {c.layer for c in heads if c.tower == "vision"} == set(range(23))
    assert params[f"{TOWER}encoder.layers.22.mlp.fc1.weight"].shape == (4096, 1024)
    assert params[f"{PROJECTOR}linear_1.weight"].shape == (4096, 1024)
    assert all(p.is_meta for p in params.values())


def test_gradients_of_answers_go_through_an_int8_language_model(root: Path) -> None:
    pytest.importorskip("bitsandbytes")
    sets, found = make_sets(), []
    for how in (Language.FULL, Language.INT8):
        family = opened(root / "plain", answer_weights=how)
        names = [c.name for c in family.tensors() if c.name.endswith("fc1.weight")]
        gradient = family.loss("answer_nll", sets).gradient(sets.forget.head(2), 2, names, lambda *_: None)
        found.append(torch.cat([gradient[n].flatten() for n in names]))
    assert float(torch.cosine_similarity(found[0], found[1], dim=0)) > 0.99
    assert not torch.equal(*found)
    types = {type(m).__name__ for m in family.module.model.language_model.layers.modules()}  # type: ignore[union-attr]
    assert "Linear8bitLt" in types
    assert type(family.module.lm_head) is torch.nn.Linear
    assert all(p.dtype == torch.float32 for n, p in family.module.named_parameters() if n.startswith(TOWER))
    assert family.quantizable().linear["language"] == []


def test_half_precision_files_are_held_as_asked(tmp_path: Path) -> None:
    folder = tiny_llava(tmp_path / "half", dtype=torch.float16)
    tiny_companion(folder, tmp_path / "half_clip")
    for dtype, held in ((Precision.AUTO, torch.float32), (Precision.BFLOAT16, torch.bfloat16)):
        family = opened(folder, dtype=dtype)
        name = next(n for n in family.stored if n.startswith(LANGUAGE))
        assert family.storage_dtype(name) == torch.float16
        assert family.answerer.dtype == held
        assert {p.dtype for p in family.module.parameters()} == {held}
        shown = family.answerer.features(family.answerer.preprocess(make_sets().forget.load(0, 1)))
        assert isinstance(family.answerer.answers(shown, [Question(0, "Who?")], 2)[0], str)
    assert family.shared.aligned
