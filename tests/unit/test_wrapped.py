"""A pipeline of diffusers that draws with SEOT: every picture of it, and beside a callback of the caller."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_drawn import family as opened
from tiny_drawn import folders, loaded

from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.diffusion.kinds import Kind, Sampler
from razor_cli.families.diffusion.run_time import AtRunTime
from razor_cli.families.diffusion.suppression import Suppression
from razor_cli.families.diffusion.wrapped import Wrapped

QUICK = Sampler(steps=5, guidance=3.0, batch=2)
PROMPTS = ["A Cats image in Noto style.", "A Cats image in Mono style."]


def suppression() -> Suppression:
    return Suppression(names=("Noto",))


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_a_wrapper_draws_with_it_and_leaves_the_pipeline_as_it_is(kind: Kind) -> None:
    pipe = loaded(folders(kind)[0], kind)
    pipe.set_progress_bar_config(disable=True)
    more: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 3.0, "output_type": "pt"}
    if kind is Kind.SD3:
        more["max_sequence_length"] = 1

    def seeds() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(s) for s in (1, 2)]

    plain = pipe(PROMPTS, generator=seeds(), **more).images
    more.pop("max_sequence_length", None)
    found = Wrapped(pipe, suppression())(PROMPTS, generator=seeds(), **more).images
    with AtRunTime(suppression()).held(opened(kind)):
        wanted = opened(kind).pictures(None).pictures(PROMPTS, [1, 2], QUICK).float()
    assert torch.allclose(255 * found, wanted, atol=1.0)  # bytes are rounded
    assert not torch.allclose(found[0], plain[0], atol=1e-3) and torch.allclose(found[1], plain[1], atol=1e-4)
    with pytest.raises(WeightsError, match="not served"):
        Wrapped(object(), suppression())


MORE: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 3.0, "output_type": "pt"}


def seeds(*numbers: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(n) for n in numbers]


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_every_picture_of_a_prompt_is_drawn_with_it(kind: Kind) -> None:
    pipe = loaded(folders(kind)[0], kind)
    draw = Wrapped(pipe, suppression())
    one = draw(PROMPTS[0], generator=seeds(4), **MORE).images
    many = draw(PROMPTS[::-1], generator=seeds(4, 4, 4, 4), num_images_per_prompt=2, **MORE).images
    assert len(many) == 4
    for picture in many[2:]:
        assert torch.allclose(picture, one[0], atol=1e-4)
    assert not torch.allclose(many[0], one[0], atol=1e-3)


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_a_callback_of_the_caller_is_called_too(kind: Kind) -> None:
    pipe = loaded(folders(kind)[0], kind)
    draw, seen = Wrapped(pipe, suppression()), list[tuple[int, list[str]]]()

    def watch(_: Any, number: int, __: Any, held: dict[str, Any]) -> dict[str, Any]:
        seen.append((number, sorted(held)))
        return {}

    def blank(_: Any, __: int, ___: Any, held: dict[str, Any]) -> dict[str, Any]:
        return {"latents": torch.zeros_like(held["latents"])}

    wanted = draw(PROMPTS, generator=seeds(1, 2), **MORE).images
    found = draw(PROMPTS, generator=seeds(1, 2), callback_on_step_end=watch, **MORE).images
    assert torch.equal(found, wanted) and [n for n, _ in seen] == list(range(5))
    assert all("latents" in names for _, names in seen)
    empty = draw(PROMPTS, generator=seeds(1, 2), callback_on_step_end=blank, **MORE).images
    assert torch.allclose(empty[0], empty[1]) and not torch.allclose(empty, wanted, atol=1e-3)
    with pytest.raises(ConfigError, match="makes contexts itself"):
        draw(PROMPTS, prompt_embeds=torch.zeros(1), **MORE)
