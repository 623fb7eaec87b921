"""What decides pixels, token ids and the forward pass beside the tensors is part of every key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from loading_cases import TINY, architectures, hf_folder, weights_of, written
from safetensors.torch import save_file
from tiny_world import make_clip, make_sets
from torch import Tensor

from razor_cli.config.quantization import Quantization
from razor_cli.contract.method import GradientPlan
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.changes import Weights
from razor_cli.engine.evaluation import Evaluator
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_state import state_key
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import Library, salt_of
from razor_cli.families.clip.load import stored_hash
from razor_cli.families.clip.settings import Metrics
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.methods.gaft import Gaft
from razor_cli.runs import remembered

__all__ = ["architectures"]  # a fixture


@pytest.fixture(autouse=True)
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember hashes in a folder of this test, and take every file for settled."""
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "SETTLED", -(10**12))


def rewritten(path: Path, *keys: str, value: object) -> None:
    """Set one entry of a JSON file."""
    content = json.loads(path.read_text())
    node = content
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    path.write_text(json.dumps(content))


DECIDING: dict[str, tuple[str, tuple[str, ...], object]] = {
    "mean": ("preprocessor_config.json", ("image_mean",), [0.1, 0.2, 0.3]),
    "resampling": ("preprocessor_config.json", ("resample",), 2),
    "size": ("preprocessor_config.json", ("size",), {"shortest_edge": 24}),
    "activation": ("config.json", ("vision_config", "hidden_act"), "gelu"),
    "heads": ("config.json", ("text_config", "num_attention_heads"), 2),
    "eps": ("config.json", ("vision_config", "layer_norm_eps"), 1e-3),
    "end token": ("config.json", ("text_config", "eos_token_id"), 7),
    "vocabulary": ("vocab.json", ("added",), 5),
    "tokenizer": ("tokenizer_config.json", ("do_lower_case",), False),
    "added tokens": ("added_tokens.json", ("<x>",), 9),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = hf_folder(tmp_path_factory.mktemp("hf") / "a", own=True, together=False)
    for name in ("added_tokens.json", "vocab.json"):
        (folder / name).exists() or (folder / name).write_text("{}")
    return folder


def copied(folder: Path, place: Path) -> Path:
    place.mkdir()
    for file in folder.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    return place


def spec_of(folder: Path) -> ClipSpec:
    return ClipSpec(name="hf_clip", stand_in=False, library=Library.HF, weights=str(folder))


@pytest.mark.parametrize("what", DECIDING)
def test_whatever_a_folder_says_beside_its_weights_is_another_hash(
    published: Path, tmp_path: Path, what: str
) -> None:
    folder = copied(published, tmp_path / "b")
    before = spec_of(folder).weights_hash()
    file, keys, value = DECIDING[what]
    rewritten(folder / file, *keys, value=value)
    assert spec_of(folder).weights_hash() != before


def test_history_layout_and_other_files_are_no_difference(published: Path, tmp_path: Path) -> None:
    folder = copied(published, tmp_path / "b")
    before = spec_of(folder).weights_hash()
    for keys in (("transformers_version",), ("torch_dtype",), ("text_config", "_name_or_path")):
        rewritten(folder / "config.json", *keys, value="another")
    (folder / "README.md").write_text("a model")
    config = folder / "config.json"
    config.write_text(json.dumps(dict(reversed(json.loads(config.read_text()).items())), indent=7))
    assert spec_of(folder).weights_hash() == before


def test_a_file_that_is_no_json_counts_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    first = salt_of(tmp_path)
    (tmp_path / "config.json").write_text("[")
    assert salt_of(tmp_path) != first


def test_weights_written_over_in_place_are_other_weights(tmp_path: Path) -> None:
    """A folder's own times do not change then."""
    folder = hf_folder(tmp_path / "hf", own=True, together=False)
    before, file = spec_of(folder).weights_hash(), folder / "model.safetensors"
    times = folder.stat().st_mtime_ns
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert folder.stat().st_mtime_ns == times and spec_of(folder).weights_hash() != before
    oracle = ClipSpec(oracle=str(folder))
    hashes = oracle.beside("Ada")
    data[-1] ^= 1
    file.write_bytes(data)
    assert oracle.beside("Ada") != hashes


def test_an_open_clip_folder_counts_with_what_it_says(architectures: None, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    written(folder / "open_clip_model.safetensors", weights_of("tiny"))

    def told(preprocess: dict[str, Any]) -> str:
        config = {"model_cfg": TINY, "preprocess_cfg": preprocess}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        spec = ClipSpec(
            name="own",
            stand_in=False,
            library=Library.OPEN_CLIP,
            architecture="tiny",
            weights=str(folder),
        )
        assert spec.weights_hash() == spec.open().weights_hash()
        return spec.weights_hash()

    hashes = [told(p) for p in ({}, {"mean": [0.5] * 3}, {"std": [0.5] * 3}, {"resize_mode": "squash"})]
    assert len(set(hashes)) == 4 and told({}) == hashes[0]


def test_an_architectures_own_settings_count(architectures: None, tmp_path: Path) -> None:
    path = written(tmp_path / "w.pt", weights_of("tiny"))
    before = stored_hash("open_clip", "tiny", path)
    (tmp_path / "other").mkdir()
    changed = {**TINY, "text_cfg": {**TINY["text_cfg"], "heads": 2}}
    (tmp_path / "other/tiny.json").write_text(json.dumps(changed))
    open_clip.add_model_config(tmp_path / "other")
    assert stored_hash("open_clip", "tiny", path) != before


def test_a_known_hash_needs_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"w": torch.zeros(2)}, file)
    spec = ClipSpec(
        name="x", stand_in=False, library=Library.OPEN_CLIP, architecture="ViT-B-32", weights=str(file)
    )
    assert not (tmp_path / "cache").exists()
    first = spec.weights_hash()  # here, where torch is loaded
    code = (
        "import sys; from razor_cli.families.clip.files import Library\n"
        "from razor_cli.families.clip.spec import ClipSpec\n"
        "print(ClipSpec(name='x', stand_in=False, library=Library.OPEN_CLIP, architecture='ViT-B-32',"
        " weights=sys.argv[1]).weights_hash(), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == [first, "False"]


# ------------------------------------------------------------------ what the loaded model shows


def darker(model: Clip) -> None:
    prepare = model.transform
    model.transform = lambda image: prepare(image) - 0.1


def upside_down(model: Clip) -> None:
    prepare = model.transform
    model.transform = lambda image: prepare(image).flip(1)


def without_words(model: Clip) -> None:
    ids = model.tokenizer
    model.tokenizer = lambda texts: ids(["" for _ in texts])


def other_end(model: Clip) -> None:
    ids = model.tokenizer
    model.tokenizer = lambda texts: ids([f"{t} then" for t in texts])


def other_activation(model: Clip) -> None:
    model.module.transformer.resblocks[0].mlp.gelu = torch.nn.ReLU()  # type: ignore[union-attr, index]


def other_files(model: Clip) -> None:
    model.salt = "other"


CHANGES = (darker, upside_down, without_words, other_end, other_activation, other_files)


def answers(model: Clip, cache: TensorCache, state: str = "base") -> tuple[Tensor, int]:
    """Return the forget pictures' cosines of a state, and how many gradients were found on disk."""
    sets = make_sets()
    lab = Lab(family=model, sets=sets, cache=cache)
    lab.gradients(GradientPlan())
    exam = model.exam(sets, Metrics(bootstrap_draws=100), cache, lambda _: None)
    hashes = {"oracle": "1" * 64} if state == "oracle" else {}
    evaluator = Evaluator(family=model, exam=exam, settings=Quantization(schemes=["none"]), hashes=hashes)
    (found,) = (answer for _, answer in evaluator.states({state: Weights()}))
    return found.reference.retain_cosine, lab.cost.gradient_cache_hits


@pytest.mark.parametrize("state", ["base", "oracle"])
@pytest.mark.parametrize("change", CHANGES)
def test_another_preparation_finds_nothing_in_the_caches(
    tmp_path: Path, change: Callable[[Clip], None], state: str
) -> None:
    cache = TensorCache(tmp_path)
    assert answers(make_clip(), cache, state)[1] == 0 and answers(make_clip(), cache, state)[1] == 2
    model, alone = make_clip(), make_clip()
    change(model)
    change(alone)
    found, hits = answers(model, cache, state)
    assert hits == 0 and torch.equal(found, answers(alone, TensorCache(tmp_path / "new"), state)[0])


@pytest.mark.parametrize("change", CHANGES)
def test_a_training_does_not_go_on_under_another_preparation(change: Callable[[Clip], None]) -> None:
    model, settings = make_clip(), Gaft()
    before = state_key(Lab(family=model, sets=make_sets()), settings)
    assert state_key(Lab(family=make_clip(), sets=make_sets()), settings) == before
    other = make_clip()
    change(other)
    assert state_key(Lab(family=other, sets=make_sets()), settings) != before


def test_the_preparation_is_the_same_in_every_process(published: Path) -> None:
    here = [ClipSpec().open().preparation(), spec_of(published).open().preparation()]
    code = (
        "import sys; from razor_cli.families.clip.files import Library\n"
        "from razor_cli.families.clip.spec import ClipSpec\n"
        "other = ClipSpec(name='x', stand_in=False, library=Library.HF, weights=sys.argv[1])\n"
        "print(*(s.open().preparation() for s in (ClipSpec(), other)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(published)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert said.stdout.split() == here and len(set(here)) == 2
