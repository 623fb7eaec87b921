"""CA's steps: noise a picture of the anchor, and learn to say of it under the target's prompt what is said
under the anchor's.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.engine.objective import Objective, Step
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.groups import EMBEDDING
from razor_cli.methods.diffusion.choices import LearntFrom, SampledBy
from razor_cli.methods.diffusion.in_training import InTraining
from razor_cli.methods.diffusion.noised import Noised, noised
from razor_cli.methods.diffusion.wording import names_of, paired_texts

if TYPE_CHECKING:
    from razor_cli.contract.family import Named
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.ca_settings import CaSettings

AT_ONCE = 16  # pictures in the VAE


class Ablation(Objective):
    """One optimiser step for each batch of the anchor's pictures, which the unedited model drew."""

    def __init__(self, lab: Lab, method: CaSettings) -> None:
        self.lab, self.method = lab, method
        family = cast("Diffusion", lab.family)
        self.denoiser = family.denoiser
        names = method.trained(lab.family)
        self.weights = InTraining(lab.family, names)
        self.encoded = any(n.partition(".")[0] in self.denoiser.encoders for n in names)  # contexts change
        self.words = self._word_ids() if method.group == EMBEDDING else None
        self.own, self.instead = paired_texts("prompts", method.prompts, method.anchor, lab.sets)
        self.places = [i % len(self.own) for i in range(method.pictures)]
        self.latents = self._drawn(family)
        with torch.no_grad():
            self.named, self.anchor = (self._encode(t) for t in (self.own, self.instead))

    def _drawn(self, family: Diffusion) -> Tensor:
        """Return the latents of the anchor's pictures as the unedited model draws them."""
        method, texts = self.method, [self.instead[i] for i in self.places]
        seeds = [zlib.crc32(f"{self.lab.seed}/{i}/{t}".encode()) for i, t in enumerate(texts)]
        self.lab.say(f"drawing {len(texts)} pictures of {self.instead[0]!r} and the like")
        images = family.supplies(self.lab.cache).draw(
            texts, seeds, steps=method.sampler_steps, guidance=method.guidance
        )
        self.lab.tick(len(texts) * method.sampler_steps * (2 if method.guidance > 1 else 1), 0)
        parts = [images[i : i + AT_ONCE] for i in range(0, len(images), AT_ONCE)]
        return torch.cat([self.denoiser.latents(self.denoiser.preprocess(p)) for p in parts])

    def _encode(self, texts: Sequence[str]) -> Context:
        return Context.cat([self.denoiser.encode([text]) for text in texts])

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the steps of an epoch; each draws from the epoch's generator when it is due."""
        method = self.method
        kept = method.anchor_weight > 0
        return [
            Step(
                loss=lambda: self.loss(generator),
                pictures=method.batch * (2 if kept else 1),
                forwards=method.batch if method.learnt is LearntFrom.MODEL else 0,
            )
            for _ in range(method.steps)
        ]

    def loss(self, generator: torch.Generator) -> Tensor:
        """Return how far the target's prompt is from the anchor's, and what the anchor's own pictures cost
        where that has a weight.
        """
        picked = torch.randint(len(self.latents), (self.method.batch,), generator=generator)
        state = noised(self.denoiser, self.latents[picked], generator)
        rows = [self.places[int(i)] for i in picked]
        loss = self.ablated(state, rows)
        if self.method.anchor_weight > 0:
            loss = loss + self.method.anchor_weight * self.kept(state, rows)
        return loss

    def ablated(self, state: Noised, rows: Sequence[int]) -> Tensor:
        """Return the mean squared distance of what is said under the target's prompts from what should be."""
        said = self.denoiser.predict(state.latents, state.at, self._context(self.named, self.own, rows))
        return F.mse_loss(said.float(), self.wanted(state, rows).float())

    @torch.no_grad()
    def wanted(self, state: Noised, rows: Sequence[int]) -> Tensor:
        """Return what should be said: what the anchor's prompts give, or the noise itself."""
        if self.method.learnt is LearntFrom.NOISE:
            return state.target
        with self.weights.unedited(self.method.anchor_by is SampledBy.TEACHER):
            context = self._context(self.anchor, self.instead, rows)
            return self.denoiser.predict(state.latents, state.at, context)

    def kept(self, state: Noised, rows: Sequence[int]) -> Tensor:
        """Return the denoising loss of the anchor's pictures under their own prompts."""
        said = self.denoiser.predict(state.latents, state.at, self._context(self.anchor, self.instead, rows))
        return F.mse_loss(said.float(), state.target.float())

    def _context(self, known: Context, texts: Sequence[str], rows: Sequence[int]) -> Context:
        """Return the contexts of some prompts, encoded again where the encoders train."""
        return self._encode([texts[i] for i in rows]) if self.encoded else known.rows(list(rows))

    def _word_ids(self) -> Tensor:
        """Return the tokens of the target's names, whose rows of the embedding alone train."""
        tokenizer = self.denoiser.pipeline.tokenizer  # SD3's second one has the same ids
        found = [tokenizer(n, add_special_tokens=False).input_ids for n in names_of(self.lab.sets)]
        return torch.tensor(sorted({i for ids in found for i in ids}))

    def before_step(self, params: Named) -> None:
        """Let no row of an embedding change but those of the target's words."""
        if self.words is None:
            return
        for parameter in params.values():
            gradient = parameter.grad
            if gradient is not None:
                own = gradient[self.words].clone()
                gradient.zero_()[self.words] = own

    def after_step(self, params: Named, optimizer: torch.optim.Optimizer) -> None:
        """Take back what weight decay did to the other rows."""
        if self.words is None:
            return
        for name, parameter in params.items():
            own = parameter[self.words].clone()
            parameter.copy_(self.weights.base[name])
            parameter[self.words] = own
