"""Nothing is computed twice: a tower that holds what it held before is not asked again, and any other is."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tiny_world import make_sets
from torch import Tensor

from razor_cli.config.quantization import Quantization, Scope
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.family import RUNTIME, Change
from razor_cli.dual.components import tower_of
from razor_cli.dual.view import Tower
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.changes import Weights
from razor_cli.engine.evaluation import Evaluator
from razor_cli.families.clip.exam import ClipExam
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.settings import Metrics
from razor_cli.weights.live import live_hash

ALL = Quantization(schemes=["none", "int8", "int4"])
IN_VISION = "visual.transformer.resblocks.0.mlp.c_fc.weight"
IN_TEXT = "transformer.resblocks.0.mlp.c_fc.weight"


@dataclass
class Counted:
    """An exam, and how often each tower was asked for all of its pictures or texts."""

    exam: ClipExam
    asked: dict[Tower, int]

    @classmethod
    def of(cls, model: Clip, cache: TensorCache | None = None) -> Counted:
        found = cls(
            ClipExam(model=model, sets=make_sets(), settings=Metrics(bootstrap_draws=100), cache=cache),
            {tower: 0 for tower in Tower},
        )
        plain = found.exam.embeddings

        def embeddings(tower: Tower) -> Tensor:
            found.asked[tower] += 1
            return plain(tower)

        found.exam.embeddings = embeddings  # type: ignore[method-assign]
        return found

    @property
    def counts(self) -> tuple[int, int]:
        """How often the image tower was asked, and the text tower."""
        return self.asked[Tower.VISION], self.asked[Tower.TEXT]


class Forgetful(ClipExam):
    """The exam that asks both towers in every state."""

    def measure(self, key: Any, *, keep: bool = False) -> Any:
        self.forget()
        return super().measure(key, keep=keep)


def moved(model: Clip, name: str) -> Weights:
    value = parameters(model)[name].clone()
    value[3] *= -1.5
    return Weights(values={name: value})


def states(model: Clip, name: str) -> dict[str, Change]:
    edit = moved(model, name)
    return {"base": Weights(), "control": edit.random_like(model, 0), "edit": edit}  # type: ignore[arg-type]


def evaluated(model: Clip, exam: ClipExam, changes: dict[str, Change], settings: Quantization = ALL) -> Any:
    return dict(Evaluator(family=model, exam=exam, settings=settings).states(changes))


@pytest.mark.parametrize(
    ("edited", "scope", "expected"),
    [
        (IN_TEXT, Scope.LINEAR, (3, 9)),  # the image tower: in full precision, in 8 and in 4 bit
        (IN_VISION, Scope.LINEAR, (9, 3)),
        (IN_TEXT, Scope.TEXT, (1, 9)),  # nothing quantizes the image tower either
        (IN_TEXT, Scope.VISION, (3, 9)),  # what an edit changed is quantized in any case
        (IN_VISION, Scope.TEXT, (9, 3)),
    ],
)
def test_an_unchanged_tower_is_asked_once_and_every_score_is_the_same(
    clip32: Clip, edited: str, scope: Scope, expected: tuple[int, int]
) -> None:
    settings = Quantization(schemes=ALL.schemes, scope=scope)
    counted = Counted.of(clip32)
    changes = states(clip32, edited)
    found = evaluated(clip32, counted.exam, changes, settings)
    assert counted.counts == expected
    slow = Forgetful(model=clip32, sets=make_sets(), settings=Metrics(bootstrap_draws=100))
    plain = evaluated(clip32, slow, changes, settings)
    assert repr(counted.exam.scores(found, 0)) == repr(slow.scores(plain, 0))


@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("visual.conv1.weight", Tower.VISION),
        ("visual.ln_post.bias", Tower.VISION),
        ("visual.proj", Tower.VISION),
        ("visual.class_embedding", Tower.VISION),
        ("token_embedding.weight", Tower.TEXT),
        ("positional_embedding", Tower.TEXT),
        ("text_projection", Tower.TEXT),
        ("ln_final.weight", Tower.TEXT),
        ("attn_mask", Tower.TEXT),  # a buffer that no file stores
    ],
)
def test_a_change_of_one_element_is_seen_in_its_tower_alone(clip32: Clip, name: str, tower: Tower) -> None:
    module = clip32.module
    value = dict([*module.named_parameters(), *module.named_buffers()])[name].data
    before = {t: live_hash(module, lambda n, t=t: tower_of(n) is t) for t in Tower}
    held = value.view(-1)[-1].clone()
    other = torch.nextafter(held, torch.tensor(torch.inf))
    value.view(-1)[-1] = other if torch.isfinite(other) else 0.25  # the smallest step there is
    after = {t: live_hash(module, lambda n, t=t: tower_of(n) is t) for t in Tower}
    assert {t for t in Tower if before[t] != after[t]} == {tower}
    value.view(-1)[-1] = held
    assert {t: live_hash(module, lambda n, t=t: tower_of(n) is t) for t in Tower} == before


def test_values_that_change_places_and_another_layer_are_seen(clip32: Clip) -> None:
    before, value = live_hash(clip32.module), parameters(clip32)["visual.proj"]
    with swapped(clip32, {"visual.proj": value.flip(0).clone()}):
        assert live_hash(clip32.module) != before
    clip32.module.visual.ln_post.eps *= 2
    assert live_hash(clip32.module) != before


def test_the_logit_scale_is_that_of_the_state(clip32: Clip) -> None:
    exam = Counted.of(clip32)
    before = exam.exam.measure(None).reference.head
    with swapped(clip32, {"logit_scale": torch.tensor(1.5)}):
        after = exam.exam.measure(None).reference.head
    assert exam.asked[Tower.VISION] == 1
    assert before is not None and after is not None and before.scale != after.scale
    assert after.scale == pytest.approx(float(torch.tensor(1.5).exp()))


@dataclass(frozen=True)
class Halved:
    """A change at run time which no weight shows: the image tower's output is half as much, plus one."""

    kind: ClassVar[str] = RUNTIME

    @contextmanager
    def held(self, family: Any) -> Any:
        with family.module.visual.ln_post.register_forward_hook(lambda *call: 0.5 * call[2] + 1):
            yield

    def random_like(self, family: Any, seed: int) -> str:
        return "none"

    def tensors(self) -> dict[str, Tensor]:
        return {}


def test_what_acts_without_a_weight_is_neither_taken_over_nor_given(clip32: Clip) -> None:
    counted = Counted.of(clip32)
    base = counted.exam.measure(None, keep=True)
    with Halved().held(clip32):
        acted = counted.exam.measure(None, keep=True)
    again = counted.exam.measure(None, keep=True)
    assert not torch.equal(acted.features.forget_images, base.features.forget_images)  # type: ignore[union-attr]
    assert torch.equal(again.features.forget_images, base.features.forget_images)  # type: ignore[union-attr]
    counted.asked.update(dict.fromkeys(Tower, 0))
    changes: dict[str, Any] = {"base": Weights(), "edit": Halved(), "also": Weights()}
    evaluated(clip32, counted.exam, changes, Quantization(schemes=["none"]))
    assert counted.counts == (
        2,
        2,
    )  # what acts at run time stands apart


def test_a_cache_answers_for_each_tower_and_for_the_same_preparation_only(
    clip32: Clip, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path)
    first = Counted.of(clip32, cache)
    evaluated(clip32, first.exam, states(clip32, IN_TEXT))
    assert first.counts == (3, 9)
    second = Counted.of(clip32, cache)
    evaluated(clip32, second.exam, states(clip32, IN_VISION))
    assert second.counts == (6, 0)  # the base's towers are known in every scheme
    clip32._preparation = "pictures are prepared in another way"
    third = Counted.of(clip32, cache)
    evaluated(clip32, third.exam, {"base": Weights()})
    assert third.counts == (3, 3)


@pytest.mark.parametrize("scheme", ["bnb_int8", "nf4"])
def test_the_scales_of_real_modules_count(scheme: str) -> None:
    pytest.importorskip("bitsandbytes")
    from razor_cli.weights.bitsandbytes import quantized_linear

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = torch.nn.Linear(64, 64)
    layers = [torch.nn.Sequential(quantized_linear(plain, scheme)) for _ in range(2)]
    before = live_hash(layers[0])
    assert live_hash(layers[1]) == before
    with torch.no_grad():
        layers[0](torch.ones(2, 64))
    if scheme == "bnb_int8":  # the scales move to the module; in 4 bit the codes are laid out anew
        assert live_hash(layers[0]) == before
    plain.weight.data *= 2  # the same codes, other scales
    assert live_hash(torch.nn.Sequential(quantized_linear(plain, scheme))) != before
