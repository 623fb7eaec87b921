"""Losses of a LLaVA: each gradient is that of its formula, by the right sign, scale and layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_llava import LAYERS, opened
from tiny_world import make_sets
from torch import Tensor

from razor_cli.contract.choices import Direction
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.family import Named
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.engine.changes import Weights
from razor_cli.errors import ConfigError
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.kinds import Candidates, Pool
from razor_cli.families.llava.losses import LITERAL, SIMILARITY
from razor_cli.families.llava.losses_drift import NEUTRAL
from razor_cli.families.llava.names import PROJECTOR, TOWER
from razor_cli.families.llava.questions import unknown
from razor_cli.families.llava.wording import NAME_PROMPTS

FC1 = f"{TOWER}encoder.layers.1.mlp.fc1.weight"
LINEAR = f"{PROJECTOR}linear_2.weight"
LAST = f"{TOWER}encoder.layers.{LAYERS - 1}.mlp.fc1.weight"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("losses")


@pytest.fixture(scope="module")
def model(root: Path) -> Llava:
    return opened(root / "plain", candidates=Candidates.VISION_EFFECTIVE_PROJECTOR)


@pytest.fixture(scope="module")
def sets() -> ConceptSets:
    return make_sets()


def gradient(
    model: Llava, sets: ConceptSets, name: str, part: Pairs, size: int = 4, chunk: int = 128
) -> Named:
    names = [c.name for c in model.tensors()]
    return model.loss(name, sets).gradient(part, size, names, lambda *_: None, chunk=chunk)


def slope(model: Llava, value: Callable[[], Tensor], along: Named, step: float = 2e-2) -> float:
    """Return how fast a value grows when parameters move along a direction, by differences alone."""
    live = parameters(model)
    ends = []
    for sign in (1, -1):
        with torch.no_grad(), swapped(model, {n: live[n] + sign * step * g for n, g in along.items()}):
            ends.append(float(value()))
    return (ends[0] - ends[1]) / (2 * step)


def direction(model: Llava, *names: str) -> Named:
    """Return a random direction of length 1 in some parameters."""
    drawn = {
        n: torch.randn(parameters(model)[n].shape, generator=torch.Generator().manual_seed(5)) for n in names
    }
    norm = torch.stack([d.norm() for d in drawn.values()]).norm()
    return {n: d / norm for n, d in drawn.items()}


def along(found: Named, way: Named) -> float:
    return float(sum((found[n] * d).sum() for n, d in way.items()))


def mean_nll(model: Llava, part: Pairs, asked: list[Question], answers: list[str]) -> Tensor:
    answerer = model.answerer
    shown = answerer.features(answerer.preprocess(part.load()))
    return answerer.nll(shown, asked, answers).mean()


def test_the_answer_loss_is_the_mean_nll_of_the_name_under_two_questions_in_turn(
    model: Llava, sets: ConceptSets
) -> None:
    part, way = sets.forget.head(4), direction(model, FC1, LINEAR)
    asked = [Question(i, NAME_PROMPTS[(i + k) % 5]) for i in range(4) for k in range(2)]
    found = along(gradient(model, sets, "answer_nll", part), way)
    wanted = slope(model, lambda: mean_nll(model, part, asked, ["Ada"] * 8), way)
    assert found == pytest.approx(wanted, rel=0.02)
    generic = along(gradient(model, sets, "answer_generic", part), way)
    fitting = [unknown(q.text) for q in asked]
    assert set(fitting) == {"a person", "I don't know"}
    assert generic == pytest.approx(
        slope(model, lambda: mean_nll(model, part, asked, fitting), way), rel=0.02
    )
    assert generic != pytest.approx(found, rel=0.05)


def test_each_loss_says_which_way_forgets(model: Llava, sets: ConceptSets) -> None:
    """A step along what a forget loss declares makes the name less likely, or the generic answer more so."""
    part = sets.forget.head(4)
    asked = [Question(i, NAME_PROMPTS[0]) for i in range(4)]
    for name, answer, up in (("answer_nll", "Ada", True), ("answer_generic", "a person", False)):
        loss = model.loss(name, sets)
        sign = 1 if loss.direction is Direction.UP else -1
        g = gradient(model, sets, name, part)
        way = {n: sign * v for n, v in g.items() if v.any()}
        grows = slope(model, partial(mean_nll, model, part, asked, [answer] * 4), way, 1e-4)
        assert (grows > 0) == up
    assert model.loss("retain_answers", sets).direction is Direction.DOWN


def test_retain_answers_ask_for_each_pictures_own_name(model: Llava, sets: ConceptSets) -> None:
    part, way = sets.retain.head(3), direction(model, FC1)
    asked = [Question(i, NAME_PROMPTS[(i + k) % 5]) for i in range(3) for k in range(2)]
    names = [p.concept for p in part.pictures for _ in range(2)]
    assert len(set(names)) == 3
    found = along(gradient(model, sets, "retain_answers", part), way)
    assert found == pytest.approx(slope(model, lambda: mean_nll(model, part, asked, names), way), rel=0.02)


def test_answers_in_batches_and_chunks_give_the_mean_of_batch_means(model: Llava, sets: ConceptSets) -> None:
    part = sets.forget.head(4)
    whole = gradient(model, sets, "answer_nll", part, size=4)
    torch.testing.assert_close(gradient(model, sets, "answer_nll", part, size=4, chunk=3)[FC1], whole[FC1])
    split = gradient(model, sets, "answer_nll", part, size=3)  # batches of 3 and of 1 count alike
    three = gradient(model, sets, "answer_nll", part.head(3), size=3)
    one = 4 * whole[FC1] - 3 * three[FC1]
    torch.testing.assert_close(split[FC1], (three[FC1] + one) / 2, atol=1e-5, rtol=1e-4)


def test_mismatch_is_the_mean_squared_change_of_the_bases_answer_logits(
    model: Llava, sets: ConceptSets
) -> None:
    part, name = sets.retain.head(2), "mismatch_squared"
    none = gradient(model, sets, name, part)
    assert max(float(g.abs().max()) for g in none.values()) == 0  # at the unedited weights
    answerer, live = model.answerer, parameters(model)
    asked = [Question(i, q) for i in range(2) for q in NEUTRAL]
    with torch.no_grad():
        shown = answerer.features(answerer.preprocess(part.load()))
        said = answerer.answers(shown, asked, 16)
        before = answerer.logits(shown, asked, said)

    def value() -> Tensor:
        shown = answerer.features(answerer.preprocess(part.load()))
        now = answerer.logits(shown, asked, said)
        return torch.stack([((a - b) ** 2).mean() for a, b in zip(now, before, strict=True)]).mean()

    away, way = direction(model, LINEAR), direction(model, FC1, LINEAR)
    with swapped(model, {n: live[n] + 0.5 * d for n, d in away.items()}):
        found = along(gradient(model, sets, name, part), way)
        assert found == pytest.approx(slope(model, value, way), rel=0.02)
        assert slope(model, value, away) > 0


def test_feature_keep_is_the_mean_squared_change_of_picture_tokens(model: Llava, sets: ConceptSets) -> None:
    part, name = sets.retain.head(3), "feature_keep"
    none = gradient(model, sets, name, part, chunk=2)
    assert max(float(g.abs().max()) for g in none.values()) == 0
    looker, live = model.looker, parameters(model)
    with torch.no_grad():
        before = torch.stack(looker.features(looker.preprocess(part.load())))

    def value() -> Tensor:
        return ((torch.stack(looker.features(looker.preprocess(part.load()))) - before) ** 2).mean()

    away, way = direction(model, FC1), direction(model, FC1, LINEAR)
    with swapped(model, {n: live[n] + 0.5 * d for n, d in away.items()}):
        found = along(gradient(model, sets, name, part), way)
        assert found == pytest.approx(slope(model, value, way), rel=0.02)


def test_an_anchor_is_what_the_drift_is_measured_from(model: Llava, sets: ConceptSets) -> None:
    part, live = sets.retain.head(2), parameters(model)
    other = Weights(values={FC1: live[FC1] + 0.05})
    loss = model.loss("feature_keep", sets).anchored(other)
    with other.held(model):  # type: ignore[arg-type]
        at = loss.gradient(part, 2, [FC1], lambda *_: None)
    away = loss.gradient(part, 2, [FC1], lambda *_: None)
    assert not at[FC1].any()
    assert away[FC1].any()


def test_the_cosine_loss_needs_no_language_model_and_passes_the_dead_layer(
    root: Path, sets: ConceptSets
) -> None:
    model = opened(root / "plain", candidates=Candidates.VISION_ALL)
    found = gradient(model, sets, "cosine", sets.forget.head(4))
    gradient(model, sets, "retain", sets.retain.head(4))
    gradient(model, sets, "feature_keep", sets.retain.head(2))
    assert all(
        p.is_meta for n, p in model.module.named_parameters() if n.startswith(("lm_head", "model.lang"))
    )
    assert found[LAST].any(), (
        "through the pooler the last layer has a gradient: an unmasked ranking may take it"
    )
    assert found[FC1].any()
    patches = opened(
        root / "plain", candidates=Candidates.VISION_ALL, vision_pool=Pool.MEAN_PATCH, min_alignment=0
    )
    found = gradient(patches, sets, "cosine", sets.forget.head(4))
    assert not found[LAST].any()
    assert found[FC1].any()


def test_the_cosine_loss_is_one_minus_the_mean_cosine(model: Llava, sets: ConceptSets) -> None:
    part, way, shared = sets.forget.head(4), direction(model, FC1), model.shared

    def value() -> Tensor:
        images = shared.encode_image(shared.preprocess(part.load()))
        texts = shared.encode_text(shared.tokenize(part.captions))
        return (1 - (images * texts).sum(dim=-1)).mean()

    assert along(gradient(model, sets, "cosine", part), way) == pytest.approx(
        slope(model, value, way), rel=0.02
    )
    assert model.loss("cosine", sets).direction is Direction.UP


def test_the_retain_loss_is_infonce_at_the_clips_scale(model: Llava, sets: ConceptSets) -> None:
    """Equation 11: each picture against all texts of the batch, and each text against all pictures."""
    part, way, shared = sets.retain.head(4), direction(model, FC1), model.shared

    def value() -> Tensor:
        images = shared.encode_image(shared.preprocess(part.load()))
        texts = shared.encode_text(shared.tokenize(part.captions))
        logits = shared.scale * images @ texts.T
        rows, columns = (x.log_softmax(dim=-1).diagonal() for x in (logits, logits.T))
        return -(rows + columns).sum() / (2 * 4)

    found = along(gradient(model, sets, "retain", part), way)
    assert found == pytest.approx(slope(model, value, way), rel=0.02)


def test_equation_12_taken_literally_goes_against_forgetting(model: Llava, sets: ConceptSets) -> None:
    part, shared = sets.forget.head(4), model.shared
    texts = shared.encode_text(shared.tokenize([sets.prompts[n] for n in sets.class_names]))

    def cross_entropy() -> Tensor:  # of eq. 12, q uniform over all classes but the target
        logs = (shared.scale * shared.encode_image(shared.preprocess(part.load())) @ texts.T).log_softmax(-1)
        return -logs[:, 1:].mean()

    for name, grows in (("concept_uniform", False), (LITERAL, True)):
        loss = model.loss(name, sets)
        sign = 1 if loss.direction is Direction.UP else -1
        way = {n: sign * g for n, g in gradient(model, sets, name, part).items() if g.any()}
        assert (slope(model, cross_entropy, way, 1e-4) > 0) == grows


def test_signed_and_similarity_mismatch_are_those_of_the_towers(model: Llava, sets: ConceptSets) -> None:
    part, base = sets.forget.head(4), Weights()
    signed = model.loss("mismatch_signed", sets).anchored(base).gradient(part, 4, [FC1], lambda *_: None)
    cosine = gradient(model, sets, "cosine", part)
    torch.testing.assert_close(signed[FC1], -cosine[FC1])
    squared = model.loss(SIMILARITY, sets).anchored(base).gradient(part, 4, [FC1], lambda *_: None)
    assert float(squared[FC1].abs().max()) < 1e-6


def test_an_unknown_loss_is_told_the_names_there_are(model: Llava, sets: ConceptSets) -> None:
    with pytest.raises(ConfigError, match="no loss 'cosin'") as told:
        model.loss("cosin", sets)
    assert "answer_nll" in str(told.value)
    assert "did you mean cosine" in str(told.value)


def test_pictures_of_things_are_asked_what_they_show(model: Llava, sets: ConceptSets) -> None:
    things = Pairs(
        tuple(replace(p, domain="object") for p in sets.retain.head(2).pictures),
        {"object": sets.retain.sources["person"]},
    )
    plain = gradient(model, sets, "retain_answers", sets.retain.head(2))
    found = gradient(model, sets, "retain_answers", things)
    assert not torch.equal(plain[FC1], found[FC1])
