"""Training of `sd_tiny`: a denoiser, its text encoder and the paired image tower, jointly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from rich.console import Console
from standin_canvas import Shown, as_pixels, pick_rows
from standin_stage import Stage
from standin_text import caption, contrast_batch, contrastive_loss, encode
from standin_vae import LATENT, encode_all
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPModel, CLIPTokenizer

CHANNELS = (64, 128)
BATCH, RATE, TEXT_RATE, CONTRAST_RATE = 32, 1e-3, 4e-4, 1e-3
GAMMA, AVERAGED = 5.0, 0.999
CONTRAST_EVERY, CONTRAST_WEIGHT = 4, 0.1


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a trained stand-in consists of."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    clip: CLIPModel
    tokenizer: CLIPTokenizer


def make_scheduler() -> DDIMScheduler:
    """Return the noise schedule of Stable Diffusion 1.5."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def make_unet() -> UNet2DConditionModel:
    """Return an untrained denoiser; it attends at 4 x 4 alone, which halves the cost of a step."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT,
        out_channels=LATENT,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=CHANNELS,
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def train_contrast(
    parts: Parts, shown: list[Shown], out: Path, minutes: float, seed: int, console: Console
) -> None:
    """Train text encoder and image tower on pairs alone, before the denoiser joins."""
    opt = torch.optim.AdamW(parts.clip.parameters(), lr=CONTRAST_RATE, betas=(0.9, 0.98), fused=True)
    g = torch.Generator().manual_seed(seed + 1)
    stage = Stage("paired towers", out / "contrast.pt", minutes, console, g, {"clip": parts.clip, "opt": opt})
    stage.load()
    last = [0.0]
    device = parts.clip.device
    for _ in stage.steps(lambda: f"InfoNCE {sum(last[-50:]) / len(last[-50:]):.3f}"):
        for group in opt.param_groups:
            group["lr"] = CONTRAST_RATE * min(1.0, (stage.step + 1) / 50) * (1 - 0.6 * stage.done)
        pixels, texts = contrast_batch(shown, g)
        loss = contrastive_loss(parts.clip, parts.tokenizer, as_pixels(pixels).to(device), texts)
        loss.backward()
        nn.utils.clip_grad_norm_(parts.clip.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        last.append(loss.item())


def latents_of(parts: Parts, shown: list[Shown], out: Path) -> list[Tensor]:
    """Return the latents of all training pictures, encoded once and then kept in a file."""
    file = out / "latents.pt"
    if not file.exists():
        with torch.no_grad():
            torch.save([encode_all(parts.vae, s.pixels) for s in shown], file.with_suffix(".tmp"))
        file.with_suffix(".tmp").replace(file)
    kept: list[Tensor] = torch.load(file, weights_only=True)
    return kept


def draw_batch(
    shown: list[Shown], latents: list[Tensor], count: int, g: torch.Generator
) -> tuple[Tensor, list[str]]:
    """Return latents and a caption for each of them."""
    rows = pick_rows(shown, count, g)
    captions: list[str] = []
    for part, chosen in zip(shown, rows, strict=True):
        draws = torch.rand(len(chosen), 4, generator=g)
        labels = part.labels[chosen].tolist()
        captions += [caption(part.name, part.concepts[n], d) for n, d in zip(labels, draws, strict=True)]
    return torch.cat([z[r] for z, r in zip(latents, rows, strict=True)]), captions


def denoising_loss(
    parts: Parts, scheduler: DDIMScheduler, z: Tensor, captions: list[str], g: torch.Generator
) -> Tensor:
    """Return the squared error of the predicted noise, weighted by the capped signal-to-noise ratio."""
    noise = torch.randn(z.shape, generator=g)
    t = torch.randint(1000, (len(z),), generator=g)
    words = parts.clip.text_model(encode(parts.tokenizer, captions).to(z.device)).last_hidden_state
    noised = scheduler.add_noise(z, noise.to(z.device), t)
    made = parts.unet(noised, t.to(z.device), words).sample
    share = scheduler.alphas_cumprod.cpu()[t]
    ratio = share / (1 - share)
    weight = (ratio.clamp(max=GAMMA) / ratio).to(z.device)
    loss: Tensor = (weight * (made - noise.to(z.device)).square().mean((1, 2, 3))).mean()
    return loss


def train_denoiser(
    parts: Parts, shown: list[Shown], out: Path, minutes: float, seed: int, console: Console
) -> list[str]:
    """Train denoiser, text encoder and image tower; leave the averaged weights in `parts`."""
    torch.manual_seed(seed)
    latents = latents_of(parts, shown, out)
    scheduler = make_scheduler()
    both = nn.ModuleDict({"unet": parts.unet, "clip": parts.clip})
    mean = AveragedModel(both, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED))
    groups = [{"params": list(parts.unet.parameters())}, {"params": list(parts.clip.parameters())}]
    opt = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    g = torch.Generator().manual_seed(seed + 2)
    stage = Stage(
        "denoiser", out / "denoiser.pt", minutes, console, g, {"both": both, "mean": mean, "opt": opt}
    )
    stage.load()
    last, pairs = [0.0], [0.0]
    device = parts.unet.device
    for step in stage.steps(
        lambda: f"noise {sum(last[-100:]) / len(last[-100:]):.4f}, InfoNCE {pairs[-1]:.3f}"
    ):
        for group, rate in zip(opt.param_groups, (RATE, TEXT_RATE), strict=True):
            group["lr"] = rate * stage.rate()
        z, captions = draw_batch(shown, latents, BATCH, g)
        loss = denoising_loss(parts, scheduler, z.to(device), captions, g)
        last.append(loss.item())
        if step % CONTRAST_EVERY == 0:
            pixels, texts = contrast_batch(shown, g)
            paired = contrastive_loss(parts.clip, parts.tokenizer, as_pixels(pixels).to(device), texts)
            pairs.append(paired.item())
            loss = loss + CONTRAST_WEIGHT * paired
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        mean.update_parameters(both)
    both.load_state_dict(mean.module.state_dict())
    return stage.history


@contextmanager
def quiet_gradients(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation and take no gradients."""
    for m in modules:
        m.eval()
    with torch.inference_mode():
        yield


def sample(
    parts: Parts, prompts: list[str], seeds: list[int], steps: int = 10, guidance: float = 3.0
) -> Tensor:
    """Return pictures in [-1, 1], one for each prompt and seed, by DDIM with guidance."""
    scheduler = make_scheduler()
    scheduler.set_timesteps(steps)
    with quiet_gradients(parts.vae, parts.unet, parts.clip):
        device = parts.unet.device
        ids = encode(parts.tokenizer, ["", *prompts]).to(device)
        words = parts.clip.text_model(ids).last_hidden_state
        context = torch.cat([words[:1].expand(len(prompts), -1, -1), words[1:]])
        z = torch.stack(
            [torch.randn(LATENT, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds]
        )
        z = z.to(device)
        for t in scheduler.timesteps:
            plain, named = parts.unet(torch.cat([z, z]), t, context).sample.chunk(2)
            z = scheduler.step(plain + guidance * (named - plain), t, z).prev_sample
        return parts.vae.decode(z).sample.clamp(-1, 1)
