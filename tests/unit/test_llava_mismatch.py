"""What a mismatch term holds on to in a LLaVA: answers of the unedited model, kept on disk, or other things
that it said.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from presets import preset
from tiny_llava import opened
from tiny_world import make_sets
from torch import Tensor

from razor_cli.config.pairings import method_serves_model
from razor_cli.contract.components import swapped
from razor_cli.contract.family import Named
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.changes import Weights
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.families.llava import losses_drift
from razor_cli.families.llava.answerer import Answerer, Question
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.losses import loss_of
from razor_cli.families.llava.losses_drift import NEUTRAL
from razor_cli.families.llava.names import TOWER
from razor_cli.families.llava.spec import LlavaSpec
from razor_cli.methods.razor_choices import MismatchForm

FC1 = f"{TOWER}encoder.layers.1.mlp.fc1.weight"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Llava:
    return opened(tmp_path_factory.mktemp("mismatch") / "plain", min_alignment=0.0)


@pytest.fixture(scope="module")
def sets() -> ConceptSets:
    return make_sets()


def away(model: Llava, *along: Tensor) -> Tensor:
    """Return weights at some distance from the unedited ones."""
    drawn = torch.randn(model.stored[FC1].shape, generator=torch.Generator().manual_seed(3))
    return model.stored[FC1] + 2 * drawn / drawn.norm() + sum(along)


def drift(
    model: Llava,
    sets: ConceptSets,
    name: str,
    count: int,
    cache: TensorCache | None = None,
    chunk: int = 128,
) -> Named:
    """Return the gradient of a drift away from the unedited weights."""
    loss = loss_of(model, sets, name).anchored(Weights(values={FC1: model.stored[FC1]}), cache)
    with swapped(model, {FC1: away(model)}):
        return loss.gradient(sets.retain.head(count), 4, [FC1], lambda *_: None, chunk=chunk)


def test_answers_of_the_unedited_model_are_asked_for_once_and_kept_on_disk(
    model: Llava, sets: ConceptSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = drift(model, sets, "mismatch_squared", 4)
    cache, asked, real = TensorCache(tmp_path), [], Answerer.answers

    def counted(self: Answerer, *args: object, **keywords: object) -> list[str]:
        asked.append(1)
        return real(self, *args, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(Answerer, "answers", counted)
    first = drift(model, sets, "mismatch_squared", 4, cache)
    assert len(asked) == 1
    again = [drift(model, sets, name, 4, cache) for name in ("mismatch_squared", "mismatch_first_token")]
    assert len(asked) == 1  # whole answers serve both
    assert torch.equal(first[FC1], plain[FC1])
    assert torch.equal(again[0][FC1], plain[FC1])
    assert not torch.equal(again[1][FC1], plain[FC1])
    fewer = drift(model, sets, "mismatch_squared", 4, cache, chunk=1)
    assert len(asked) == 1  # how many pictures fit at once is no part of what is kept
    assert torch.equal(fewer[FC1], drift(model, sets, "mismatch_squared", 4, chunk=1)[FC1])
    drift(model, sets, "mismatch_squared", 3, cache)
    assert len(asked) > 1  # other pictures


def test_nothing_has_moved_at_the_unedited_weights_however_many_pictures_are_taken_at_once(
    model: Llava, sets: ConceptSets, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path)
    for chunk in (4, 1):  # the second finds the answers of the first
        loss = loss_of(model, sets, "mismatch_squared").anchored(Weights(), cache)
        found = loss.gradient(sets.retain.head(4), 4, [FC1], lambda *_: None, chunk=chunk)
        assert not found[FC1].any()


def test_the_first_token_is_the_mean_squared_change_of_its_logits(model: Llava, sets: ConceptSets) -> None:
    part, answerer = sets.retain.head(2), model.answerer
    asked = [Question(row, text) for row in range(2) for text in NEUTRAL]

    def logits(answers: list[str]) -> Tensor:
        shown = answerer.features(answerer.preprocess(part.load()))
        return torch.stack([row[0] for row in answerer.logits(shown, asked, answers)])

    with torch.no_grad():
        said = answerer.answers(answerer.features(answerer.preprocess(part.load())), asked, 16)
        before = logits(said)
    generator = torch.Generator().manual_seed(5)
    way = torch.randn(model.stored[FC1].shape, generator=generator)
    way /= way.norm()
    ends = []
    with torch.no_grad():
        for step in (0.02, -0.02):
            with swapped(model, {FC1: away(model, step * way)}):
                ends.append(float(((logits(said) - before) ** 2).mean()))
    found = float((drift(model, sets, "mismatch_first_token", 2)[FC1] * way).sum())
    assert found == pytest.approx((ends[0] - ends[1]) / 0.04, rel=0.02)


def test_the_first_pictures_of_a_set_are_asked_about(
    model: Llava, sets: ConceptSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = drift(model, sets, "mismatch_squared", 3)
    monkeypatch.setattr(losses_drift, "SHOWN", 3)
    assert torch.equal(drift(model, sets, "mismatch_squared", 8)[FC1], few[FC1])


def test_every_form_is_a_loss_of_a_llava_and_only_some_are_a_clips(model: Llava, sets: ConceptSets) -> None:
    for form in MismatchForm:
        assert drift(model, sets, f"mismatch_{form}", 4)[FC1].any()
        method = preset("razor_paper", mismatch_form=form.value, _family="llava")
        assert not method_serves_model(method, LlavaSpec())
        own = method_serves_model(preset("razor_paper", mismatch_form=form.value), ClipSpec())
        assert [p.found for p in own] == ([] if form in ("signed", "squared", "abs") else [repr(form.value)])
        off = preset("razor_paper", mismatch_form=form.value, lambda_mismatch=0)
        assert not method_serves_model(off, ClipSpec())
