"""Several questions about a picture that is read once: the answers and the logits of asking each alone."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from tiny_llava import opened
from torch import Tensor

from razor_cli.families.llava.answerer import Answerer, Pixels, Question
from razor_cli.families.llava.asking import Asking, Kept
from razor_cli.families.llava.reading import forced, greedy

ASKED = ("Who is it?", "What's the name of the person in this image?", "Is the background of this image red?")
NEW = 6


@pytest.fixture(scope="module", params=["plain", "next"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return opened(tmp_path_factory.mktemp("reading") / request.param).answerer


def pictures(count: int = 4) -> list[Image.Image]:
    """Return pictures of different shapes and colours."""
    made = []
    for i in range(count):
        across = Image.linear_gradient("L").resize((30 + 20 * i, 40))
        flat = [Image.new("L", across.size, 60 * i + 30), Image.new("L", across.size, 200 - 50 * i)]
        made.append(Image.merge("RGB", (across, *flat)))
    return made


def asked(count: int) -> list[Question]:
    """Return every question about each picture, those about one picture apart from each other."""
    return [Question(i, text) for text in ASKED for i in range(count)]


def test_answers_are_those_of_each_question_alone(model: Answerer) -> None:
    shown, questions = model.features(model.preprocess(pictures())), asked(4)
    alone = [model.answers(shown, [q], NEW)[0] for q in questions]
    assert len(set(alone)) > 2, "pictures and questions must make a difference"
    for batch in (1, 5, 64):
        assert greedy(model, shown, questions, NEW, batch) == alone


def test_logits_of_a_batch_are_those_of_single_questions(model: Answerer) -> None:
    shown, questions = model.features(model.preprocess(pictures())), asked(4)
    ids = [model.wanted(q, a) for q, a in zip(questions, ["Ada", "Benjamin", "Eve"] * 4, strict=True)]
    together = forced(model, shown, questions, ids, 64)
    scale = max(float(row.abs().max()) for row in together)
    for question, tokens, row in zip(questions, ids, together, strict=True):
        (single,) = forced(model, shown, [question], [tokens], 1)
        assert row.shape == single.shape == (len(tokens), model.model.config.text_config.vocab_size)
        torch.testing.assert_close(row, single, atol=1e-5 * scale, rtol=0)


def test_logits_are_those_of_the_answerer(model: Answerer) -> None:
    shown, questions = model.features(model.preprocess(pictures())), asked(4)
    answers = ["Ada", "Ben", "Someone else"] * 4
    ids = [model.wanted(q, a) for q, a in zip(questions, answers, strict=True)]
    with torch.no_grad():
        plain = model.logits(shown, questions, answers)
    for mine, its in zip(forced(model, shown, questions, ids, 7), plain, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-4, rtol=1e-4)


def test_a_picture_is_looked_at_once_until_the_weights_change(
    model: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    features = model.features

    def counted(pixels: Pixels, batch: int = 64) -> list[Tensor]:
        seen.append(len(pixels))
        return features(pixels, batch)

    monkeypatch.setattr(model, "features", counted)
    asking, images = Asking(model, 8), pictures(3)
    first = asking([*images, images[0]], [*ASKED, ASKED[1]], NEW)
    again = asking([images[2], images[0]], [ASKED[2], ASKED[0]], NEW)
    assert seen == [3] and again == [first[2], first[0]] and asking.asked == 6
    asking.forget()
    assert asking(images, ASKED, NEW) == first[:3] and seen == [3, 3]
    assert asking.words(["Who is it?"], NEW) == model.answers([], [Question(None, "Who is it?")], NEW)


def test_what_is_kept_stays_within_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("razor_cli.families.llava.asking.KEPT_BYTES", 20)
    kept, made = Kept[int](lambda value: 8), list[int]()
    images = pictures(4)

    def make(new: list[Image.Image]) -> list[int]:
        made.append(len(new))
        return [image.width for image in new]

    assert kept.each(images, make) == [image.width for image in images] and kept.bytes <= 20
    assert kept.each(images[2:], make) == [image.width for image in images[2:]]
    assert kept.each(images[:1], make) == [images[0].width]
    assert made == [4, 1]
