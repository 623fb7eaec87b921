"""Lessons from pictures: what shows the target is learnt as something else, what stays is learnt as it is.

Two outputs of a net at the same latents are compared, so it holds for noise, velocity and flow alike.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from razor_cli.errors import RunError
from razor_cli.families.diffusion.naming import names_of, put
from razor_cli.methods.diffusion.choices import StandIn
from razor_cli.methods.diffusion.noised import Pictures, Prompts, error, said, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from razor_cli.contract.family import Named
    from razor_cli.data.shots import DrawnSets
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.context import Context
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.relearn_settings import Relearned


def in_place(captions: Sequence[str], sets: DrawnSets, anchor: str | None) -> list[str]:
    """Return what stands in each caption's place: the caption with a word for every name that goes, or the
    anchor that the sets have for it, or for all.
    """
    if anchor is not None:
        return [put(c, names_of(sets), anchor) for c in captions]
    known = dict(zip(sets.target_prompts, sets.anchors, strict=True))
    return [known.get(c, sets.anchor) for c in captions]


class Lessons:
    """The pictures of a run and the prompts they are taught under."""

    def __init__(self, lab: Lab, method: Relearned) -> None:
        self.lab, self.method = lab, method
        self.denoiser = cast("Diffusion", lab.family).denoiser
        self.forget, self.retain = Pictures(lab, lab.sets.forget), Pictures(lab, lab.sets.retain)
        own = self.forget.captions
        self.own = own if method.erase_from is None else (method.erase_from,) * len(own)
        self.others = in_place(own, lab.sets, method.anchor)
        self.prompts = Prompts(self.denoiser)

    def batches(self, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        """Return the rows of forget pictures and of as many retain pictures for each step of an epoch."""
        return walked(self.method, len(self.forget), len(self.retain), generator)

    def relabelled(self, index: Tensor, beside: Tensor, generator: torch.Generator) -> Tensor:
        """Return how far what the net says of forget pictures under their captions is from what it says of
        them, as it is now, under what stands in their place; `beside` are retain pictures.
        """
        batch = self.forget.noised(index, generator)
        with torch.no_grad():
            wanted = said(self.denoiser, batch, self.prompts.of(self.instead(index, beside)))
        return error(said(self.denoiser, batch, self.named(index)), wanted)

    def instead(self, index: Tensor, beside: Tensor) -> list[str]:
        """Return what forget pictures come to be called."""
        if self.method.stands_in is StandIn.RETAIN:
            return [self.retain.captions[i] for i in beside.tolist()]
        return [self.others[i] for i in index.tolist()]

    def named(self, index: Tensor) -> Context:
        """Return the contexts of what forget pictures are unlearnt under."""
        return self.prompts.of([self.own[i] for i in index.tolist()])

    def kept(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return the denoising loss of retain pictures under their captions."""
        batch = self.retain.noised(index, generator)
        context = self.prompts.of([self.retain.captions[i] for i in index.tolist()])
        return error(said(self.denoiser, batch, context), batch.target)

    def shown(self, index: Tensor, generator: torch.Generator, guidance: float = 0.0) -> Tensor:
        """Return the denoising loss of forget pictures under what they are unlearnt under, of what the net
        says with guidance where there is some: (1 + g) e(p) - g e(no words).
        """
        batch = self.forget.noised(index, generator)
        found = said(self.denoiser, batch, self.named(index))
        if guidance:
            empty = said(self.denoiser, batch, self.prompts.of([""]).expand(len(batch)))
            found = (1 + guidance) * found - guidance * empty
        return error(found, batch.target)

    def summed_gradient(
        self, names: Sequence[str], count: int | None, guidance: float, *, sizes: bool = False
    ) -> Named:
        """Return the gradient of the sum of `shown` over the forget pictures (the first `count` of them), at
        the weights as they are; with `sizes` the sum of each batch's |gradient|.
        """
        rows, generator = torch.arange(len(self.forget))[:count], self.lab.generator()

        def values() -> Iterator[Tensor]:
            for index in rows.split(self.method.batch):
                yield self.shown(index, generator, guidance) * len(index)
                self.lab.tick(len(index) * (2 if guidance else 1), len(index))
                self.lab.say(f"gradients: {int(index[-1]) + 1} of {len(rows)} pictures")

        return accumulated(self.lab, names, values(), sizes=sizes)


def walked(
    method: Relearned, forget: int, retain: int, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """Return row numbers of so many forget and retain pictures in batches, in a drawn order, or always the
    first of them.
    """
    count = forget if method.pictures is None else method.pictures
    if method.first_batch:
        rows = [torch.arange(count) % method.batch % n for n in (forget, retain)]
    else:
        rows = [walk(n, count, generator) for n in (forget, retain)]
    return list(zip(*(r.split(method.batch) for r in rows), strict=True))


def accumulated(lab: Lab, names: Sequence[str], values: Iterator[Tensor], *, sizes: bool = False) -> Named:
    """Return the sum of the gradients of values, or of their sizes, each of which is made when it is due, at
    the weights as they are. Raises RunError where one is not finite.
    """
    started, total = time.perf_counter(), dict[str, Tensor]()
    with cast("Diffusion", lab.family).denoiser.asking(names) as live, torch.enable_grad():
        for value in values:
            found = torch.autograd.grad(value, [live[n] for n in names], allow_unused=True)
            for name, gradient in zip(names, found, strict=True):
                if gradient is not None:
                    part = gradient.float().abs() if sizes else gradient.float()
                    total[name] = total[name].add_(part) if name in total else part.clone()
    lab.cost.gradient_seconds += time.perf_counter() - started
    if bad := [n for n, g in total.items() if not bool(g.isfinite().all())]:
        raise RunError(
            f"gradients of {bad[0]} are not numbers, so nothing says which weights matter most",
            found=f"NaN or infinity in {live[bad[0]].dtype} in {len(bad)} of {len(names)} tensors",
            fix="model.dtype=float32; with it, a model whose weights and pictures are finite",
        )
    return {n: total.get(n, torch.zeros_like(live[n], dtype=torch.float32)) for n in names}
