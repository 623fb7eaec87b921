"""FMN's steps: noise a picture of the target, and press down what its places give to the target's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from razor_cli.engine.objective import Objective, Step
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.attention import watching
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.segments import concept_rows
from razor_cli.methods.diffusion.choices import Inversion
from razor_cli.methods.diffusion.inversion import Tokens
from razor_cli.methods.diffusion.noised import noised
from razor_cli.methods.diffusion.wording import names_of, texts_of

if TYPE_CHECKING:
    from razor_cli.contract.family import Named
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.fmn_settings import FmnSettings


def attention_norm(seen: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Return the length of one vector of all probabilities [n, heads, places, L] at the marked rows [n, L]:
    no mean, so many layers count for more than few.
    """
    return torch.cat([p.masked_select(rows[:, None, None, :]) for p in seen]).float().norm()


class Steering(Objective):
    """One optimiser step for each noised picture of the target, or batch of them."""

    def __init__(self, lab: Lab, method: FmnSettings) -> None:
        self.lab, self.method = lab, method
        family = cast("Diffusion", lab.family)
        self.denoiser = family.denoiser
        self.encoded = any(n.partition(".")[0] in self.denoiser.encoders for n in method.trained(lab.family))
        self.latents = self._latents(family)
        self.texts, names = texts_of("prompts", method.prompts, lab.sets), names_of(lab.sets)
        self.tokens: Tokens | None = None
        if method.ti is Inversion.TOKENS:
            self.tokens = Tokens(self.denoiser, self.texts, names, method, lab.seed)
            self.tokens.learn(family.latents_of(lab.sets.forget), lab, method)
            self.texts, names = self.tokens.texts, [self.tokens.word]
        with torch.no_grad():
            self.contexts = self._encode(self.texts)
        length = self.contexts.tokens.shape[1]
        named = concept_rows(self.denoiser, self.texts, names, length)
        if missing := [t for t, own in zip(self.texts, named, strict=True) if not own.any()]:
            raise ConfigError(
                "method.prompts: a prompt does not hold the target's name, whose words are pressed down",
                found=missing[0],
                fix="method.prompts with {} for the name, and short ones: what is cut off is not seen",
            )
        self.rows = concept_rows(self.denoiser, self.texts, names, length, ends=method.use_pooler)

    def _latents(self, family: Diffusion) -> Tensor:
        if self.method.real_pictures:
            return family.latents_of(self.lab.sets.forget)
        return torch.zeros(1, *self.denoiser.shape)

    def _encode(self, texts: Sequence[str]) -> Context:
        with self._spoken():
            return Context.cat([self.denoiser.encode([text]) for text in texts])

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Let prompts hold the learnt tokens, where there are any."""
        if self.tokens is None:
            yield
            return
        with self.tokens.inserted():
            yield

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the steps of an epoch; each draws from the epoch's generator when it is due."""
        step = Step(loss=lambda: self.loss(generator), pictures=self.method.batch)
        return [step] * self.method.steps

    def loss(self, generator: torch.Generator) -> Tensor:
        """Return how much attention the target's words get on noised pictures of it."""
        count = self.method.batch
        picked = torch.randint(len(self.latents), (count,), generator=generator)
        spoken = torch.randint(len(self.texts), (count,), generator=generator)
        state = noised(self.denoiser, self.latents[picked], generator)
        context = self.contexts.rows(spoken)
        if self.encoded:
            context = self._encode([self.texts[int(i)] for i in spoken])
        seen: list[Tensor] = []
        with watching(self.denoiser, lambda _, found: seen.append(found)):
            self.denoiser.predict(state.latents, state.at, context)
        return attention_norm(seen, self.rows[spoken].to(self.denoiser.device))

    def before_step(self, params: Named) -> None:
        """Shorten the gradient to the longest that is allowed."""
        if self.method.clip is not None:
            torch.nn.utils.clip_grad_norm_(list(params.values()), self.method.clip)
