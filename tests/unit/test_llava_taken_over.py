"""What a LLaVA saw and said is taken over under the same weights, and asked for anew under any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from taught_llava import PROMPTS, taught
from tiny_llava import opened
from tiny_world import make_sets

from razor_cli.contract.components import parameters
from razor_cli.engine.changes import Weights
from razor_cli.families.llava.exam import AskedExam
from razor_cli.families.llava.settings import AskedMetrics, Options

SETTINGS = AskedMetrics(
    fa_prompts=list(PROMPTS),
    fa_min_base=0,
    mmbench_wording=Options.TAUGHT_TEXT,
    max_new_tokens=8,
    mme_pictures=0,
    gqa_questions=0,
    mmbench_questions=0,
    near=2,
    shown=1,
)
TOWER = "model.vision_tower.encoder.layers.0.mlp.fc1.weight"


def test_the_same_weights_look_once_and_answer_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, looked, answered = opened(taught(tmp_path / "plain")), list[int](), list[int]()
    exam = AskedExam(family=model, sets=make_sets(), settings=SETTINGS)
    features, words = model.answerer.features, model.answerer.words
    monkeypatch.setattr(model.answerer, "features", lambda p: [looked.append(len(p)), *features(p)][1:])
    monkeypatch.setattr(model.answerer, "words", lambda ids: [answered.append(len(ids)), words(ids)][1])
    base = exam.measure(None)
    count = len(looked), len(answered)
    assert exam.measure(None) == base and (len(looked), len(answered)) == count
    live = parameters(model)
    spoken = next(n for n in live if "language_model" in n and "q_proj" in n)
    with Weights(values={spoken: live[spoken].detach() * 3}).held(model):
        said = exam.measure(None)
        assert len(looked) == count[0] and len(answered) > count[1]  # another speaks of what was seen
        exam.forget()
        assert exam.measure(None) == said and len(looked) == 2 * count[0]
    for name in (TOWER, "model.multi_modal_projector.linear_2.bias"):
        one = live[name].detach().clone()
        one.view(-1)[0] += 1e-3
        with Weights(values={name: one}).held(model):
            before = len(looked)
            exam.measure(None)
            assert len(looked) == before + count[0]
