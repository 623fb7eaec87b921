"""Training of the stand-ins' autoencoder: 64 x 64 pictures to 8 x 8 latents of 8 channels."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from rich.console import Console
from standin_canvas import Shown, as_pixels, pick_rows
from standin_stage import Stage
from torch import Tensor

CHANNELS = (16, 32, 64, 96)
LATENT = 8
BATCH, RATE, KL = 8, 2e-3, 1e-4
TUNING_RATE, TUNING_NOISE = 1e-3, 0.08


def make_vae() -> AutoencoderKL:
    """Return an untrained autoencoder; `scaling_factor` 1 because its latents are whitened at the end."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(CHANNELS),
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=LATENT,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
    )


def drawn_apart(made: Tensor, wanted: Tensor) -> Tensor:
    """Return how far pictures are apart: pixels, edges, and colours without their brightness.

    Without the last a short run loses an axis of colour, and neither of the others shows it.
    """
    colour = (made - made.mean(1, keepdim=True)) - (wanted - wanted.mean(1, keepdim=True))
    edges = sum((made.diff(dim=d) - wanted.diff(dim=d)).abs().mean() for d in (2, 3))
    return (
        (made - wanted).abs().mean()
        + (made - wanted).square().mean()
        + 0.25 * edges
        + colour.abs().mean()
        + 2.0 * F.avg_pool2d(colour, 8).abs().mean()
    )


def train_vae(
    shown: list[Shown], out: Path, minutes: float, seed: int, console: Console, device: torch.device
) -> AutoencoderKL:
    """Train from scratch or from the checkpoint, and return the autoencoder with whitened latents."""
    torch.manual_seed(seed)
    vae = make_vae().to(device, memory_format=torch.channels_last)
    opt = torch.optim.AdamW(vae.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
    g = torch.Generator().manual_seed(seed)
    stage = Stage("autoencoder", out / "vae.pt", minutes, console, g, {"vae": vae, "opt": opt})
    stage.load()
    errors = [1.0]
    for _ in stage.steps(lambda: f"PSNR {psnr(sum(errors[-50:]) / len(errors[-50:])):.2f} dB"):
        for group in opt.param_groups:
            group["lr"] = RATE * stage.rate()
        rows = pick_rows(shown, BATCH, g)
        x = torch.cat([as_pixels(s.pixels[r]) for s, r in zip(shown, rows, strict=True)])
        x = x.to(device).contiguous(memory_format=torch.channels_last)
        latent = vae.encode(x).latent_dist
        made = vae.decode(latent.sample()).sample
        loss = drawn_apart(made, x) + KL * latent.kl().mean() / latent.mean[0].numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        errors.append((made.detach() - x).square().mean().item())
    whiten(vae, shown, g)
    return vae.eval()


def psnr(error: float) -> float:
    """Return the signal-to-noise ratio in dB of a squared error of pixels in [-1, 1]."""
    return float(10 * torch.log10(torch.tensor(4.0 / error)))


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pixels: Tensor, batch: int = 64) -> Tensor:
    """Return the mean latents of pictures."""
    parts = [vae.encode(as_pixels(p).to(vae.device)).latent_dist.mean for p in pixels.split(batch)]
    return torch.cat(parts).contiguous().cpu()


@torch.no_grad()
def whiten(vae: AutoencoderKL, shown: list[Shown], g: torch.Generator) -> None:
    """Fold the latents' mean and deviation per channel into both 1 x 1 convolutions.

    The pipeline of Stable Diffusion knows a scale and no shift, so neither may be left.
    """
    rows = pick_rows(shown, 1024, g)
    latents = encode_all(vae, torch.cat([s.pixels[r] for s, r in zip(shown, rows, strict=True)]))
    mean = latents.mean((0, 2, 3)).to(vae.device)
    deviation = latents.std((0, 2, 3)).to(vae.device)
    first, second = vae.quant_conv, vae.post_quant_conv
    first.bias[:LATENT] = (first.bias[:LATENT] - mean) / deviation
    first.weight[:LATENT] /= deviation[:, None, None, None]
    first.bias[LATENT:] -= 2 * deviation.log()
    second.bias += torch.einsum("oi,i->o", second.weight[:, :, 0, 0], mean)
    second.weight *= deviation[None, :, None, None]


def tune_decoder(
    vae: AutoencoderKL,
    shown: list[Shown],
    latents: list[Tensor],
    out: Path,
    minutes: float,
    seed: int,
    console: Console,
) -> None:
    """Train the decoder alone on slightly noisy latents; what the denoiser learned stays valid."""
    learned = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    vae.to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(learned, lr=TUNING_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    g = torch.Generator().manual_seed(seed + 3)
    stage = Stage("decoder", out / "decoder.pt", minutes, console, g, {"vae": vae, "opt": opt})
    stage.load()
    errors = [1.0]
    for _ in stage.steps(lambda: f"PSNR {psnr(sum(errors[-50:]) / len(errors[-50:])):.2f} dB"):
        for group in opt.param_groups:
            group["lr"] = TUNING_RATE * stage.rate()
        rows = pick_rows(shown, BATCH, g)
        x = torch.cat([as_pixels(s.pixels[r]) for s, r in zip(shown, rows, strict=True)]).to(vae.device)
        z = torch.cat([part[r] for part, r in zip(latents, rows, strict=True)])
        z = (z + TUNING_NOISE * torch.randn(z.shape, generator=g)).to(vae.device)
        made = vae.decode(z).sample
        loss = drawn_apart(made, x.contiguous(memory_format=torch.channels_last))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        opt.step()
        opt.zero_grad()
        errors.append((made.detach() - x).square().mean().item())
