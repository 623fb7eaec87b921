"""What stands beside the weights of a folder is followed whole, or refused by name: never in part, and never
made up.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loading_cases import hf_folder
from PIL import Image
from torch import Tensor

from razor_cli.errors import WeightsError
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.hf_files import check_folder, read_processor
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.families.clip.tokens import LARGEST, PROBES, check_tokenizer, within

SIDE = 16  # of hf_folder's pictures
NOISE = np.random.default_rng(0).integers(0, 255, (5, 8, 3), dtype=np.uint8)
WIDE = Image.fromarray(NOISE).resize((96, 64), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = hf_folder(tmp_path_factory.mktemp("saved") / "hf")
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path, saved: dict[str, bytes]) -> Path:
    for name, content in saved.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def refused(folder: Path, *parts: str) -> None:
    """Expect the problem from the settings alone, before weights, and the same of loading."""
    spec = ClipSpec(name="hf", stand_in=False, library=Library.HF, weights=str(folder))
    said = [str(problem.error()) for problem in spec.problems()]
    assert len(said) == 1
    with pytest.raises(WeightsError) as caught:
        load_hugging_face("hf", str(folder))
    assert caught.value.exit_code == 2
    for part in parts:
        assert part in said[0] and part in str(caught.value)


# ------------------------------------------------------------------ pictures

CHANGES: dict[str, list[Any]] = {
    "do_resize": [False],
    "size": [
        {"height": SIDE, "width": SIDE},
        {"shortest_edge": 24},
        24,
        [40, 20],
        {"longest_edge": 24},
        {"shortest_edge": 600},
        {"shortest_edge": 0},
        {"height": 20},
        "16",
    ],
    "resample": [0, 1, 2, 4, 5, 9, "bicubic"],
    "do_center_crop": [False],
    "crop_size": [SIDE, 12, {"height": SIDE, "width": 8}],
    "do_rescale": [False],
    "rescale_factor": [1 / 127.5, 0, -1, "x"],
    "do_normalize": [False],
    "image_mean": [[0.1, 0.2, 0.3], 0.5, [0.1], [True, 0, 0]],
    "image_std": [[0.1, 0.2, 0.3], 0.5, [0.0, 1, 1]],
    "do_convert_rgb": [False],
    "do_pad": [True, False],
    "default_to_square": [True],
    "do_flip_channel_order": [True, None],
    "crop_pct": [0.9],
    "image_processor_type": ["SiglipImageProcessor", "CLIPFeatureExtractor"],
    "data_format": ["channels_last"],
}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in CHANGES.items() for v in values])
def test_a_setting_of_the_processor_is_followed_or_refused_by_name(
    folder: Path, key: str, value: Any, together: bool
) -> None:
    from transformers import CLIPImageProcessor

    file = folder / "preprocessor_config.json"
    changed = {**json.loads(file.read_text()), key: value}
    if together:
        file.unlink()
        file = folder / "processor_config.json"
    file.write_text(json.dumps({"image_processor": changed} if together else changed))
    try:
        found = read_processor(folder, SIDE)
    except WeightsError as error:
        assert f"{file}: {key} is not followed" in str(error) and error.exit_code == 2
        return
    wanted, mine = (
        p(images=WIDE, return_tensors="pt")["pixel_values"][0]
        for p in (CLIPImageProcessor.from_pretrained(folder), CLIPImageProcessor(**found))
    )
    assert mine.shape == (3, SIDE, SIDE) and float((mine - wanted).abs().max()) <= 0.05


@pytest.mark.parametrize(
    ("settings", "followed"),
    [
        ({"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False}, True),
        ({"size": {"height": SIDE, "width": 24}, "do_center_crop": False}, False),
        ({"size": {"shortest_edge": 24}}, True),
        ({"do_rescale": False, "do_normalize": False}, True),
        ({"image_mean": 0.5, "image_std": 0.5, "resample": 2, "size": 20}, True),
    ],
)
def test_the_loaded_model_sees_what_the_librarys_processor_makes(
    folder: Path, settings: dict[str, Any], followed: bool
) -> None:
    from transformers import CLIPImageProcessor

    change(folder / "preprocessor_config.json", **settings)
    if not followed:
        refused(folder, "size is not followed")
        return
    wanted = CLIPImageProcessor.from_pretrained(folder)(images=WIDE, return_tensors="pt")["pixel_values"]
    plain = load_hugging_face("hf", str(folder)).preprocess([WIDE])
    assert float((plain - wanted).abs().max()) <= 0.05


def test_the_wanted_settings_differ_in_their_pixels(folder: Path) -> None:
    """The differences that are looked for above are far larger than what is tolerated."""
    plain = load_hugging_face("hf", str(folder)).preprocess([WIDE])
    squashed = {"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False}
    for settings in (squashed, {"size": 24, "do_center_crop": True}):
        change(folder / "preprocessor_config.json", **settings)
        assert float((load_hugging_face("hf", str(folder)).preprocess([WIDE]) - plain).abs().max()) > 0.5


def test_no_processor_is_made_up(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    refused(folder, str(folder), "preprocessor_config.json", "save_pretrained")


# ------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    ("gone", "found"),
    [
        (("vocab.json", "merges.txt", "tokenizer.json"), "no tokenizer.json, no vocab.json, no merges.txt"),
        (("merges.txt", "tokenizer.json"), "no tokenizer.json, no merges.txt"),
        (("tokenizer.json", "vocab.json"), "no tokenizer.json, no vocab.json"),
    ],
)
def test_a_folder_without_a_tokenizer_is_refused(folder: Path, gone: tuple[str, ...], found: str) -> None:
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    refused(folder, str(folder), "vocab.json and merges.txt, or tokenizer.json", found, "save_pretrained")


@pytest.mark.parametrize("gone", [("tokenizer.json",), ("vocab.json", "merges.txt")])
def test_either_form_of_a_tokenizer_is_enough(folder: Path, gone: tuple[str, ...]) -> None:
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    tokens = load_hugging_face("hf", str(folder)).tokenize(list(PROBES))
    assert len({tuple(row) for row in tokens.tolist()}) == len(PROBES)


def test_another_kind_of_tokenizer_is_refused(folder: Path) -> None:
    change(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    refused(folder, "tokenizer_class is not followed", "BertTokenizer")


def test_a_tokenizer_json_that_the_librarys_class_would_not_follow_is_refused(folder: Path) -> None:
    own = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**own, "normalizer": None}))  # no lower case
    with pytest.raises(WeightsError, match=r"tokenizer\.json is not followed"):
        load_hugging_face("hf", str(folder))


def test_a_vocabulary_larger_than_the_embedding_table_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({word: i + 1 for word, i in vocabulary.items()}))
    with pytest.raises(WeightsError, match="no embedding for"):
        load_hugging_face("hf", str(folder))


def test_an_end_token_of_another_model_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    end = config["text_config"]["eos_token_id"]
    change(folder / "config.json", text_config={**config["text_config"], "eos_token_id": end - 3})
    with pytest.raises(WeightsError, match="end token"):
        load_hugging_face("hf", str(folder))
    change(folder / "config.json", text_config={**config["text_config"], "eos_token_id": 2})  # of old files
    assert load_hugging_face("hf", str(folder)).source == folder.name


def toy(words: Callable[[str], int], end: int = 99) -> Callable[[list[str]], Tensor]:
    def tokenize(texts: list[str]) -> Tensor:
        rows = [[98, *(words(w) for w in text.split()), end] for text in texts]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    return tokenize


def test_tokenizers_are_judged_by_their_ids_alone() -> None:
    known = {w: i + 1 for i, w in enumerate(sorted({w for p in PROBES for w in p.split()}))}
    check_tokenizer(toy(known.__getitem__), "x", end=LARGEST)
    check_tokenizer(toy(known.__getitem__), "x", end=99)
    check_tokenizer(within(toy(known.__getitem__), 100, "x"), "x")
    with pytest.raises(WeightsError, match="the same ids"):
        check_tokenizer(toy(lambda w: 1), "x")
    with pytest.raises(WeightsError, match="does not know words"):
        check_tokenizer(toy(lambda w: 99), "x")
    with pytest.raises(WeightsError, match="does not know words"):
        check_tokenizer(toy(lambda w: 7 if w == "photo" else known[w]), "x", unknown=7)
    with pytest.raises(WeightsError, match="end token"):
        check_tokenizer(toy(known.__getitem__, end=0), "x", end=49407)
    with pytest.raises(WeightsError, match="largest id"):
        check_tokenizer(toy(lambda w: known[w] + 100), "x", end=LARGEST)
    with pytest.raises(WeightsError, match="no embedding for"):
        check_tokenizer(within(toy(known.__getitem__), 99, "x"), "x")


# ------------------------------------------------------------------ files that are not what they should be

FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json")
BROKEN = {
    "cut": b'{"model_type": "clip", ',
    "empty": b"",
    "list": b"[1, 2]",
    "binary": bytes(range(256)),
    "nan": b'{"image_mean": NaN}',
    "twice": b'{"size": 224, "size": 24}',
    "deep": b'{"a": ' + b"[" * 100_000,
    "digits": b'{"size": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("name", FILES)
def test_json_that_is_not_json_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    refused(folder, name)


def test_a_configuration_of_absurd_length_is_refused_by_its_size(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(10**10)  # sparse: it takes no room
    refused(folder, "config.json", "too large")


@pytest.mark.parametrize("kind", ["siglip", "chinese_clip", None, 3])
def test_another_model_type_is_named(folder: Path, kind: Any) -> None:
    change(folder / "config.json", model_type=kind)
    refused(folder, "config.json", "model_type clip", f"model_type {kind}")


@pytest.mark.parametrize("part", ["vision_config", "text_config"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"num_hidden_layers": 10**6},
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**6, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1},
        {"intermediate_size": 10**12},
        {"vocab_size": 10**10, "patch_size": 10**6},
        {"max_position_embeddings": 10**11, "image_size": 10**9},
        {"num_hidden_layers": -1},
        {"hidden_size": "wide"},
        {"num_hidden_layers": 1.5},
        {"hidden_size": True},
        {"num_attention_heads": 0},
    ],
)
def test_a_configuration_of_absurd_sizes_is_refused_at_once(
    folder: Path, part: str, sizes: dict[str, Any]
) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", **{part: {**config[part], **sizes}})
    known = [k for k in sizes if k in config[part]]
    if not known:
        pytest.skip("no size of this tower")
    began = time.perf_counter()
    with pytest.raises(WeightsError, match=r"config\.json"):
        check_folder(folder)
    assert time.perf_counter() - began < 1


def test_what_the_library_cannot_build_is_worded(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", vision_config={**config["vision_config"], "hidden_act": "nothing"})
    with pytest.raises(WeightsError, match="transformers cannot build"):
        load_hugging_face("hf", str(folder))
