"""Textual inversion (Gal et al. 2023): tokens that are learnt from pictures, in the table of each text
encoder.

No tokenizer and no table changes. A mark that no prompt holds stands where the tokens are, and a hook puts
what is learnt in the place of its rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.contract.family import Say, Tick
from razor_cli.errors import ConfigError, RunError
from razor_cli.families.diffusion.naming import put
from razor_cli.families.diffusion.noised import noised
from razor_cli.families.diffusion.segments import segments

if TYPE_CHECKING:
    from razor_cli.families.diffusion.denoiser import Denoiser

MARKS = ("!", "*", "#", "^")
DECAY = 0.1  # of the published code
PULL = 100  # likewise: a step moves the length of a token this often its learning rate towards a word's


class Inverting(Protocol):
    """The settings that tokens are learnt with."""

    @property
    def ti_tokens(self) -> int:
        """Return how many tokens stand for the target."""
        ...

    @property
    def ti_steps(self) -> int:
        """Return the number of steps."""
        ...

    @property
    def ti_batch(self) -> int:
        """Return how many pictures a step sees."""
        ...

    @property
    def ti_lr(self) -> float:
        """Return the learning rate."""
        ...

    @property
    def ti_random(self) -> float | None:
        """Return the deviation of tokens beyond the words, None: that of the table."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wording:
    """Where tokens stand: the prompts to learn under and further ones that they must fit, the names whose
    place they take, and which keys of the settings errors name.
    """

    texts: Sequence[str]
    names: Sequence[str]
    also: Sequence[str] = ()
    prompts: str = "method.prompts"
    count: str = "method.ti_tokens"
    rate: str = "method.ti_lr"
    way_out: str = "fewer tokens, a shorter template in method.prompts, or method.ti=none"

    def mark(self) -> str:
        """Return a mark that no prompt holds. Raises ConfigError where there is none."""
        free = [m for m in MARKS if not any(m in text for text in (*self.texts, *self.also))]
        if not free:
            raise ConfigError(
                f"{self.prompts}: every mark that could stand for the learnt tokens is in a prompt",
                allowed=f"prompts without one of {' '.join(MARKS)}",
            )
        return free[0]


class Tokens:
    """Learnt tokens in the place of the target's names; they begin as the words `first`, the target's name
    where nothing else is said.
    """

    def __init__(
        self, denoiser: Denoiser, place: Wording, method: Inverting, seed: int, first: str | None = None
    ) -> None:
        self.denoiser, self.place, self.seed = denoiser, place, seed
        self.word = " ".join([place.mark()] * method.ti_tokens)
        self.texts = [self.instead(text) for text in place.texts]
        self._ids: dict[str, list[int]] = {}
        self.vectors: dict[str, Tensor] = {}
        self.lengths: dict[str, float] = {}
        generator = torch.Generator().manual_seed(seed)
        for name in denoiser.encoders:
            self._ids[name] = self._words(name, self.word)
            self.lengths[name] = float(self._table(name).norm(dim=1).mean())
            own = self._words(name, place.names[0] if first is None else first)
            self.vectors[name] = self._first(self._table(name), own, len(self._ids[name]), method, generator)
        self._check()

    def instead(self, prompt: str) -> str:
        """Return a prompt with the tokens in the place of the names. They stand apart from what follows:
        tokenizers join a mark with a full stop.
        """
        text, own = put(prompt, self.place.names, self.word), re.escape(self.word)
        apart = re.sub(rf"(?<=\S){own}", lambda _: f" {self.word}", text)
        return re.sub(rf"{own}(?=\S)", lambda _: f"{self.word} ", apart)

    def _words(self, name: str, text: str) -> list[int]:
        tokenizer = getattr(self.denoiser.pipeline, name.replace("text_encoder", "tokenizer"))
        found: list[int] = tokenizer(text, add_special_tokens=False).input_ids
        return found

    def _table(self, name: str) -> Tensor:
        found: Tensor = getattr(self.denoiser.pipeline, name).get_input_embeddings().weight.detach()
        return found

    @staticmethod
    def _first(
        table: Tensor, own: Sequence[int], count: int, method: Inverting, generator: torch.Generator
    ) -> Tensor:
        """Return what learning begins with, in fp32: words, and chance where there are fewer of them than
        tokens.
        """
        deviation = float(table.std()) if method.ti_random is None else method.ti_random
        found = deviation * torch.randn(count, table.shape[1], generator=generator).to(table.device)
        words = table[list(own)[:count]]
        found[: len(words)] = words
        return found.requires_grad_()

    def _check(self) -> None:
        """Raise ConfigError for a prompt too long to hold all tokens."""
        for text in (*self.texts, *map(self.instead, self.place.also)):
            for part in segments(self.denoiser, self._length()):
                if not part.every(text, [self.word]):
                    raise ConfigError(
                        f"{self.place.count}: a prompt is too long for the learnt tokens, or has none",
                        found=text,
                        fix=self.place.way_out,
                    )

    def _length(self) -> int:
        pipeline = self.denoiser.pipeline
        own = int(pipeline.tokenizer.model_max_length)
        return own + (self.denoiser.tail if getattr(pipeline, "text_encoder_3", None) is not None else 0)

    def shown(self, name: str) -> Tensor:
        """Return what an encoder reads in the place of the marks."""
        return self.vectors[name]

    @contextmanager
    def inserted(self) -> Iterator[None]:
        """Let the encoders read the learnt tokens where a prompt has the mark."""
        with ExitStack() as stack:
            for name in self.vectors:
                table = getattr(self.denoiser.pipeline, name).get_input_embeddings()
                stack.enter_context(table.register_forward_hook(self._hook(name)))
            yield

    def _hook(self, name: str) -> Any:
        wanted = self._ids[name]

        def insert(_: Any, given: tuple[Tensor, ...], found: Tensor) -> Tensor:
            rows = []
            for ids, row in zip(given[0].tolist(), found, strict=True):
                parts, at = list(row), 0
                while at + len(wanted) <= len(ids):
                    if ids[at : at + len(wanted)] == wanted:
                        parts[at : at + len(wanted)] = list(self.shown(name).to(row.dtype))
                        at += len(wanted)
                    else:
                        at += 1
                rows.append(torch.stack(parts))
            return torch.stack(rows)

        return insert

    def learn(self, latents: Tensor, method: Inverting, seed: int, *, tick: Tick, say: Say) -> None:
        """Learn the tokens: under prompts that hold them, the noise of the target's pictures is foretold."""
        held = list(self.vectors.values())
        optimizer = torch.optim.AdamW(held, lr=method.ti_lr, weight_decay=DECAY)
        generator = torch.Generator().manual_seed(seed)
        for step in range(method.ti_steps):
            with torch.enable_grad():
                loss = self.loss(latents, method.ti_batch, generator)
                gradients = torch.autograd.grad(loss, held, allow_unused=True)
            value = float(loss.detach())
            if not value < float("inf"):
                raise RunError(
                    f"{self.place.rate}: the loss became {value} in step {step + 1} of the inversion"
                )
            for vector, gradient in zip(held, gradients, strict=True):
                vector.grad = gradient
            optimizer.step()
            self.settle(latents, method)
            tick(method.ti_batch, method.ti_batch)
            say(f"learning tokens: step {step + 1} of {method.ti_steps}, loss {value:.4g}")
        for vector in held:
            vector.grad = None

    def loss(self, latents: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return the denoising loss of some pictures under prompts with the tokens."""
        picked = torch.randint(len(latents), (count,), generator=generator)
        spoken = torch.randint(len(self.texts), (count,), generator=generator)
        state = noised(self.denoiser, latents[picked], generator)
        with self.inserted():
            context = self.denoiser.encode([self.texts[int(i)] for i in spoken])
        said = self.denoiser.predict(state.latents, state.at, context)
        return F.mse_loss(said.float(), state.target.float())

    @torch.no_grad()
    def settle(self, _latents: Tensor, method: Inverting, /) -> None:
        """Move each token's length towards that of a word, after a step."""
        for name, vector in self.vectors.items():
            now = vector.norm(dim=1, keepdim=True).clamp_min(torch.finfo(vector.dtype).tiny)
            vector.mul_((now + min(1.0, PULL * method.ti_lr) * (self.lengths[name] - now)) / now)
