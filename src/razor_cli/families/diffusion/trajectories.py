"""States on the way from noise to pictures, as a model draws them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.kinds import Draws, Prediction


@dataclass(frozen=True)
class States:
    """Some noised latents [n, ...], how far they are noised [n], and the places of their prompts."""

    latents: Tensor
    at: Tensor
    rows: list[int]


@dataclass(frozen=True)
class Trajectories:
    """States of one picture for each prompt: at each step but the first, where there is noise alone."""

    prompts: tuple[str, ...]
    states: States

    def __len__(self) -> int:
        return len(self.states.rows)

    def parts(self, batch: int) -> Iterator[tuple[slice, States]]:
        """Yield the states in batches, with their places among all."""
        for start in range(0, len(self), batch):
            part = slice(start, start + batch)
            s = self.states
            yield part, States(s.latents[part], s.at[part], s.rows[part])


@torch.no_grad()
def drawn(denoiser: Denoiser, prompts: Sequence[str], draws: Draws) -> Trajectories:
    """Return the trajectories of prompts under the weights as they are now, one seed for each prompt."""
    latents: list[Tensor] = []
    at: list[Tensor] = []
    rows: list[int] = []
    batch = draws.trajectory.batch
    for start in range(0, len(prompts), batch):
        words = prompts[start : start + batch]

        def keep(
            pipeline: Any, step: int, _at: Tensor, held: dict[str, Tensor], first: int = start
        ) -> dict[str, Tensor]:
            times = pipeline.scheduler.timesteps
            if step + 1 < len(times):
                latents.append(_input(pipeline.scheduler, held["latents"], times[step + 1]))
                at.append(times[step + 1].expand(len(held["latents"])))
                rows.extend(range(first, first + len(held["latents"])))
            return {}

        seeds = [zlib.crc32(f"{draws.seed}/{word}".encode()) for word in words]
        call = denoiser.call_with(denoiser.encode(words), seeds, draws.trajectory)
        denoiser.pipeline(**call, output_type="latent", callback_on_step_end=keep)
    times = torch.cat(at)
    if denoiser.prediction is Prediction.FLOW:
        times = times / denoiser.pipeline.scheduler.config.num_train_timesteps
    return Trajectories(tuple(prompts), States(torch.cat(latents), times, rows))


def _input(scheduler: Any, latents: Tensor, at: Tensor) -> Tensor:
    """Return latents as the net takes them: some schedulers keep them in another scale."""
    scaled: Tensor = (
        scheduler.scale_model_input(latents, at) if hasattr(scheduler, "scale_model_input") else latents
    )
    return scaled.clone()


def strength(denoiser: Denoiser, states: States, contexts: Context, empty: int, floor: float) -> Tensor:
    """Return the root of the mean square of what each state's prompt changes in the net's answer [n].

    `empty` is the place of the context of no words; `floor` keeps the root's slope finite where a prompt
    changes nothing.
    """
    both = contexts.rows([*states.rows, *[empty] * len(states.rows)])
    said = denoiser.predict(torch.cat([states.latents] * 2), torch.cat([states.at] * 2), both)
    prompted, blank = said.float().chunk(2)
    return ((prompted - blank).square().flatten(1).mean(dim=1) + floor).sqrt()
