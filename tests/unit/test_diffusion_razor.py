"""RAZOR on text encoders of models that draw, through the lab, judged in the space of texts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from tiny_drawn import bits, family, make_sets
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, swapped
from razor_cli.contract.goals import Goal, Meaning
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.lab import Lab
from razor_cli.engine.saliency import measure
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.losses_text import distances
from razor_cli.methods.razor import Razor

SETS = make_sets()


class TextBoard:
    """How far the target's prompts are from the anchor, and the others from themselves, in % of what was."""

    notes: ClassVar[Sequence[str]] = ()
    goals: ClassVar[Any] = {
        "gone": Goal(meaning=Meaning.AT_MOST, metrics=(("gone",),), slopes=(("gone",),)),
        "kept_drop": Goal(meaning=Meaning.DROP, metrics=(("kept",),)),
    }

    def __init__(self, model: Diffusion) -> None:
        self.model = model
        self.base = self.current = self.rescore()

    @torch.no_grad()
    def rescore(self) -> dict[str, float]:
        def apart(words: Sequence[str], others: Sequence[str]) -> float:
            now, then = self.model.denoiser.encode(words), self.model.unedited(others)
            return float(distances(now, then).mean())

        n = len(SETS.target_prompts)
        unit = distances(self.model.unedited(SETS.target_prompts), self.model.unedited([SETS.anchor] * n))
        return {
            "gone": 100 * apart(SETS.target_prompts, [SETS.anchor] * n) / float(unit.mean()),
            "kept": 100 - 100 * apart(SETS.retain_prompts, SETS.retain_prompts) / float(unit.mean()),
        }

    def prepare(self, components: Sequence[Component]) -> None: ...

    def trial(
        self,
        values: Mapping[str, Tensor],
        components: Sequence[Component],
        *,
        wanted: Collection[str] | None = None,
        lost: Any = None,
    ) -> dict[str, float]:
        with swapped(self.model, values):
            return self.rescore()

    def commit(self, components: Sequence[Component], **_: Any) -> dict[str, float]:
        self.current = self.rescore()
        return self.current


@pytest.fixture(params=list(Kind), ids=str)
def model(request: pytest.FixtureRequest) -> Iterator[Diffusion]:
    found = family(request.param)
    before = bits(found)
    yield found
    assert all(torch.equal(before[n], p) for n, p in found.module.named_parameters())


def lab_of(model: Diffusion, monkeypatch: pytest.MonkeyPatch, cache: Any = None) -> Lab:
    monkeypatch.setattr(Diffusion, "board", lambda self, *_args, **_more: TextBoard(self))
    return Lab(family=model, sets=SETS, cache=cache)


SETTINGS: dict[str, Any] = {
    "granularity": Granularity.HEAD_MLP,
    "towers": Towers.TEXT,
    "target": {"gone": 80.0, "kept_drop": 5.0},
    "floor": {"kept_drop": 20.0},
    "forget_batch": 4,
    "retain_batch": 4,
    "grow_rounds": 2,
    "search_steps": 5,
    "max_components": 4,
}


@pytest.mark.parametrize(
    ("forget", "retain", "more"),
    [
        ("cosine", "retain", {"mismatch_form": "squared", "mismatch_set": "both"}),
        ("anchor", "drift", {"lambda_mismatch": 0.0, "normalize": "unit"}),
    ],
)
def test_razor_edits_what_it_says_and_nothing_else(
    model: Diffusion, monkeypatch: pytest.MonkeyPatch, forget: str, retain: str, more: dict[str, Any]
) -> None:
    from razor_cli.methods.razor_choices import MismatchForm, MismatchSet, Normalize

    kinds = {"mismatch_form": MismatchForm, "mismatch_set": MismatchSet, "normalize": Normalize}
    chosen = {k: kinds[k](v) if k in kinds else v for k, v in more.items()}
    before = bits(model)
    lab = lab_of(model, monkeypatch)
    edit = Razor(forget_loss=forget, retain_loss=retain, **(SETTINGS | chosen)).edit(lab)
    named = {c.name: c for c in model.components(Granularity.HEAD_MLP, Towers.TEXT)}
    owned = [named[name] for name in edit.components]
    assert set(edit.values) == {p for c in owned for p in c.params} or not edit.values
    outside = {n: torch.ones_like(before[n], dtype=torch.bool) for n in edit.values}
    for component in owned:
        for view in component.views(outside):
            view.fill_(False)
    for n, value in edit.values.items():
        assert torch.equal(value[outside[n]], before[n][outside[n]])  # heads that stayed, to the bit
    if forget == "anchor":
        assert edit.values and lab.board.current["gone"] < 99
        with edit.change.held(model):
            assert not torch.equal(
                model.denoiser.encode(SETS.target_prompts).tokens, model.unedited(SETS.target_prompts).tokens
            )


def test_a_gradient_is_kept_and_found(
    model: Diffusion, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    cache, plan = TensorCache(tmp_path), Razor(forget_loss="anchor", **SETTINGS).plan
    first = lab_of(model, monkeypatch, cache).gradients(plan)
    lab = lab_of(model, monkeypatch, cache)
    second = lab.gradients(plan)
    assert lab.cost.gradient_cache_hits == 2
    assert set(first[0]) == set(lab.editable) == set(first[1])
    assert all(n.startswith("text_encoder") for n in lab.editable)  # no gradient of the net is ever taken
    for one, two in zip(first, second, strict=True):
        assert all(torch.equal(one[n], two[n]) for n in one)


def test_salience_follows_its_law_on_text_encoders(model: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of(model, monkeypatch)
    forget, retain = lab.gradients(Razor(forget_loss="anchor", retain_loss="retain", **SETTINGS).plan)
    components = model.components(Granularity.HEAD_MLP, Towers.TEXT)
    live = {n: p.data for n, p in model.module.named_parameters()}

    def phi(scale: float, power: int, alpha: float, other: Mapping[str, Tensor] = retain) -> list[float]:
        scaled = {n: scale * g for n, g in forget.items()}
        found = measure(components, live, scaled, other, alpha=alpha, epsilon=1e-8, power=power)
        return [s.phi for s in found]

    assert phi(2, 1, 0.5) == pytest.approx([2 * p for p in phi(1, 1, 0.5)], rel=1e-4)
    assert phi(2, 2, 0.5) == pytest.approx([4 * p for p in phi(1, 2, 0.5)], rel=1e-4)
    assert phi(1, 1, 0.5, forget) == pytest.approx([0] * len(components), abs=1e-3 * max(phi(1, 1, 0.5)))
    assert phi(1, 1, 0.0, forget) == pytest.approx(phi(1, 1, 0.0), rel=1e-5)
