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

from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.acting import called_both, during, present
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.kinds import Sampler
from razor_cli.families.diffusion.loaded import kind_of

if TYPE_CHECKING:
    from razor_cli.families.diffusion.acting import Actor

OWN = frozenset(
    {
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
        *(f"{sign}prompt_{i}" for sign in ("", "negative_") for i in (2, 3)),
    }
)  # arguments of a pipeline that say what a picture shows


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
        """Return what the pipeline's own call returns; `more` are arguments of it. Raises ConfigError for
        those that the wrapper gives by itself.
        """
        if taken := sorted(more.keys() & OWN):
            raise ConfigError(
                "the wrapper makes contexts itself, from prompt and negative_prompt",
                allowed="arguments of the pipeline other than " + ", ".join(sorted(OWN)),
                found=", ".join(taken),
            )
        # A pipeline repeats contexts for several pictures of a prompt, which no actor sees: here each picture
        # has a prompt of its own.
        count = int(more.pop("num_images_per_prompt", None) or 1)
        prompts = [p for p in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(count)]
        sampler = Sampler(steps=num_inference_steps, guidance=guidance_scale)
        with ExitStack() as stack:
            for actor in self.actors:
                stack.enter_context(present(self.denoiser, actor))
            contexts, empty = self.denoiser.encode(prompts), self.denoiser.encode([negative_prompt])
            given = self.denoiser.call_with(contexts, [0] * len(prompts), sampler, empty)
            if "generator" not in more:
                del given["generator"]  # the pipeline's own, as without a wrapper
            both = called_both(given, more)
            with during(self.denoiser, contexts):
                return self.pipeline(**given | more | both)
