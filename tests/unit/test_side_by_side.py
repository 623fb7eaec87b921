"""Batches drawn side by side are those drawn one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from tiny_drawn import family
from torch import Tensor

from razor_cli.families.diffusion import side_by_side
from razor_cli.families.diffusion.kinds import Kind, Sampler
from razor_cli.families.diffusion.side_by_side import beside, drawn

PROMPTS = [f"A {name} image." for name in ("Cats", "Dogs", "Trees", "Sea", "Flame")]
QUICK = Sampler(steps=3, batch=2)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.usefixtures("two_threads")
def test_pictures_are_the_same_to_the_byte(kind: Kind) -> None:
    denoiser, seeds = family(kind).denoiser, list(range(5))
    together = [denoiser.draw(PROMPTS, seeds, QUICK) for _ in range(3)]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    alone = denoiser.draw(PROMPTS, seeds, QUICK)
    assert all(torch.equal(alone, one) for one in together)


@pytest.mark.usefixtures("two_threads")
def test_each_batch_has_a_scheduler_and_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = family(Kind.SD15).denoiser.pipeline
    found = beside(pipeline, pipeline.unet, "cpu")
    assert len(found) == 2 and found[1].unet is pipeline.unet
    assert found[1].scheduler is not pipeline.scheduler
    assert beside(pipeline, pipeline.unet, "cuda") == [pipeline]
    monkeypatch.setattr(side_by_side, "SMALL", 0)
    assert beside(pipeline, pipeline.unet, "cpu") == [pipeline]

    both = threading.Barrier(2, timeout=10)  # only two at once come past it

    def call(given: str) -> Tensor:
        both.wait()
        assert torch.get_num_threads() == 1
        return torch.tensor(["a", "b"].index(given))

    assert sorted(int(t) for t in drawn([call] * 4, ["a", "b"])) == [0, 0, 1, 1]


def test_order_is_kept_and_a_failure_ends_the_rest() -> None:
    done: list[int] = []

    def call(number: int) -> Tensor:
        if number == 3:
            raise ValueError("no such picture")
        done.append(number)
        return torch.tensor(number)

    calls = [lambda _, i=i: call(i) for i in range(50)]
    came = []
    with pytest.raises(ValueError, match="no such picture"):
        for tensor in drawn(calls, ["a", "b"]):
            came.append(int(tensor))
    assert came == [0, 1, 2] and max(done) < 8
