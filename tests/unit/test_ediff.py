"""EraseDiff: what the phases do, what is given back, and that the target's gap falls (sheet 3.8)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets
from torch import Tensor

from razor_cli.contract.components import swapped
from razor_cli.contract.edit import Edit
from razor_cli.engine.train import train
from razor_cli.engine.train_state import borrowed, generator_of, make_optimizer
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.methods.diffusion.ediff import Ediff
from razor_cli.methods.diffusion.ediff_phases import Phases, conflict
from razor_cli.methods.diffusion.relearning import Lessons

SHORT = {"lr": 1e-3, "epochs": 1, "pictures": 4, "batch": 2, "rounds": 1}


@pytest.fixture(scope="module", params=list(Kind), ids=str)
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def method(**changes: Any) -> Ediff:
    found = preset("ediff", **SHORT | changes)
    assert isinstance(found, Ediff)
    return found


def ediff(family: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    return method(**changes).edit(lab_of(family, **lab or {}))


def by_hand(family: Diffusion, settings: Ediff) -> dict[str, Tensor]:
    """Return the weights that an epoch of one round gives, written out."""
    lessons, names = Lessons(lab_of(family), settings), settings.trained(family)
    with borrowed(family, names) as params, torch.enable_grad():
        optimizer, generator = make_optimizer(params, settings), generator_of(0, 1)
        inner, outer = lessons.batches(generator), lessons.batches(generator)

        def stepped(loss: Tensor) -> None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        before, seen = {n: p.detach().clone() for n, p in params.items()}, []
        for forget, retain in inner:
            loss = lessons.relabelled(forget, retain, generator)
            seen.append(loss.item())
            stepped(loss)
        with torch.no_grad():
            for name, parameter in params.items():
                parameter.copy_(before[name])
        for forget, retain in outer:
            kept = lessons.kept(retain, generator)
            left = lessons.relabelled(forget, retain, generator) - sum(seen) / len(seen)
            stepped(kept + settings.alpha * left)
        return {n: p.detach().clone() for n, p in params.items()}


def test_one_round_is_what_a_hand_loop_does(family: Diffusion) -> None:
    settings = method(alpha=0.7)
    edit, wanted = settings.edit(lab_of(family)), by_hand(family, settings)
    assert edit.values
    assert all(torch.equal(v, wanted[n]) for n, v in edit.values.items())


class Watched(Phases):
    """The phases, with the weights after every step."""

    def after_step(self, params: Any, optimizer: Any) -> None:
        """Note the weights as they are left."""
        super().after_step(params, optimizer)
        self.after.append({n: p.detach().clone() for n, p in params.items()})

    after: list[dict[str, Tensor]]


def watched(family: Diffusion, settings: Ediff) -> list[dict[str, Tensor]]:
    lab = lab_of(family)
    phases = Watched(Lessons(lab, settings), settings)
    phases.after = [{n: v.clone() for n, v in bits(family).items() if n in phases.live}]
    train(lab, settings, phases)
    return phases.after


@pytest.mark.parametrize("restore", ["per_inner", "epoch_start"])
def test_the_inner_phase_gives_its_weights_back_to_the_bit(restore: str) -> None:
    family = opened(Kind.SD15)
    found = watched(family, method(rounds=2, restore=restore))  # two inner, two outer steps, twice
    assert len(found) == 9
    start, _, first, *_, outer, _, second, _, last = found
    assert same(start, first) and not same(start, found[1]) and not same(start, outer)
    assert same(second, outer if restore == "per_inner" else start)
    assert not same(second, last)


def test_without_weight_the_outer_phase_trains_on_retain_pictures_alone() -> None:
    """Then forget pictures move nothing but the optimiser's memory, which starts anew here."""
    family = opened(Kind.SD15)
    settings = method(alpha=0.0, optimizer="sgd", momentum=0.0, lr=0.1)
    lessons, names = Lessons(lab_of(family), settings), settings.trained(family)
    edit = settings.edit(lab_of(family))
    with borrowed(family, names) as params, torch.enable_grad():
        optimizer, generator = make_optimizer(params, settings), generator_of(0, 1)
        inner, outer = lessons.batches(generator), lessons.batches(generator)
        for forget, retain in inner:  # draws what the inner phase draws
            lessons.relabelled(forget, retain, generator)
        for forget, retain in outer:
            optimizer.zero_grad()
            lessons.kept(retain, generator).backward()
            optimizer.step()
            lessons.relabelled(forget, retain, generator)
        wanted = {n: p.detach().clone() for n, p in params.items()}
    assert edit.values and all(torch.equal(v, wanted[n]) for n, v in edit.values.items())


def test_the_gap_of_the_target_falls(family: Diffusion) -> None:
    lessons, before = Lessons(lab_of(family), method()), bits(family)
    index = torch.arange(6)
    batch = lessons.forget.noised(index, torch.Generator().manual_seed(5))

    def gap() -> float:
        with torch.no_grad():
            named, other = (
                family.denoiser.predict(batch.latents, batch.at, c)
                for c in (lessons.named(index), lessons.prompts.of(lessons.instead(index, index)))
            )
        return float((named - other).square().mean())

    unedited = gap()
    edit = ediff(family, lr=3e-3, epochs=3, pictures=6, batch=3, alpha=20.0)
    assert same(before, bits(family))
    with swapped(family, edit.values):
        assert gap() < unedited
    assert set(edit.values) <= set(family.groups("xattn"))
    assert family.without_effect(edit.change, drawn_sets()) is None


def test_the_weight_grows_with_the_conflict_and_is_nothing_where_nothing_is_left() -> None:
    one, other = [torch.tensor([1.0, 0.0])], [torch.tensor([0.0, 2.0])]
    assert conflict(one, other, 0.1) == pytest.approx(0.1)
    assert conflict(one, [-one[0]], 0.1) == pytest.approx(1.1)
    assert conflict(one, one, 0.1) == 0
    assert conflict(one, [torch.zeros(2)], 0.1) == 0
    assert conflict([torch.zeros(2)], one, 0.1) == pytest.approx(0.1)


def test_seeds_and_switches_decide() -> None:
    family = opened(Kind.SD15)
    one = ediff(family)
    assert same(one.values, ediff(family).values)
    assert not same(one.values, ediff(family, {"seed": 1}).values)
    cases: tuple[dict[str, Any], ...] = (
        {"weighing": "adaptive"},
        {"stands_in": "retain"},
        {"anchor": "Mono"},
    )
    for changes in cases:
        assert not same(one.values, ediff(family, **changes).values)


def test_published_settings() -> None:
    canvas, paper = preset("ediff_canvas"), preset("ediff_paper")
    assert (canvas.group, canvas.alpha, canvas.rounds, canvas.epochs) == ("xattn", 0.1, 2, 5)
    assert (canvas.lr, canvas.batch, canvas.restore) == (5e-5, 4, "epoch_start")
    assert (paper.group, paper.alpha, paper.rounds, paper.epochs) == ("noxattn", 0.1, 2, 1)
    assert (paper.lr, paper.batch) == (1e-5, 8)


@pytest.mark.parametrize(("changes", "what"), [({"rounds": 0}, "rounds"), ({"eta": -1.0}, "eta")])
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=rf"method\.{what}"):
        method(**changes)
