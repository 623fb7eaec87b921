"""A byte that flips on disk is damage in every store of arrays that is read back, and never a number."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from test_train_resume import KilledError, same, trained
from tiny_world import make_clip, make_sets

from razor_cli.config.quantization import Quantization
from razor_cli.contract.method import GradientPlan
from razor_cli.data.rendered import Rendered
from razor_cli.data.sets import Pairs
from razor_cli.data.sources.emoji import Emoji
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.changes import Weights
from razor_cli.engine.checked import read_checked, write_checked
from razor_cli.engine.evaluation import Evaluator
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.settings import Metrics
from razor_cli.methods.gaft import Gaft
from razor_cli.runs import remembered
from razor_cli.runs.remembered import remember

PLACES = (0.0, 0.37, 1.0)  # of the array data: its first byte, one within, its last


def flip(path: Path, place: float) -> None:
    """Turn one bit of the array data of a safetensors file."""
    data = bytearray(path.read_bytes())
    (header,) = struct.unpack("<Q", data[:8])
    start = 8 + header
    data[start + int(place * (len(data) - start - 1))] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_what_was_written_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        "a": torch.arange(6).reshape(2, 3).T.to(dtype),  # not contiguous
        "empty": torch.zeros(0, 3, dtype=dtype),
        "one": torch.ones((), dtype=dtype),
    }
    write_checked(tmp_path / "x.safetensors", tensors, state="{}")
    found, texts = read_checked(tmp_path / "x.safetensors")
    assert texts == {"state": "{}"} and found.keys() == tensors.keys()
    assert all(torch.equal(found[n], v) and found[n].dtype is dtype for n, v in tensors.items())


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_checked(path, {"a": torch.arange(3.0), "b": torch.ones(2)}, state='{"epoch": 2}')
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 16):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            try:
                tensors, texts = read_checked(path)
            except (ValueError, SafetensorError, OSError):
                continue
            # Blanks between the header and the data are all that may differ.
            assert texts == {"state": '{"epoch": 2}'} and torch.equal(tensors["a"], torch.arange(3.0))
            assert torch.equal(tensors["b"], torch.ones(2)) and list(tensors) == ["a", "b"]


def test_a_file_without_a_checksum_is_not_taken(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="other bytes"):
        read_checked(tmp_path / "x.safetensors")


@pytest.mark.parametrize("place", PLACES)
def test_gradients_and_embeddings_are_computed_again(tmp_path: Path, place: float) -> None:
    def answers(cache: TensorCache) -> list[torch.Tensor]:
        model, sets = make_clip(), make_sets()
        pairs = Lab(family=model, sets=sets, cache=cache).gradients(GradientPlan())
        exam = model.exam(sets, Metrics(bootstrap_draws=100), cache, lambda _: None)
        evaluator = Evaluator(family=model, exam=exam, settings=Quantization(schemes=["none"]))
        ((_, found),) = evaluator.states({"base": Weights()})
        return [*(named[n] for named in pairs for n in sorted(named)), found.reference.retain_cosine]

    def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))

    before = answers(TensorCache(tmp_path))
    entries = sorted(tmp_path.glob("*.safetensors"))
    assert len(entries) == 4  # two gradients, two towers
    for entry in entries:
        flip(entry, place)
    cache = TensorCache(tmp_path)
    assert equal(answers(cache), before)
    assert cache.notes() == ["cache: 4 entries were damaged on disk and were computed again"]
    mended = TensorCache(tmp_path)
    assert equal(answers(mended), before) and mended.notes() == []


@pytest.mark.parametrize("place", PLACES)
def test_a_training_starts_over(tmp_path: Path, place: float) -> None:
    settings = Gaft(lr=3e-4, epochs=2, batch=16)
    with pytest.raises(KilledError):
        trained(settings, tmp_path, kill=2)
    (state,) = tmp_path.iterdir()
    flip(state, place)
    again, _ = trained(settings, tmp_path)
    assert same(again.values, trained(settings, None)[0].values)
    assert not any("went on" in n for n in again.notes)
    assert sum("damaged" in n for n in again.notes) == 1


@pytest.mark.parametrize("place", PLACES)
def test_pictures_are_drawn_again(tmp_path: Path, place: float) -> None:
    drawn = Emoji().pictures("owl", "train")[:3]
    whole = [np.asarray(i) for i in Rendered(Emoji(), tmp_path).load(drawn)]
    (shard,) = tmp_path.rglob("*.safetensors")
    flip(shard, place)
    kept = Rendered(Emoji(), tmp_path)
    sets = make_sets()
    sets = type(sets)(**{**vars(sets), "forget": Pairs(tuple(drawn), {"emoji": kept})})
    assert sets.mended() == []
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(whole, kept.load(drawn), strict=True))
    assert sets.mended() == ["drawn pictures: 1 files were damaged on disk and were drawn again"]
    mended = Rendered(Emoji(), tmp_path)
    mended.load(drawn)
    assert not mended.damaged


def test_a_hash_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "SETTLED", -(10**12))
    file = tmp_path / "w"
    file.write_bytes(b"x")
    compute: Callable[[], str] = lambda: "ab" * 8  # noqa: E731
    remember("kind", [file], compute)
    (memory,) = (tmp_path / "cache" / remembered.FOLDER).iterdir()
    whole = memory.read_text()
    assert json.loads(whole)["value"] == "ab" * 8
    memory.write_text(whole.replace("abab", "abac", 1))
    assert remember("kind", [file], compute) == "ab" * 8 and memory.read_text() == whole
