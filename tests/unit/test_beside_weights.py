"""What stands beside the weights of a folder is what it should be, or refused by name: nothing is made up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from beside_cases import change, folder, refused, saved
from torch import Tensor

from razor_cli.errors import WeightsError
from razor_cli.families.clip.hf_files import check_folder
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.clip.tokens import LARGEST, PROBES, check_tokenizer, within

__all__ = ["folder", "saved"]  # fixtures


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


@pytest.mark.parametrize("kind", ["blip", "chinese_clip", None, 3])
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
