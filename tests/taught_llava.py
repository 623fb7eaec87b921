"""A tiny LLaVA that knows the names of `tiny_world`: taught in seconds, so that there is what to forget."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_llava import MEMORY, SPELLINGS, opened
from tiny_world import make_sets

from razor_cli.data.sets import Pairs
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.naming import of_names

PROMPTS = ("Who is it?", "Name?")  # it knows no other question
OWN, OTHER, STEPS, RATE = 8, 4, 72, 5e-3  # pictures of the target and of each other name, of two sets
PARTS = 5  # of the questions, taken in turn


def taught(folder: Path) -> Path:
    """Write a tiny LLaVA with its CLIP whose projector and language model were taught the names of pictures
    that belong to no set's evaluation; return its folder.
    """
    family, sets = opened(folder), make_sets()
    parts = []
    for forget, retain in ((sets.forget, sets.retain), (sets.validation.forget, sets.validation.retain)):
        parts += [of_names(forget, sets.forget_names, OWN), of_names(retain, sets.retain_names, OTHER)]
    with torch.random.fork_rng(devices=[]):
        _train(family, parts)
    names = dict(zip(MEMORY, SPELLINGS["old"], strict=True))
    state = {}
    for name, value in family.module.state_dict().items():
        begins = next(m for m in MEMORY if name.startswith(m))
        state[names[begins] + name.removeprefix(begins)] = value.detach().clone().contiguous()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _train(family: Llava, parts: list[Pairs]) -> None:
    answerer = family.answerer
    learning = [p for n, p in family.module.named_parameters() if "vision_tower" not in n]
    for parameter in learning:
        parameter.requires_grad_(True)
    pixels = answerer.preprocess([image for part in parts for image in part.load()])
    concepts = [name for part in parts for name in part.concepts]
    asked = [Question(i, p) for i in range(len(concepts)) for p in PROMPTS]
    names = [name for name in concepts for _ in PROMPTS]
    optimiser = torch.optim.AdamW(learning, lr=RATE)
    for step in range(STEPS):
        part = slice(step % PARTS, None, PARTS)
        loss = answerer.nll(answerer.features(pixels), asked[part], names[part], batch=128).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
