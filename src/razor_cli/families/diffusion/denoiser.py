"""A loaded pipeline as its parts: prompts to contexts, pictures to latents, noise added and predicted,
pictures drawn.

Everything that a library knows better is asked of the pipeline: contexts come from its `encode_prompt`,
pictures from its call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from razor_cli.errors import RunError
from razor_cli.families.diffusion.acting import (
    Actor,
    Moment,
    during,
    marked,
    rewritten,
    shares_done,
    stepping,
)
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.kinds import Kind, Sampler, check_drawn
from razor_cli.families.diffusion.noising import Noising
from razor_cli.families.diffusion.pixels import pixels_of
from razor_cli.families.diffusion.side_by_side import beside, drawn
from razor_cli.families.diffusion.spelling import trunk
from razor_cli.weights.live import live_hash

ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
CORES = {Kind.SD15: "unet", Kind.SD3: "transformer"}
VAE = "vae"
T5_LENGTH = 256  # tokens that SD3's pipeline gives T5
NO_T5 = 1  # where T5 is left out its place is zeros, of which the pipeline wants at least one
ALONE = 256  # pixels; larger pictures are decoded one by one, as nothing holds larger maps than the VAE


class Denoiser(Noising):
    """A pipeline of diffusers in evaluation, on its device.

    Parameters of text encoders may be differentiated; those of the net and the VAE only inside `asking`.
    """

    def __init__(self, pipeline: Any, kind: Kind, device: str = "cpu") -> None:
        self.pipeline, self.kind, self.device = pipeline, kind, device
        pipeline.to(device)
        pipeline.set_progress_bar_config(disable=True)
        found: dict[str, Any] = {n: getattr(pipeline, n, None) for n in (*ENCODERS, CORES[kind], VAE)}
        self.module = nn.Module()  # names of parameters begin with those of the parts in model_index.json
        for name, part in found.items():
            if isinstance(part, nn.Module):
                self.module.add_module(name, trunk(part))
        self.module.eval()
        self.encoders: dict[str, nn.Module] = {
            n: self.module.get_submodule(n) for n in ENCODERS if found[n] is not None
        }
        self.core: Any = found[CORES[kind]]
        self.vae: Any = found[VAE]
        self.core.requires_grad_(False)
        self.vae.requires_grad_(False)
        self.tail = T5_LENGTH if ENCODERS[2] in self.encoders else NO_T5
        if self.side > ALONE:
            self.vae.enable_slicing()
        self.acting: list[Actor] = []  # what is done at run time and no weight shows

    @property
    def marks(self) -> list[str]:
        """Return the names of what is done at run time."""
        return [actor.label for actor in self.acting]

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype that the net computes in."""
        found: torch.dtype = self.core.dtype
        return found

    @property
    def side(self) -> int:
        """Return the side of the pictures that the model was made for, in pixels."""
        size = self.core.config.sample_size
        return int(size if isinstance(size, int) else size[0]) * int(self.pipeline.vae_scale_factor)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of one picture's latents."""
        size = self.core.config.sample_size
        high, wide = (size, size) if isinstance(size, int) else size
        return int(self.core.config.in_channels), int(high), int(wide)

    def encode(self, prompts: Sequence[str]) -> Context:
        """Return the contexts of prompts, without those of classifier-free guidance; differentiable."""
        found = self.encode_plain(prompts)
        return marked(self, prompts, found) if self.acting else found

    def encode_plain(self, prompts: Sequence[str]) -> Context:
        """Return the contexts of prompts as if nothing acted."""
        if self.kind is Kind.SD15:
            tokens, _ = self.pipeline.encode_prompt(list(prompts), self.device, 1, False)
            return Context(tokens)
        tokens, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=list(prompts),
            prompt_2=None,
            prompt_3=None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.tail,
        )
        return Context(tokens, pooled)

    def pooled(self, prompts: Sequence[str]) -> Tensor:
        """Return one vector for each prompt [n, p], of all CLIP encoders; differentiable."""
        if self.kind is not Kind.SD15:
            found = self.encode(prompts).pooled
            assert found is not None
            return found
        ids = self.pipeline.tokenizer(
            list(prompts), padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        vectors: Tensor = self.pipeline.text_encoder(ids.to(self.device)).pooler_output
        return vectors

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels [n, 3, side, side] in 0..1: the middle square of each picture."""
        return pixels_of(images, self.side)

    @torch.no_grad()
    def latents(self, pixels: Tensor) -> Tensor:
        """Return the latents of pixels [n, 3, H, W] in 0..1: the VAE's mode, shifted and scaled."""
        config = self.vae.config
        given = (2 * pixels - 1).to(self.device, self.vae.dtype)
        mode: Tensor = self.vae.encode(given).latent_dist.mode()
        shift = (getattr(config, "shift_factor", None) or 0.0) if self.kind is Kind.SD3 else 0.0
        return ((mode - shift) * config.scaling_factor).to(self.dtype)

    def predict(self, noised: Tensor, at: Tensor, context: Context) -> Tensor:
        """Return what the net says of noised latents [n, ...] under contexts [n]: one pass forward."""
        if self.acting:
            moment = Moment(done=shares_done(self, at), latents=noised, at=at)
            with during(self, context):
                return self.read(noised, at, rewritten(self, context, moment))
        return self.read(noised, at, context)

    def read(self, noised: Tensor, at: Tensor, context: Context) -> Tensor:
        """Return what the net says of latents under these very contexts, whatever acts."""
        if self.kind is Kind.SD15:
            found = self.core(
                noised, at.to(self.device), encoder_hidden_states=context.tokens, return_dict=False
            )
        else:
            scale = self.pipeline.scheduler.config.num_train_timesteps
            found = self.core(
                hidden_states=noised,
                timestep=at.to(noised.device, torch.float32) * scale,
                encoder_hidden_states=context.tokens,
                pooled_projections=context.pooled,
                return_dict=False,
            )
        said: Tensor = found[0]
        return said

    @torch.no_grad()
    def draw(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampler: Sampler,
        contexts: Context | None = None,
        empty: Context | None = None,
    ) -> Tensor:
        """Return pictures [n, 3, H, W] as bytes, each from the noise of its own seed.

        `contexts` are those of the prompts and `empty` that of no words, where they are known already.
        """
        parts = [slice(i, i + sampler.batch) for i in range(0, len(prompts), sampler.batch)]
        known = (self.encode(prompts[p]) if contexts is None else contexts.rows(p) for p in parts)
        found = list(self.batches(zip(known, (seeds[p] for p in parts), strict=True), sampler, empty))
        side = sampler.side or self.side
        return torch.cat(found) if found else torch.zeros(0, 3, side, side, dtype=torch.uint8)

    def batches(
        self,
        asked: Iterable[tuple[Context, Sequence[int]]],
        sampler: Sampler,
        empty: Context | None = None,
        given_as: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda _, given: given,
    ) -> Iterator[Tensor]:
        """Yield the pictures of each batch of contexts and seeds, in their order; a small net draws several
        batches at once. `given_as` may change the arguments of the pipeline's call, by the batch's number.
        """
        if sampler.guidance > 1 and empty is None:
            with torch.no_grad():
                empty = self.encode([""])
        given = (
            (known, given_as(i, self.call_with(known, seeds, sampler, empty)))
            for i, (known, seeds) in enumerate(asked)
        )
        pipelines = beside(self.pipeline, self.core, self.device)
        if any(actor.alone for actor in self.acting):
            pipelines = pipelines[:1]
        yield from drawn((partial(self._batch, *one) for one in given), pipelines)

    def _batch(self, contexts: Context, given: Mapping[str, Any], pipeline: Any) -> Tensor:
        with during(self, contexts):
            made = pipeline(**given, output_type="pt", return_dict=False)
        pictures: Tensor = made[0].float().cpu()
        if not pictures.isfinite().all():
            raise RunError(
                "the model draws pictures that are not numbers",
                found=f"NaN or infinity in {self.dtype} at {given['num_inference_steps']} steps",
                fix="model.dtype=float32",
            )
        return (255 * pictures).round().to(torch.uint8)

    def call_with(
        self, contexts: Context, seeds: Sequence[int], sampler: Sampler, empty: Context | None = None
    ) -> dict[str, Any]:
        """Return the arguments with which the pipeline draws one batch of known contexts. Raises ConfigError
        for what this one cannot draw.
        """
        side = sampler.side or self.side
        patch = int(self.core.config.patch_size) if self.kind is Kind.SD3 else 1
        unit = int(self.pipeline.vae_scale_factor) * patch
        check_drawn(side, unit, sampler.steps, self.pipeline.scheduler.config.num_train_timesteps)
        first = rewritten(self, contexts, Moment(done=torch.zeros(len(contexts)), steps=sampler.steps))
        given: dict[str, Any] = {
            **stepping(self, contexts),
            "prompt_embeds": first.tokens,
            "pooled_prompt_embeds": first.pooled,
            "num_inference_steps": sampler.steps,
            "guidance_scale": sampler.guidance,
            "height": side,
            "width": side,
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
        }
        if sampler.guidance > 1:
            blank = (empty or self.encode([""])).expand(len(contexts))
            given |= {
                "negative_prompt_embeds": blank.tokens,
                "negative_pooled_prompt_embeds": blank.pooled,
            }
        return {k: v for k, v in given.items() if v is not None}

    @contextmanager
    def asking(self, params: Collection[str]) -> Iterator[dict[str, nn.Parameter]]:
        """Give the named parameters, and let them alone have gradients inside."""
        live = dict(self.module.named_parameters())
        before = {name: p.requires_grad for name, p in live.items()}
        wanted = set(params)
        try:
            for name, p in live.items():
                p.requires_grad_(name in wanted)
            yield {name: p for name, p in live.items() if name in wanted}
        finally:
            for name, p in live.items():
                p.requires_grad_(before[name])

    def live_hash(self, *parts: str) -> str:
        """Return the hash of the weights as they are now, and of what is done at run time: of the named
        parts, or of all.
        """
        return told_by(self.held(*parts), self.marks)

    def held(self, *parts: str) -> dict[str, str]:
        """Return the hash of the weights of each part as they are now: of the named ones, or of all."""
        names = parts or [n for n, _ in self.module.named_children()]
        return {name: live_hash(self.module.get_submodule(name)) for name in names}


def told_by(held: Mapping[str, str], marks: Sequence[str]) -> str:
    """Return the hash of parts by theirs, and of what is done at run time."""
    return hashlib.sha256("\n".join([*marks, *(f"{n} {h}" for n, h in held.items())]).encode()).hexdigest()
