"""Whether a change does anything to what the model makes of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from razor_cli.contract.components import parameters
from razor_cli.contract.family import WEIGHTS, Change, Family
from razor_cli.families.diffusion.context import seeded
from razor_cli.families.diffusion.kinds import Prediction

if TYPE_CHECKING:
    from razor_cli.data.shots import DrawnSets
    from razor_cli.families.diffusion.opened import OpenedPipeline

MOST = 8  # prompts that are looked at
HALF = 0.5  # how far the latents are noised, of the whole way


def why_idle(family: OpenedPipeline, change: Change, sets: DrawnSets) -> str | None:
    """Return why a change has no effect on the target, or None where it has one: a weight differs, and so
    does what the net predicts under the target's prompts.
    """
    live = parameters(family)
    moved = [n for n, v in change.tensors().items() if n not in live or not _same(v, live[n])]
    if change.kind == WEIGHTS and not moved:
        return "no weight differs from the unedited model's"
    prompts = sets.target_prompts[:MOST]
    before = _predicted(family, prompts)
    with change.held(cast(Family, family)):
        after = _predicted(family, prompts)
    if torch.equal(before, after):
        return f"{len(moved)} tensors differ, and what the model predicts under {prompts[0]!r} does not"
    return None


def _same(value: Tensor, live: Tensor) -> bool:
    return torch.equal(value.to(live), live)


@torch.no_grad()
def _predicted(family: OpenedPipeline, prompts: tuple[str, ...]) -> Tensor:
    denoiser = family.denoiser
    latents = torch.randn(denoiser.shape, generator=seeded("effect")).expand(len(prompts), -1, -1, -1)
    steps = denoiser.pipeline.scheduler.config.num_train_timesteps
    flow = denoiser.prediction is Prediction.FLOW
    at = torch.full((len(prompts),), HALF) if flow else torch.full((len(prompts),), int(HALF * steps))
    return denoiser.predict(latents.to(denoiser.device, denoiser.dtype), at, denoiser.encode(prompts))
