"""Gradients of a LLaVA that has no room for many pictures at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_llava import opened
from tiny_world import make_sets

from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.family import Named
from razor_cli.families.llava.answerer import Pixels
from razor_cli.families.llava.names import TOWER
from razor_cli.families.llava.settings import AskedMetrics
from razor_cli.families.llava.spec import LlavaSpec

FC1 = f"{TOWER}encoder.layers.1.mlp.fc1.weight"


@pytest.mark.parametrize("name", ["answer_nll", "answer_generic", "retain_answers", "feature_keep"])
def test_gradients_are_taken_picture_by_picture(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sets = opened(tmp_path / "plain"), make_sets()
    part = sets.retain.head(5)
    moved = {n: v + 0.01 for n, v in parameters(model).items() if n == FC1}
    seen: list[int] = []
    real = model.looker.preprocess

    def spy(images: Sequence[Image.Image]) -> Pixels:
        seen.append(len(images))
        return real(images)

    def found(most: int) -> Named:
        monkeypatch.setattr(type(model), "at_once", property(lambda _: most))
        with swapped(model, moved):
            loss = model.loss(name, sets)
            return loss.gradient(part, 4, [c.name for c in model.tensors()], lambda *_: None)

    monkeypatch.setattr(model.looker, "preprocess", spy)
    whole = found(128)
    assert max(seen) == 4
    seen.clear()
    one_by_one = found(1)
    assert set(seen) == {1}
    assert any(v.any() for v in whole.values())
    for n, v in whole.items():
        assert torch.allclose(one_by_one[n], v, atol=1e-6, rtol=1e-3)


def test_answers_that_do_not_fit_at_once_are_told_beforehand() -> None:
    given = LlavaSpec()
    need = given._need(given._files())
    assert given.memory_note(AskedMetrics(), need.answering(64)) == ""
    note = given.memory_note(AskedMetrics(), need.answering(16))
    assert "answering 64 questions at once" in note and "metrics.batch=16 fits" in note
