"""Low-rank matrices beside the layers of a net, which let a prompt pass as far as it is not about what they
erase (semi-permeable membranes; Lyu et al., CVPR 2024).

A layer puts out W x + m (alpha / r) U D x. Where a prompt decides m, as the published inference has it, this
program has to be there (facilitated transport); plain diffusers loads the file as a LoRA, with m = 1.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.choices import Matching
from razor_cli.families.diffusion.groups import joint_blocks
from razor_cli.families.diffusion.kinds import Kind

if TYPE_CHECKING:
    from razor_cli.families.diffusion.acting import Moment
    from razor_cli.families.diffusion.context import Context
    from razor_cli.families.diffusion.denoiser import Denoiser

Factors = Mapping[str, tuple[Tensor, Tensor]]  # layer -> D [r, in, ...] and U [out, r, ...]


def layers_of(denoiser: Denoiser) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers that have membranes, by their names in the net: all linear and convolutional ones
    inside the transformers of a UNet, all linear ones in the blocks of SD3's.
    """
    found: dict[str, nn.Linear | nn.Conv2d] = {}
    for name, part in _parts(denoiser):
        for inner, module in part.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                found[f"{name}.{inner}"] = module
    return found


def _parts(denoiser: Denoiser) -> Iterator[tuple[str, nn.Module]]:
    if denoiser.kind is Kind.SD3:
        yield from joint_blocks(denoiser.core)
        return
    from diffusers import Transformer2DModel

    yield from ((n, m) for n, m in denoiser.core.named_modules() if isinstance(m, Transformer2DModel))


def fresh(denoiser: Denoiser, rank: int, generator: torch.Generator) -> dict[str, tuple[Tensor, Tensor]]:
    """Return factors that change nothing yet: D as a layer of its own would begin, U zero."""
    found = {}
    for name, layer in layers_of(denoiser).items():
        out, inner, *window = layer.weight.shape
        own = min(rank, out, inner)
        bound = (
            1 / (inner * int(torch.tensor(window).prod() if window else 1)) ** 0.5
        )  # Kaiming, a = 5 ** 0.5
        down = (2 * torch.rand(own, inner, *window, generator=generator) - 1) * bound
        up = torch.zeros(out, own, *[1] * len(window))
        found[name] = (down.to(denoiser.device), up.to(denoiser.device))
    return found


def product(down: Tensor, up: Tensor) -> Tensor:
    """Return U D in the shape of the layer's weight."""
    return (up.flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class Membrane:
    """Takes part in a net's layers, for each prompt as far as it is about one of the `concepts`."""

    factors: Factors
    alpha: float = 1.0
    concepts: tuple[str, ...] = ()
    matching: Matching = Matching.COSINE_OR_TOKENS
    digest: str = ""  # of the factors: what pictures that they helped draw are known by
    _now: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    @property
    def label(self) -> str:
        """Return all that decides what it does."""
        return f"spm {self.digest} {self.alpha} {self.concepts} {self.matching}"

    @property
    def alone(self) -> bool:
        """Tell that batches may be drawn beside each other."""
        return False

    @contextmanager
    def present(self, denoiser: Denoiser) -> Iterator[None]:
        """Be in the layers. Raises WeightsError for a net that does not have them."""
        layers = layers_of(denoiser)
        for name, (down, up) in self.factors.items():
            own = layers.get(name)
            if own is None or (len(up), *down.shape[1:]) != tuple(own.weight.shape):
                raise WeightsError(
                    f"the adapter belongs to another net: {name}",
                    allowed="no such layer" if own is None else str(tuple(own.weight.shape)),
                    found=f"({len(up)}, …, {', '.join(map(str, down.shape[1:]))})",
                    fix="load it into the model that it was made for",
                )
        with ExitStack() as stack:
            for name, (down, up) in self.factors.items():
                layer = layers[name]
                here = layer.weight.device  # a file is read into the memory of the CPU
                hook = self._hook(layer, down.to(here), up.to(here))
                stack.enter_context(layer.register_forward_hook(hook))
            yield

    def _hook(self, layer: nn.Linear | nn.Conv2d, down: Tensor, up: Tensor) -> Any:
        scale = self.alpha / len(down)

        def add(_: Any, given: tuple[Tensor, ...], found: Tensor) -> Tensor:
            strength: Tensor | None = getattr(self._now, "strength", None)
            if strength is None:
                raise RuntimeError("the net was asked past the denoiser: no prompt says how much passes")
            x, one, other = given[0], down.to(given[0].dtype), up.to(given[0].dtype)
            if isinstance(layer, nn.Conv2d):
                window: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding}
                more = F.conv2d(F.conv2d(x, one, dilation=layer.dilation, **window), other)
            else:
                more = F.linear(F.linear(x, one), other)
            rows = strength.to(more).repeat(len(more) // len(strength))  # with guidance the batch is twice
            return found + scale * more * rows.reshape(-1, *[1] * (more.ndim - 1))

        return add

    @contextmanager
    def at(self, strength: Tensor | float) -> Iterator[None]:
        """Let so much of it take part in what this thread asks the net, for each row or for all."""
        before = getattr(self._now, "strength", None)
        self._now.strength = torch.as_tensor(strength, dtype=torch.float32).reshape(-1)
        try:
            yield
        finally:
            self._now.strength = before

    def marked(self, denoiser: Denoiser, prompts: Sequence[str], context: Context) -> Tensor:
        """Return how much of it takes part under each prompt [n, 1]."""
        if self.matching is Matching.FIXED:
            return torch.ones(len(prompts), 1, device=context.tokens.device)
        own = denoiser.encode_plain(self.concepts).tokens.flatten(1).float()
        found = []
        if self.matching is not Matching.TOKENS:
            every = context.tokens.detach().flatten(1).float()
            found.append(F.cosine_similarity(every[:, None], own[None], dim=2).amax(dim=1))
        if self.matching is not Matching.COSINE:
            found.append(torch.tensor([shared_tokens(denoiser, p, self.concepts) for p in prompts]).to(own))
        return torch.stack(found).amax(dim=0)[:, None]

    def rewritten(self, denoiser: Denoiser, context: Context, marks: Tensor, moment: Moment) -> Context:
        """Return the contexts as they are."""
        return context

    def idle(self, marks: Tensor) -> bool:
        """Tell that a little of it takes part under any prompt."""
        return False

    @contextmanager
    def during(self, marks: Tensor) -> Iterator[None]:
        """Let as much of it take part as the marks say."""
        with self.at(marks[:, 0]):
            yield


def shared_tokens(denoiser: Denoiser, prompt: str, concepts: Sequence[str]) -> float:
    """Return the largest share of a concept's tokens that a prompt has."""
    tokenizer = denoiser.pipeline.tokenizer

    def tokens(text: str) -> set[int]:
        ids = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length).input_ids
        return set(ids) - set(tokenizer.all_special_ids)

    own = tokens(prompt)
    return max((len(own & t) / len(t) for t in map(tokens, concepts) if t), default=0.0)
