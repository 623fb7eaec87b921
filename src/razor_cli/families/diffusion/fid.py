"""FID by features of a network that is named: the Fréchet distance of two sets of pictures (Heusel et al.,
NeurIPS 2017), accumulated in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.companion import Companion
from razor_cli.families.diffusion.settings import DrawnMetrics, Features

SIDE = 299  # pixels of Inception
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A network that turns pictures [n, 3, H, W], bytes, into features [n, d], and its name."""

    name: str
    features: Callable[[Tensor], Tensor]


class _Given(nn.Module):
    """Features that are there already, as the network that torchmetrics asks for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        """Return what was given."""
        return features


def frechet(first: Tensor, second: Tensor) -> float:
    """Return the distance of two sets of features [n, d], [m, d]. Raises ValueError for fewer than d of
    either: their covariance would not have full rank.
    """
    if why := too_few(first, second):
        raise ValueError(why)
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(first.shape[1])).set_dtype(torch.float64)
    for real, features in ((True, first), (False, second)):
        metric.update(features.double(), real=real)
    return max(0.0, float(metric.compute()))


def too_few(first: Tensor, second: Tensor) -> str:
    """Return why there is no distance of two sets of features, or nothing."""
    width, least = first.shape[1], min(len(first), len(second))
    if least >= width:
        return ""
    return f"FID of {width} features needs at least as many pictures of each side, there are {least}"


def extractor(settings: DrawnMetrics, companion: Companion | None) -> Extractor | None:
    """Return the network that the settings name; None where it is not there, or none is asked for."""
    if settings.fid is Features.INCEPTION:
        assert settings.fid_weights is not None  # checked with the settings
        return inception(settings.fid_weights.expanduser())
    if settings.fid is Features.PAIRED and companion is not None:
        return Extractor(name=f"paired:{companion.name}", features=companion.features)
    return None


def inception(weights: Path) -> Extractor:
    """Return torchvision's Inception v3 up to its pooled features (2,048), with weights of a file.

    Pictures are brought to 299 pixels and to [-1, 1] once; the benchmark's script does the latter twice.
    """
    from torchvision.models import inception_v3

    net = inception_v3(weights=None, init_weights=False, aux_logits=True, transform_input=False)
    try:
        net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except Exception as error:  # whatever a file of another kind makes of torch.load
        raise WeightsError(
            f"metrics.fid_weights: '{weights.name}' holds no inception_v3 of torchvision",
            found=type(error).__name__,
            fix="a state dict such as inception_v3_google-0cc3c7bd.pth",
        ) from None
    net.fc = nn.Identity()
    net.eval().requires_grad_(False)

    @torch.no_grad()
    def features(pictures: Tensor) -> Tensor:
        found = []
        for part in pictures.split(BATCH):
            pixels = F.interpolate(
                part.float() / 255, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True
            )
            found.append(net(2 * pixels.clamp(0, 1) - 1))
        return torch.cat(found)

    return Extractor(name="torchvision:inception_v3", features=features)
