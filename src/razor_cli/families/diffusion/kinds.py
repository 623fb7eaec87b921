"""Which pipelines are served, what their nets predict, and how pictures are drawn. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from razor_cli.errors import ConfigError


class Kind(StrEnum):
    """The pipelines that are served, by what is in them."""

    SD15 = "sd15"  # one text encoder, a UNet
    SD3 = "sd3"  # two text encoders of the kind with a projection, perhaps T5, a transformer


class Prediction(StrEnum):
    """What the net predicts of a noised picture; the scheduler's settings say which."""

    EPSILON = "epsilon"
    VELOCITY = "v_prediction"
    FLOW = "flow"


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How a picture is drawn; the scheduler is the pipeline's own."""

    steps: int = 10
    guidance: float = 3.0
    batch: int = 16  # pictures at once; another number moves a picture by some 1e-7
    side: int | None = None  # pixels; None: what the model was made for


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What losses on noised pictures draw; part of the key of every gradient of theirs."""

    per_picture: int = 8  # how often each picture is noised, in strata of time
    seed: int = 0
    batch: int = 16  # noised pictures in the net at once; plays no part but in rounding
    # Of the mismatch: states along the way from noise to a picture, as the unedited model draws it.
    trajectory: Sampler = Sampler(steps=4)
    prompts: int = 64  # of the mismatch, at most


def check_drawn(side: int, unit: int, steps: int, most: int) -> None:
    """Refuse pictures whose sides are no multiple of `unit` pixels, and more steps than timesteps."""
    if side % unit:
        raise ConfigError(
            "metrics.side is no size that this model draws", allowed=f"a multiple of {unit}", found=side
        )
    if steps > most:
        raise ConfigError("the sampler has fewer steps than are asked for", allowed=most, found=steps)
