"""A pipeline of diffusers that draws with changes at run time, for whoever draws without this program.

    from razor_cli.families.diffusion.suppression import Suppression
    from razor_cli.families.diffusion.wrapped import Wrapped

    draw = Wrapped(pipe, Suppression(names=("Van Gogh",)))
    pictures = draw(["A cat in Van Gogh style"], num_inference_steps=50, guidance_scale=9.0).images

    from razor_cli.families.diffusion.low_rank import read_membrane

    draw = Wrapped(pipe, read_membrane("adapter.safetensors"))

The pipeline itself stays as it is; only what the wrapper draws is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from razor_cli.families.diffusion.acting import during, present
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.kinds import Sampler
from razor_cli.families.diffusion.loaded import kind_of

if TYPE_CHECKING:
    from razor_cli.families.diffusion.acting import Actor


class Wrapped:
    """Draws as its pipeline does, with actors taking part."""

    def __init__(self, pipeline: Any, *actors: Actor) -> None:
        self.pipeline = pipeline
        self.denoiser = Denoiser(pipeline, kind_of(pipeline), str(pipeline.device))
        self.actors = actors

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str = "",
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        **more: Any,
    ) -> Any:
        """Return what the pipeline's own call returns; `more` are arguments of it."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        sampler = Sampler(steps=num_inference_steps, guidance=guidance_scale)
        with ExitStack() as stack:
            for actor in self.actors:
                stack.enter_context(present(self.denoiser, actor))
            contexts, empty = self.denoiser.encode(prompts), self.denoiser.encode([negative_prompt])
            given = self.denoiser.call_with(contexts, [0] * len(prompts), sampler, empty)
            if "generator" not in more:
                del given["generator"]  # the pipeline's own, as without a wrapper
            with during(self.denoiser, contexts):
                return self.pipeline(**given | more)
