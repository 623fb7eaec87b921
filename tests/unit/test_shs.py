"""Scissorhands: what is drawn anew, what stays, and the projection (sheet 3.9)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets

from razor_cli.contract.edit import Edit
from razor_cli.errors import ConfigError, RunError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.methods.diffusion.relearning import Lessons
from razor_cli.methods.diffusion.shs import Shs
from razor_cli.methods.diffusion.shs_recovery import Recovery
from razor_cli.methods.diffusion.shs_trim import Trimmed, projected, quantile, reinit_names, trim

SHORT = {"lr": 5e-4, "epochs": 1, "pictures": 3, "batch": 3}


@pytest.fixture(scope="module", params=list(Kind), ids=str)
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def method(**changes: Any) -> Shs:
    found = preset("shs", **SHORT | changes)
    assert isinstance(found, Shs)
    return found


def trimmed(family: Diffusion, **changes: Any) -> Trimmed:
    settings = method(**changes)
    return trim(Lessons(lab_of(family), settings), settings)


def shs(family: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    return method(**changes).edit(lab_of(family, **lab or {}))


@pytest.mark.parametrize("sparsity", [0.99, 0.9])
def test_as_many_weights_matter_most_as_are_asked_for(family: Diffusion, sparsity: float) -> None:
    found = trimmed(family, sparsity=sparsity, reinit_group="all")
    assert found.of == sum(p.numel() for n, p in bits(family).items() if n in family.groups("full"))
    assert found.marked == pytest.approx((1 - sparsity) * found.of, rel=0.01)
    scales = {n for n, v in bits(family).items() if v.ndim < 2 and not n.endswith("bias")}
    assert not scales & found.values.keys()  # 0 would switch channels off
    assert found.drawn == found.marked or (scales and 0.5 * found.marked < found.drawn < found.marked)


def by_hand(family: Diffusion, lessons: Lessons, signed: bool) -> torch.Tensor:
    """Return every weight's score over batches of two pictures, one behind another."""
    names, generator = family.groups("full"), lessons.lab.generator()
    with family.denoiser.asking(names) as live, torch.enable_grad():
        total = [torch.zeros_like(live[n]) for n in names]
        for index in torch.arange(6).split(2):
            loss = lessons.shown(index, generator) * len(index)
            found = torch.autograd.grad(loss, [live[n] for n in names], allow_unused=True)
            for have, gradient in zip(total, found, strict=True):
                if gradient is not None:
                    have.add_(gradient if signed else gradient.abs())
        return torch.cat(
            [(t * live[n]).detach().abs().reshape(-1) for n, t in zip(names, total, strict=True)]
        )


def test_the_weights_are_those_with_the_largest_sum_of_every_batchs_gradient(family: Diffusion) -> None:
    settings = method(sparsity=0.9, reinit_group="attn2", batch=2, trim_pictures=None)
    lessons, before, names = Lessons(lab_of(family), settings), bits(family), family.groups("full")
    found = trim(lessons, settings)
    drawn = torch.cat([(found.values.get(n, before[n]) != before[n]).reshape(-1) for n in names])
    inside = torch.cat([torch.full((before[n].numel(),), n in family.groups("xattn")) for n in names])
    wrong = []
    for signed in (False, True):
        wanted = torch.zeros_like(inside)
        wanted[by_hand(family, lessons, signed).topk(found.marked).indices] = True
        wrong.append(int((drawn != (wanted & inside)).sum()))
    assert found.drawn > 50 and wrong[0] <= 0.01 * found.drawn < wrong[1]


@pytest.mark.parametrize(
    ("factor", "what"), [(float("nan"), "not numbers"), (0.0, "no weight matters more to the target")]
)
def test_scores_that_rank_nothing_are_refused(
    monkeypatch: pytest.MonkeyPatch, factor: float, what: str
) -> None:
    real = Lessons.shown
    monkeypatch.setattr(Lessons, "shown", lambda *given: factor * real(*given))
    with pytest.raises(RunError, match=what):
        trimmed(opened(Kind.SD15))


@pytest.mark.parametrize("group", ["attn2", "up_attn1"])
def test_only_weights_of_the_group_that_matter_most_are_drawn_anew(family: Diffusion, group: str) -> None:
    before = bits(family)
    found = trimmed(family, sparsity=0.9, reinit_group=group)
    assert same(before, bits(family))
    names = set(reinit_names(family, preset("shs", reinit_group=group).reinit_group))
    assert found.values.keys() <= names < set(family.groups("full"))
    assert any("attn2" in n for n in names) is (group == "attn2" and family.denoiser.kind is Kind.SD15)
    changed = sum(int((v != before[n]).sum()) for n, v in found.values.items())
    assert 0 < changed == found.drawn < found.marked
    for name, value in found.values.items():
        fresh = value[value != before[name]]
        assert float(fresh.abs().max()) <= 2 and (value.ndim > 1 or not fresh.any())


def test_the_bound_is_the_quantile_of_all_values_together() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [
        torch.rand(n, generator=generator).square() * s for n, s in ((5000, 1.0), (3000, 10.0), (7, 0.1))
    ]
    every = torch.cat(parts)
    for share in (0.5, 0.9, 0.99):
        above = int((every > quantile(parts, share)).sum())
        assert above == pytest.approx((1 - share) * len(every), abs=1.5)
    assert quantile([torch.zeros(10)], 0.9) == 0
    ties = torch.cat([torch.zeros(90), torch.ones(10)])
    assert int((ties > quantile([ties], 0.9)).sum()) in (0, 10)
    assert int((every > quantile(parts, 1.0)).sum()) == 0


def test_training_begins_from_the_trimmed_weights(family: Diffusion) -> None:
    found = trimmed(family)
    params = {n: v.clone() for n, v in bits(family).items() if n in family.groups("full")}
    before = {n: v.clone() for n, v in params.items()}
    settings = method()
    Recovery(Lessons(lab_of(family), settings), settings, found).begin(params)
    assert all(torch.equal(v, found.values.get(n, before[n])) for n, v in params.items())
    edit = shs(family)
    assert found.told() in edit.notes
    assert set(edit.values) <= set(family.groups("full"))
    assert family.without_effect(edit.change, drawn_sets()) is None


def program(g: torch.Tensor, m: torch.Tensor, margin: float, eps: float) -> torch.Tensor:
    """Return g + v m with the v of GEM's quadratic programme, searched for on a grid."""
    v = torch.linspace(margin, margin + 20, 2_000_001, dtype=torch.float64)
    a, b = float(m @ m) + eps, float(m @ g)
    best = v[(0.5 * a * v.square() + b * v).argmin()]
    return g + best * m


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_projection_solves_the_quadratic_programme(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    m = torch.randn(12, generator=generator, dtype=torch.float64)
    g = scale * (torch.randn(12, generator=generator, dtype=torch.float64) - 1.5 * m)
    assert float(g @ m) < 0
    cut = {"a": g[:5], "b": g[5:]}, {"a": m[:5], "b": m[5:]}
    found = torch.cat(list(projected(*cut, margin=0.5, eps=1e-3).values()))
    assert torch.allclose(found, program(g, m, 0.5, 1e-3), atol=1e-4)
    assert float(found @ m) >= -1e-3 * scale * 10
    agreeing = projected({"a": -g}, {"a": m}, 0.5, 1e-3)
    assert torch.equal(agreeing["a"], -g)


def test_a_gradient_that_brings_the_target_back_is_turned(family: Diffusion) -> None:
    settings = method(project_every=2, reinit_group="attn2")
    lessons = Lessons(lab_of(family), settings)
    recovery = Recovery(lessons, settings, trim(lessons, settings))
    assert set(recovery.memory) == set(family.groups("xattn"))
    params = {n: v.requires_grad_() for n, v in bits(family).items() if n in family.groups("full")}
    memory, others = recovery.memory, params.keys() - recovery.memory.keys()

    def along() -> float:
        """Take the step's turn of a gradient against the memory, and return how far it goes along it."""
        for name, parameter in params.items():
            parameter.grad = -2 * memory[name] if name in memory else torch.ones_like(parameter)
        recovery.before_step(params)
        grads = {n: p.grad for n, p in params.items() if p.grad is not None}
        assert all(bool((grads[n] == 1).all()) for n in others)
        return sum(float((grads[n] * m).sum()) for n, m in memory.items())

    size = sum(float(m.square().sum()) for m in memory.values())
    assert size > 0 and along() >= -2e-3
    assert along() == pytest.approx(-2 * size, rel=1e-3)  # not in this step


def test_seeds_and_switches_decide() -> None:
    family = opened(Kind.SD15)
    one = shs(family)
    assert same(one.values, shs(family).values)
    assert not same(one.values, shs(family, {"seed": 1}).values)
    for changes in ({"forget": "ascent"}, {"project_every": 1, "trim_guidance": 7.5}):
        assert not same(one.values, shs(family, **changes).values)


def test_published_settings() -> None:
    canvas, paper = preset("shs_canvas"), preset("shs_paper")
    assert (canvas.group, canvas.sparsity, canvas.alpha, canvas.epochs) == ("full", 0.99, 0.1, 2)
    assert (canvas.lr, canvas.batch, canvas.project_every, canvas.forget) == (1e-5, 4, None, "relabel")
    assert (paper.sparsity, paper.alpha, paper.epochs, paper.lr) == (0.9, 0.1, 5, 1e-5)
    assert (paper.reinit_group, paper.forget, paper.trim_guidance) == ("up_attn1", "ascent", 7.5)


def test_what_is_drawn_anew_must_train() -> None:
    with pytest.raises(ConfigError, match=r"method\.reinit_group=attn2: what is drawn anew has to train"):
        shs(opened(Kind.SD15), group="selfattn")


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"sparsity": 2.0}, "sparsity"), ({"trim_pictures": 0}, "trim_pictures"), ({"margin": -1.0}, "margin")],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=rf"method\.{what}"):
        method(**changes)
