"""Answers of a LLaVA: the library's own, whatever stands beside them in a batch, and exactly where they were
given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_llava import LAYERS, TOKENS, tiny_llava, tiny_llava_next

from razor_cli.errors import WeightsError
from razor_cli.families.llava.answerer import Answerer, Question
from razor_cli.families.llava.kinds import Variant, effective

ASKED = "What's the name of the person in this image?"
LONGER = "Which of all the many colours there are is the one behind her?"


def answerer(folder: Path, variant: Variant) -> Answerer:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return Answerer(model.eval(), AutoProcessor.from_pretrained(folder), variant)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return answerer(tiny_llava(tmp_path_factory.mktemp("llava")), Variant.LLAVA)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return answerer(tiny_llava_next(tmp_path_factory.mktemp("next")), Variant.LLAVA_NEXT)


def pictures(count: int = 3) -> list[Image.Image]:
    """Return pictures of different shapes and colours, each with a gradient across it."""
    made = []
    for i in range(count):
        across = Image.linear_gradient("L").resize((30 + 20 * i, 40))
        flat = [Image.new("L", across.size, 60 * i + 30), Image.new("L", across.size, 200 - 50 * i)]
        made.append(Image.merge("RGB", (across, *flat)))
    return made


@pytest.fixture(params=["plain", "tiled"])
def model(request: pytest.FixtureRequest) -> Answerer:
    found: Answerer = request.getfixturevalue(request.param)
    return found


def library_inputs(model: Answerer, image: Image.Image, question: str) -> Any:
    """Return what the library's own processor makes of one question about one picture."""
    return model.processor(images=image, text=model.prompt(question, True), return_tensors="pt")


def test_answers_are_those_of_the_library(model: Answerer) -> None:
    images = pictures()
    shown = model.features(model.preprocess(images))
    asked = [Question(i, t) for i in range(3) for t in (ASKED, LONGER)]
    own = model.answers(shown, asked, max_new_tokens=6)
    for question, answer in zip(asked, own, strict=True):
        assert question.picture is not None
        given = library_inputs(model, images[question.picture], question.text)
        made = model.model.generate(**given, do_sample=False, max_new_tokens=6)
        new = made[0, given["input_ids"].shape[1] :]
        assert model.processor.tokenizer.decode(new, skip_special_tokens=True).strip() == answer
    assert len(set(own)) > 1, "pictures and questions must make a difference"


def test_logits_are_those_of_the_library_behind_the_same_words(model: Answerer) -> None:
    images, answer = pictures(), "Taylor Swift"
    shown = model.features(model.preprocess(images))
    found = model.logits(shown, [Question(1, ASKED), Question(0, LONGER)], [answer, "Zed"])[0]
    text = f"{model.prompt(ASKED, True)} {answer}"
    given = model.processor(images=images[1], text=text, return_tensors="pt")
    with torch.no_grad():
        theirs = model.model(**given).logits[0]
    words = len(answer) + 1  # each letter is a token, the space before it another
    torch.testing.assert_close(found, theirs[-words - 1 :], atol=1e-5, rtol=1e-4)


def test_what_stands_beside_a_question_changes_nothing(model: Answerer) -> None:
    shown = model.features(model.preprocess(pictures()))
    asked = [Question(0, ASKED), Question(2, LONGER), Question(None, "Who sings?"), Question(1, ASKED)]
    answers = ["Taylor Swift", "red", "Zed", "a person"]
    together = model.nll(shown, asked, answers)
    alone = torch.cat([model.nll(shown, [q], [a]) for q, a in zip(asked, answers, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert model.answers(shown, asked, 5) == model.answers(shown, asked, 5, batch=1)


def test_nll_is_the_mean_over_the_answers_tokens_and_the_end(plain: Answerer) -> None:
    shown, asked = plain.features(plain.preprocess(pictures(1))), [Question(0, ASKED)]
    logits = plain.logits(shown, asked, ["ab"])[0].log_softmax(dim=-1)
    ids = plain.processor.tokenizer.encode(" ab", add_special_tokens=False)
    wanted = [*ids, plain.processor.tokenizer.eos_token_id]
    mean = -sum(logits[i, t] for i, t in enumerate(wanted)) / len(wanted)
    torch.testing.assert_close(plain.nll(shown, asked, ["ab"])[0], torch.as_tensor(mean))


def test_said_is_whether_the_greedy_answer_is_exactly_this_one(plain: Answerer) -> None:
    shown, asked = plain.features(plain.preprocess(pictures(2))), [Question(0, ASKED)]
    hidden = torch.zeros_like(plain.model.lm_head.weight)
    kept = plain.model.lm_head.weight.detach().clone()
    tokenizer = plain.processor.tokenizer
    states = {}
    with torch.no_grad():  # a head that says "ab" and ends: each state is answered by the next token
        prompt = plain._asked(shown, asked[0])
        for length, token in enumerate([*tokenizer.encode(" ab", add_special_tokens=False), 2]):
            before = tokenizer.encode(" ab", add_special_tokens=False)[:length]
            whole = torch.cat(
                [prompt, plain.model.get_input_embeddings()(torch.tensor(before, dtype=torch.long))]
            )[None]
            states[token] = plain.model.model(inputs_embeds=whole).last_hidden_state[0, -1]
        basis = torch.linalg.pinv(torch.stack(list(states.values())))
        for i, token in enumerate(states):
            hidden[token] = basis[:, i]
        plain.model.lm_head.weight.copy_(hidden)
        try:
            assert plain.answers(shown, asked, 6) == ["ab"]
            both = asked * 4
            assert plain.said(shown, both, ["ab", "a", "abc", "b"]).tolist() == [True, False, False, False]
        finally:
            plain.model.lm_head.weight.copy_(kept)


def test_gradients_of_answers_reach_the_effective_layers_alone(model: Answerer) -> None:
    tower = dict(model.model.model.vision_tower.named_parameters())
    shown = model.features(model.preprocess(pictures(2)))
    value = model.nll(shown, [Question(0, ASKED), Question(1, ASKED)], ["Zed", "Zed"]).sum()
    found = torch.autograd.grad(value, list(tower.values()), allow_unused=True)
    dead = {n for n, g in zip(tower, found, strict=True) if g is None or not g.any()}
    last = f"encoder.layers.{LAYERS - 1}."
    assert model.effective_layers() == range(LAYERS - 1)
    assert dead == {n for n in tower if n.startswith((last, "post_layernorm"))} | {
        n
        for n in dead
        if n.endswith("k_proj.bias")  # a bias of keys never moves what attention sees
    }


def test_pictures_may_be_looked_at_in_parts(model: Answerer) -> None:
    pixels = model.preprocess(pictures())
    whole, parts = model.features(pixels), model.features(pixels, batch=1)
    assert len(whole) == len(parts) == 3
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert pixels.whole.shape == (3, 3, 24, 24)


def test_a_picture_has_as_many_tokens_as_the_processor_counts(plain: Answerer, tiled: Answerer) -> None:
    assert [len(f) for f in plain.features(plain.preprocess(pictures(2)))] == [TOKENS, TOKENS]
    for i, found in enumerate(tiled.features(tiled.preprocess(pictures()))):
        ids = library_inputs(tiled, pictures()[i], ASKED)["input_ids"]
        assert len(found) == int((ids == tiled.prompts.image).sum())
        assert len(found) > TOKENS


def test_a_template_that_drops_the_picture_is_refused(plain: Answerer) -> None:
    kept = plain.processor.chat_template
    plain.processor.chat_template = "{{ messages[0]['content'][-1]['text'] }}"
    try:
        with pytest.raises(WeightsError, match="does not hold the question and its picture once"):
            Answerer(plain.model, plain.processor, Variant.LLAVA).prompt(ASKED, True)
    finally:
        plain.processor.chat_template = kept


def test_effective_layers_follow_the_feature_layer() -> None:
    assert effective(-2, 24) == range(23)
    assert effective(-1, 24) == range(24)
    assert effective(10, 24) == range(10)
    assert effective([-2, 3], 12) == range(11)
