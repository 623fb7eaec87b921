"""Pictures are not drawn again where contexts and net are what they were, and are where they are not."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_drawn import family

from razor_cli.contract.components import parameters, swapped
from razor_cli.engine.cache import TensorCache
from razor_cli.families.diffusion.kinds import Kind, Sampler
from razor_cli.families.diffusion.run_time import AtRunTime
from razor_cli.families.diffusion.suppression import Suppression

QUICK = Sampler(steps=2, batch=4)


def test_prompts_that_nothing_concerns_are_not_drawn_again(tmp_path: Path) -> None:
    model, name = family(Kind.SD3), "Cats"
    others = [f"{name} apart", "a dog", "a bird", "a tree"]
    asked, seeds, how = [*others], [1, 2, 3, 4], Sampler(steps=3, guidance=2.0, batch=2)
    ticks: list[int] = []
    actor = AtRunTime(Suppression(names=(name,), start=0.0))
    store = model.pictures(TensorCache(tmp_path / "cache"))
    plain = store.pictures(asked, seeds, how, ticks.append)
    with actor.held(model):
        acted = store.pictures(asked, seeds, how, ticks.append)
    assert ticks == [2, 2, 2]  # the first batch has a touched prompt, and is drawn as a whole
    with actor.held(model):
        assert torch.equal(model.pictures(None).pictures(asked, seeds, how), acted)
    assert torch.equal(acted[1:], plain[1:]) and not torch.equal(acted[0], plain[0])
    again = model.pictures(TensorCache(tmp_path / "cache"))  # as of another process
    with AtRunTime(Suppression(names=(name,), start=0.5)).held(model):
        assert torch.equal(again.pictures(asked[2:], seeds[2:], how, ticks.append), plain[2:])
    assert len(ticks) == 3


def test_a_text_encoder_that_reads_a_prompt_as_before_draws_nothing(tmp_path: Path) -> None:
    model = family(Kind.SD15)
    word = next(n for n in parameters(model) if n.endswith("token_embedding.weight"))
    read = model.denoiser.pipeline.tokenizer(["a dog", "a bird", ""], padding="max_length").input_ids
    spoken = {i for row in read for i in row}
    rows, ticks = parameters(model)[word].clone(), list[int]()
    store = model.pictures(TensorCache(tmp_path / "cache"))
    plain = store.pictures(["a dog", "a bird"], [1, 2], QUICK, ticks.append)
    rows[next(i for i in range(len(rows)) if i not in spoken)] += 1  # a word of neither
    with swapped(model, {word: rows}):
        assert torch.equal(store.pictures(["a dog", "a bird"], [1, 2], QUICK, ticks.append), plain)
    count = len(ticks)
    rows[read[0][2]] += 1  # a letter of the first
    with swapped(model, {word: rows}):
        store.pictures(["a dog", "a bird"], [1, 2], QUICK, ticks.append)
    core = next(n for n in parameters(model) if n.startswith("unet."))
    with swapped(model, {core: parameters(model)[core] * 1.01}):
        store.pictures(["a dog", "a bird"], [1, 2], QUICK, ticks.append)
    assert len(ticks) == 3 * count
