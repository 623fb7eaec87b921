"""Pictures of a prompt that are drawn part of the way: latents with the noise that is still in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from razor_cli.methods.diffusion.choices import NoisedAt

if TYPE_CHECKING:
    from razor_cli.families.diffusion.context import Context
    from razor_cli.families.diffusion.denoiser import Denoiser


class Sampling(Protocol):
    """The settings that decide how far and how pictures are drawn."""

    @property
    def sampler_steps(self) -> int:
        """Return the steps of a whole picture."""
        ...

    @property
    def guidance(self) -> float:
        """Return the weight of the prompt against none."""
        ...

    @property
    def noised_at(self) -> NoisedAt:
        """Return whether timesteps are the sampler's."""
        ...


class PartlyDrawn:
    """Draws pictures to a step each that chance chooses: DDIM without new noise, Euler for a flow."""

    def __init__(self, denoiser: Denoiser, method: Sampling) -> None:
        self.denoiser, self.method = denoiser, method

    def _scheduler(self) -> Any:
        from diffusers import DDIMScheduler

        own = self.denoiser.pipeline.scheduler
        if hasattr(own, "alphas_cumprod"):  # latents leave [-1, 1], and most schedulers know no such setting
            scheduler: Any = DDIMScheduler.from_config(own.config, clip_sample=False)
        else:
            scheduler = type(own).from_config(own.config)
        scheduler.set_timesteps(self.method.sampler_steps)
        return scheduler

    def drawn(self, contexts: Context, empty: Context, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return latents [n, ...] of pictures of the contexts, and how much noise is in each [n], as the
        denoiser says it: a timestep, or the sigma of a flow.
        """
        n, scheduler = len(contexts), self._scheduler()
        stops = torch.randint(self.method.sampler_steps, (n,), generator=generator)
        latents = torch.randn(n, *self.denoiser.shape, generator=generator)
        latents = latents.to(self.denoiser.device, self.denoiser.dtype)
        for number, step in enumerate(scheduler.timesteps[: int(stops.max())]):
            going = (stops > number).nonzero()[:, 0]  # the others have stopped, and cost nothing more
            at = self._said(step.expand(2 * len(going)))
            both = empty.cat([empty.rows(going), contexts.rows(going)])
            now = latents[going]
            nothing, named = self.denoiser.predict(torch.cat([now, now]), at, both).chunk(2)
            said = nothing + self.method.guidance * (named - nothing)
            further = scheduler.step(said, step, now, return_dict=False)[0]
            latents[going] = further.to(latents.dtype)
        return latents, self._said(self._chosen(scheduler.timesteps, stops, generator))

    def _chosen(self, timesteps: Tensor, stops: Tensor, generator: torch.Generator) -> Tensor:
        """Return the timestep of each picture: where the sampler stopped, or between there and its next."""
        found = timesteps.cpu()[stops]
        if self.method.noised_at is NoisedAt.SAMPLER:
            return found
        following = torch.cat([timesteps.cpu(), timesteps.new_zeros(1).cpu()])[stops + 1]
        share = torch.rand(len(stops), generator=generator)
        between = found - share * (found - following)
        return between if found.is_floating_point() else between.round().to(found.dtype)

    def _said(self, timesteps: Tensor) -> Tensor:
        """Return the sampler's timesteps as the denoiser takes them."""
        scheduler = self.denoiser.pipeline.scheduler
        if hasattr(scheduler, "alphas_cumprod"):
            return timesteps
        return timesteps / scheduler.config.num_train_timesteps
