"""What a change does while a pipeline draws, by what each prompt says.

A denoiser holds such actors in a list. Each marks the contexts of prompts when these are encoded, and is
asked again whenever the net reads them: it may put other contexts in their place, as a picture comes along,
and may hold something for as long as the net answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from razor_cli.families.diffusion.context import Context

CALLBACK, SEEN = "callback_on_step_end", "callback_on_step_end_tensor_inputs"  # arguments of a pipeline


class Host(Protocol):
    """What is needed here of a denoiser."""

    pipeline: Any
    acting: list[Actor]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """How far some pictures are: the share of their steps that is done [n], and for the net their latents and
    how much noise is in them [n], where they are known.
    """

    done: Tensor
    latents: Tensor | None = None
    at: Tensor | None = None
    step: int = 0  # number of the step that comes
    steps: int = 1


class Actor(Protocol):
    """One change at run time; `denoiser` is the Denoiser whose net it acts in."""

    @property
    def label(self) -> str:
        """Return everything that decides what it does: part of the name of every picture that it helped
        draw.
        """
        ...

    @property
    def alone(self) -> bool:
        """Tell whether the net must draw one batch at a time."""
        ...

    def present(self, denoiser: Any) -> AbstractContextManager[None]:
        """Be in the net, for as long as the change is held."""
        ...

    def marked(self, denoiser: Any, prompts: Sequence[str], context: Context) -> Tensor:
        """Return what it needs to know of each prompt [n, k]."""
        ...

    def rewritten(self, denoiser: Any, context: Context, marks: Tensor, moment: Moment) -> Context:
        """Return the contexts that the net reads in the place of these."""
        ...

    def during(self, marks: Tensor) -> AbstractContextManager[None]:
        """Hold something while the net answers to contexts with these marks, or to twice as many."""
        ...

    def idle(self, marks: Tensor) -> bool:
        """Tell whether it does nothing, to the bit, to pictures whose contexts all have these marks."""
        ...


@contextmanager
def present(denoiser: Host, actor: Actor) -> Iterator[None]:
    """Let an actor take part in whatever is encoded and drawn."""
    with actor.present(denoiser):
        denoiser.acting.append(actor)
        try:
            yield
        finally:
            denoiser.acting.pop()  # changes nest


def marked(denoiser: Host, prompts: Sequence[str], context: Context) -> Context:
    """Return contexts with the marks of every actor."""
    found = tuple(a.marked(denoiser, prompts, context) for a in denoiser.acting)
    return replace(context, marks=found)


def _marks_of(denoiser: Host, context: Context) -> Sequence[Tensor]:
    if len(context.marks) != len(denoiser.acting):
        raise RuntimeError("these contexts were encoded before a change at run time was held")
    return context.marks


def rewritten(denoiser: Host, context: Context, moment: Moment) -> Context:
    """Return the contexts that the net reads at this moment."""
    found = context
    for actor, marks in zip(denoiser.acting, _marks_of(denoiser, context), strict=True):
        found = actor.rewritten(denoiser, found, marks, moment)
    return found


def during(denoiser: Host, context: Context) -> ExitStack:
    """Hold what every actor holds while the net answers to these contexts."""
    stack = ExitStack()
    for actor, marks in zip(denoiser.acting, _marks_of(denoiser, context), strict=True):
        stack.enter_context(actor.during(marks))
    return stack


def idle(denoiser: Host, context: Context) -> bool:
    """Tell whether no actor does anything to the pictures of these contexts."""
    return all(a.idle(m) for a, m in zip(denoiser.acting, _marks_of(denoiser, context), strict=True))


def shares_done(denoiser: Host, at: Tensor) -> Tensor:
    """Return how far pictures are that have so much noise in them, were steps evenly spread [n]: those of a
    flow before the scheduler shifts them.
    """
    if not hasattr(denoiser.pipeline.scheduler, "alphas_cumprod"):
        shift = float(denoiser.pipeline.scheduler.config.shift)
        return 1 - at.float() / (shift - (shift - 1) * at.float())
    return 1 - at.float() / float(denoiser.pipeline.scheduler.config.num_train_timesteps)


def stepping(denoiser: Host, context: Context) -> dict[str, Any]:
    """Return the arguments of a pipeline's call that let actors see every step of these pictures, none where
    nothing acts. diffusers calls back at the end of a step, with what the next one reads.
    """
    if not denoiser.acting:
        return {}
    count = len(context)

    def after(pipeline: Any, number: int, _: Any, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
        times = pipeline.scheduler.timesteps
        if number + 1 >= len(times):
            return {}
        latents, at = held["latents"], times[number + 1]
        if hasattr(pipeline.scheduler, "scale_model_input"):
            latents = pipeline.scheduler.scale_model_input(latents, at)
        flow = not hasattr(pipeline.scheduler, "alphas_cumprod")
        said = at / pipeline.scheduler.config.num_train_timesteps if flow else at
        moment = Moment(
            done=torch.full((count,), (number + 1) / len(times)),
            latents=latents,
            at=said.expand(count),
            step=number + 1,
            steps=len(times),
        )
        now = rewritten(denoiser, context, moment)
        found = {"prompt_embeds": torch.cat([held["prompt_embeds"][:-count], now.tokens])}
        if now.pooled is not None:
            found["pooled_prompt_embeds"] = torch.cat([held["pooled_prompt_embeds"][:-count], now.pooled])
        return found

    names = ["latents", "prompt_embeds", *(["pooled_prompt_embeds"] if context.pooled is not None else [])]
    return {CALLBACK: after, SEEN: names}


def called_both(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a pipeline's call with which the callbacks of both are called at the end of a step:
    first the other one, whose latents the own one sees. None where only one has any.
    """
    first, then = other.get(CALLBACK), own.get(CALLBACK)
    if first is None or then is None:
        return {k: v for k, v in own.items() if k in (CALLBACK, SEEN)} if then is not None else {}

    def after(pipeline: Any, number: int, at: Any, held: Mapping[str, Any]) -> dict[str, Any]:
        changed = first(pipeline, number, at, dict(held)) or {}
        return {**changed, **then(pipeline, number, at, {**held, **changed})}

    seen = getattr(first, "tensor_inputs", None) or other.get(SEEN) or ["latents"]
    names = dict.fromkeys([*seen, *own[SEEN]])
    return {CALLBACK: after, SEEN: list(names)}
