"""How a pipeline's schedule puts noise into latents, and what its net should say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.context import seeded
from razor_cli.families.diffusion.kinds import Prediction

CLOSE = 1e-6  # how near a drawn share comes to 0 and 1


class Noising:
    """What follows from a pipeline's scheduler alone."""

    pipeline: Any

    @property
    def prediction(self) -> Prediction:
        """Return what the net predicts, as the scheduler says."""
        scheduler = self.pipeline.scheduler
        if not hasattr(scheduler, "alphas_cumprod"):
            return Prediction.FLOW
        said = scheduler.config.prediction_type
        if said not in (Prediction.EPSILON, Prediction.VELOCITY):
            raise WeightsError(
                "the scheduler's prediction_type is not served",
                allowed=f"{Prediction.EPSILON}, {Prediction.VELOCITY}",
                found=said,
            )
        return Prediction(said)

    def schedule(self) -> dict[str, object]:
        """Return what decides which noise is taken away when: the scheduler's class and settings."""
        scheduler = self.pipeline.scheduler
        return {"class": type(scheduler).__name__} | {
            k: v for k, v in scheduler.config.items() if not k.startswith("_")
        }

    def steps(self, n: int, draws: int, seed: object) -> Tensor:
        """Return how far `n` pictures are noised, `draws` times each [n, draws]: a timestep, or sigma of a
        flow.

        Each picture's draws lie in strata of equal weight, and depend on the seed and its place alone.
        """
        jitter = torch.stack([torch.rand(draws, generator=seeded(seed, "t", i)) for i in range(n)])
        share = ((torch.arange(draws) + jitter) / draws).clamp(CLOSE, 1 - CLOSE)
        config = self.pipeline.scheduler.config
        if self.prediction is not Prediction.FLOW:
            return (share * config.num_train_timesteps).long()
        sigma = (2**0.5 * torch.erfinv(2 * share - 1)).sigmoid()  # logit-normal
        return config.shift * sigma / (1 + (config.shift - 1) * sigma)

    def noise(self, latents: Tensor, names: Sequence[object]) -> Tensor:
        """Return noise of the shape of `latents`, that of each row drawn by its name."""
        shape = latents.shape[1:]
        rows = [torch.randn(shape, generator=seeded("noise", name)) for name in names]
        return torch.stack(rows).to(latents)

    def noised(self, latents: Tensor, noise: Tensor, at: Tensor) -> Tensor:
        """Return latents [n, ...] with noise, as far as `at` [n] says."""
        signal, share = self._shares(latents, at)
        return signal * latents + share * noise

    def target(self, latents: Tensor, noise: Tensor, at: Tensor) -> Tensor:
        """Return what the net should predict of latents noised so far: noise, velocity, or the flow."""
        if self.prediction is Prediction.EPSILON:
            return noise
        if self.prediction is Prediction.FLOW:
            return noise - latents
        signal, share = self._shares(latents, at)
        return signal * noise - share * latents

    def _shares(self, latents: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *(1,) * (latents.ndim - 1))
        if self.prediction is Prediction.FLOW:
            sigma = at.to(latents).reshape(shape)
            return 1 - sigma, sigma
        kept = self.pipeline.scheduler.alphas_cumprod[at.cpu()].reshape(shape).to(latents.device)
        return kept.sqrt().to(latents.dtype), (1 - kept).sqrt().to(latents.dtype)
