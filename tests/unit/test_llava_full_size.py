"""Published architectures without their weights, and one as deep as they are from its folder to its patch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from llava_folders import sharded
from presets import preset
from tiny_llava import opened, tiny_companion, tiny_llava
from tiny_world import make_sets

from razor_cli.config.quantization import Quantization
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.engine.lab import Lab
from razor_cli.families.llava import memory
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.components import components_of, editable_of
from razor_cli.families.llava.files import LlavaFiles
from razor_cli.families.llava.kinds import Candidates, Language, Variant
from razor_cli.families.llava.load import build_empty
from razor_cli.families.llava.names import HEAD, LANGUAGE, NEWLINE, PROJECTOR, TOWER, tower_names
from razor_cli.weights.header import Entry
from razor_cli.weights.patch import apply, revert, undo_path_for, verify, write_patch
from razor_cli.weights.quantization import quantized

GRID = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
MISTRAL = {"model_type": "mistral", "vocab_size": 32064, "intermediate_size": 14336, "num_key_value_heads": 8}
LLAMA3 = {"model_type": "llama", "vocab_size": 128320, "intermediate_size": 14336, "num_key_value_heads": 8}
VICUNA = {"model_type": "llama", "vocab_size": 32064}
PUBLISHED = {  # model of conf/model: kind, language model, picture token, parameters in billions
    "llava15_7b": (Variant.LLAVA, VICUNA, 32000, 7.063),
    "llava16_vicuna_7b": (Variant.LLAVA_NEXT, VICUNA, 32000, 7.063),
    "llava16_mistral_7b": (Variant.LLAVA_NEXT, MISTRAL, 32000, 7.567),
    "llava_next_llama3_8b": (Variant.LLAVA_NEXT, LLAMA3, 128256, 8.355),
}


def settings(variant: Variant, text: dict[str, Any], token: int) -> dict[str, Any]:
    """Return a published model's configuration, as far as it decides the architecture."""
    tower = {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
    }
    return {
        "model_type": str(variant),
        "image_token_index": token,
        "vision_feature_layer": -2,
        "vision_config": tower,
        "text_config": {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, **text},
        **({"image_grid_pinpoints": GRID} if variant is Variant.LLAVA_NEXT else {}),
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_architecture_has_its_names_components_and_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, text, token, billions = PUBLISHED[name]
    config = settings(variant, text, token)
    file = tmp_path / "model.safetensors"
    files = LlavaFiles(path=tmp_path, variant=variant, config=config, weights=(file,), beside=())
    module = build_empty(files)
    params = dict(module.named_parameters())
    assert all(p.is_meta for p in params.values())
    assert round(sum(p.numel() for p in params.values()) / 1e9, 3) == billions
    assert (NEWLINE in params) == (variant is Variant.LLAVA_NEXT)
    assert sorted(n for n in params if n.startswith(TOWER)) == sorted(tower_names(files.vision))
    editable = editable_of(module.config, Candidates.VISION_EFFECTIVE_PROJECTOR)
    dead = [n for n in params if n.startswith(TOWER) and not editable.owns(n)]
    assert dead == [n for n in params if "encoder.layers.23." in n or "post_layernorm" in n]
    assert not any(editable.owns(n) for n in params if n.startswith((LANGUAGE, HEAD, NEWLINE)))
    counts = {g: len(components_of(editable, params, g, Towers.BOTH)) for g in Granularity}
    assert counts == {
        Granularity.HEAD_MLP: 23 * 17 + 2,
        Granularity.ATTN_MLP: 23 * 2 + 2,
        Granularity.BLOCK: 23 + 2,
        Granularity.TENSOR: 23 * 8 + 1 + 2,  # both norms and six matrices of each, the first norm
    }
    header = {n: Entry("BF16", tuple(p.shape), 2 * p.numel()) for n, p in params.items()}
    monkeypatch.setattr(memory, "read_header", lambda _: header)
    full, small = (memory.needed(files, "bfloat16", how) for how in (Language.FULL, Language.INT8))
    seen = sum(p.numel() for n, p in params.items() if n.startswith((TOWER, PROJECTOR, NEWLINE)))
    assert full.tower == small.tower == 2 * seen
    assert full.language == pytest.approx(2 * (billions * 1e9 - seen), rel=1e-3)
    layers = sum(p.numel() for n, p in params.items() if f"{LANGUAGE}layers." in n and p.ndim == 2)
    assert small.language == full.language - layers
    assert 6 < small.language / 2**30 < 9 and 12 < full.language / 2**30 < 16
    assert full.total - small.total == layers
    assert memory.at_once(files, "bfloat16") == 1
    assert full.passes > 2**32, "a picture with its questions takes gigabytes on the way back"


def test_a_deep_model_in_shards_goes_from_its_folder_to_its_patch_and_back(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    folder = tiny_llava(tmp_path / "deep", dtype=torch.float16, deep=True)
    tiny_companion(folder, tmp_path / "deep_clip")
    sharded(folder)
    family = opened(folder, min_alignment=0.0)
    bench: Any = family
    whole = make_sets()
    sets = replace(whole, forget=whole.forget.head(2), retain=whole.retain.head(4))
    method = preset("ssd", "llava")  # which looks at no scoreboard
    edit = method.edit(Lab(family=bench, sets=sets))
    assert edit.values and all(n.startswith(TOWER) for n in edit.values)
    patch = tmp_path / "p.safetensors"
    write_patch(patch, edit.values, family.stored, method="ssd", target="Ada")
    images = sets.forget.load(0, 2)

    def said(model: Any) -> tuple[list[str], torch.Tensor]:
        answerer = model.answerer
        questions = [Question(i, "Who is it?") for i in range(2)]
        with torch.no_grad():
            shown = answerer.features(answerer.preprocess(images))
            return answerer.answers(shown, questions, 4), answerer.nll(shown, questions, ["Ada", "Ada"])

    before = said(family)
    held = edit.change.held(bench)
    with held:
        after = said(family)
        with quantized(bench, "int4", Quantization(), list(edit.values)) as weights:
            assert weights.n_tensors >= 24 * 6 + 2 + 32 * 7  # and what else the edit changed
            assert not torch.equal(said(family)[1], after[1])
        assert torch.equal(said(family)[1], after[1])
    assert torch.equal(said(family)[1], before[1]) and not torch.equal(after[1], before[1])
    assert verify(patch, folder) == []
    out = apply(patch, folder, tmp_path / "out", link=True)
    again = opened(out, companion=str(tmp_path / "deep_clip"), min_alignment=0.0)
    assert all(torch.equal(parameters(again)[n], v.float()) for n, v in edit.values.items())
    assert said(again)[0] == after[0]
    assert torch.equal(said(again)[1], after[1])
    plain, info = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert all(torch.equal(dict(plain.named_parameters())[n], v) for n, v in edit.values.items())
    revert(out, tmp_path / "back", undo_path=undo_path_for(out))
    names = sorted(p.name for p in folder.glob("*.safetensors"))
    assert len(names) == 3
    assert all((folder / n).read_bytes() == (tmp_path / "back" / n).read_bytes() for n in names)
