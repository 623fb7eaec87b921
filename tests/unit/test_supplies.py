"""Pictures that the unedited model draws for its own data: the same whatever it holds, and drawn once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from drawn_places import asked
from tiny_sd import tiny_sd15

from razor_cli.contract.components import swapped
from razor_cli.data.kinds.generated import Generated
from razor_cli.engine.cache import TensorCache
from razor_cli.errors import RunError
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind, Sampler
from razor_cli.families.diffusion.run_time import AtRunTime
from razor_cli.families.diffusion.supplies import Supplies
from razor_cli.families.diffusion.suppression import Suppression

PROMPTS, SEEDS = ["a cats image", "a dogs image"], [1, 2]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Diffusion:
    folder = tiny_sd15(tmp_path_factory.mktemp("sd") / "model")
    denoiser = Denoiser(StableDiffusionPipeline.from_pretrained(folder, safety_checker=None), Kind.SD15)
    stored = {n: p.detach().clone() for n, p in denoiser.module.named_parameters()}
    return Diffusion(label="tiny", stand_in=True, denoiser=denoiser, stored=stored, digest="d" * 64)


def arrays(supplies: Supplies, prompts: list[str] = PROMPTS, seeds: list[int] = SEEDS) -> np.ndarray:
    return np.stack([np.asarray(i) for i in supplies.draw(prompts, seeds, steps=2, guidance=3)])


def edited(family: Diffusion) -> dict[str, torch.Tensor]:
    """Return other values of what reads the prompt."""
    return {n: p + 1 for n, p in family.stored.items() if n.startswith("text_encoder.") and p.ndim == 2}


def test_pictures_are_the_unedited_models_whatever_it_holds(family: Diffusion) -> None:
    plain = arrays(Supplies(family))
    words = Supplies(family).embed(PROMPTS)
    with torch.no_grad(), swapped(family, edited(family)):
        held = {n: p.clone() for n, p in family.module.named_parameters()}
        assert (arrays(Supplies(family)) == plain).all()
        assert Supplies(family).embed(PROMPTS) == words
        assert all(torch.equal(p, held[n]) for n, p in family.module.named_parameters())
        drawn = family.denoiser.draw(PROMPTS, SEEDS, Sampler(steps=2, guidance=3))
        assert (drawn.permute(0, 2, 3, 1).numpy() != plain).any()


def test_each_picture_is_drawn_once_and_kept_on_disk(
    family: Diffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Supplies(family, TensorCache(tmp_path / "cache"))
    plain = arrays(first)
    asked_for: list[int] = []
    draw = family.denoiser.draw
    monkeypatch.setattr(family.denoiser, "draw", lambda p, s, *rest: asked_for.extend(s) or draw(p, s, *rest))
    assert (arrays(first) == plain).all() and asked_for == []
    again = Supplies(family, TensorCache(tmp_path / "cache"))
    assert (arrays(again, PROMPTS[::-1], SEEDS[::-1]) == plain[::-1]).all() and asked_for == []
    arrays(again, [*PROMPTS, PROMPTS[0]], [*SEEDS, 5])
    assert asked_for == [5]
    again.draw(PROMPTS, SEEDS, steps=3, guidance=3)
    assert asked_for == [5, *SEEDS]


def test_pictures_of_another_device_are_others(family: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(steps=2)
    here = Supplies(family)._key("a", 1, sampler)
    monkeypatch.setattr(family.denoiser, "device", "cuda")
    assert Supplies(family)._key("a", 1, sampler) != here


def test_nothing_is_drawn_while_something_is_done_at_run_time(family: Diffusion) -> None:
    held = AtRunTime(Suppression(names=("zed",))).held(family)
    with held, pytest.raises(RunError, match=r"(?s)data=generated.*seot.*zed"):
        arrays(Supplies(family))


def test_generated_sets_load_from_the_model(family: Diffusion) -> None:
    supplies = family.supplies(None)
    ask = asked("object", "cats", stand_in=False, draw=supplies.draw, embed=supplies.embed)
    data = Generated(steps=1, guidance=1, retain_near=["found"], alternatives=["dogs", "bears", "frogs"])
    sets = data.sets(ask)
    assert len(sets.near) == 2 and set(sets.near) < {"dogs", "bears", "frogs"}
    assert [i.size for i in sets.forget.load(0, 2)] == [(64, 64)] * 2
