"""SPM's training: an adapter that says of the target what no words give, and of chance contexts what the net
says without it.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.family import Named
from razor_cli.engine.choices import Keep
from razor_cli.engine.search import Aim
from razor_cli.engine.train_keep import Choice
from razor_cli.engine.train_state import Progress, Shelf, generator_of, make_optimizer, state_key
from razor_cli.families.diffusion.choices import Matching
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.low_rank import DOWN, UP, LowRank, core_of
from razor_cli.families.diffusion.membrane import Membrane, fresh
from razor_cli.methods.diffusion.esd_erasure import guided_away
from razor_cli.methods.diffusion.partly_drawn import PartlyDrawn
from razor_cli.methods.diffusion.spm_settings import FIXED
from razor_cli.methods.diffusion.wording import names_of, paired_texts

if TYPE_CHECKING:
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.spm_settings import SpmSettings

LEAST, SPREAD = 0.8, 0.4  # lengths of chance contexts, as shares of the target's


def chance_like(target: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return chance vectors of the shape of a context [1, ...] and about as long, fewer near the target
    [count, ...], and their lengths in shares of the target's [count].
    """
    flat = target.flatten().float().cpu()
    found: list[Tensor] = []
    while len(found) < count:
        drawn = torch.randn(flat.shape, generator=generator)
        likeness = float(F.cosine_similarity(flat, drawn, dim=0))
        if float(torch.rand((), generator=generator)) < 1 - likeness:
            found.append(drawn / drawn.norm())
    shares = LEAST + SPREAD * torch.rand(count, generator=generator)
    rows = torch.stack(found) * (shares * flat.norm())[:, None]
    return rows.reshape(count, *target.shape[1:]).to(target), shares


class Leading:
    """What an adapter is trained on: partly drawn pictures of the target, and chance contexts beside it."""

    def __init__(self, lab: Lab, method: SpmSettings, membrane: Membrane) -> None:
        self.method, self.membrane = method, membrane
        self.denoiser = cast("Diffusion", lab.family).denoiser
        self.own, self.instead = paired_texts("prompts", method.prompts, method.anchor, lab.sets)
        with torch.no_grad():
            encoded = [
                Context.cat([self.denoiser.encode([t]) for t in ts]) for ts in (self.own, self.instead)
            ]
            self.empty = self.denoiser.encode([""])
        self.named, self.neutral = encoded
        self.drawing = PartlyDrawn(self.denoiser, method)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Return the loss of one step."""
        method, count = self.method, self.method.batch
        picked = torch.randint(len(self.named), (count,), generator=generator)
        named, neutral = self.named.rows(picked), self.neutral.rows(picked)
        with torch.no_grad(), self.membrane.at(1.0):
            latents, at = self.drawing.drawn(named, self.empty.expand(count), generator)
        loss = self.led(latents, at, named, neutral)
        if method.anchors and method.anchor_weight > 0:
            loss = loss + method.anchor_weight * self.kept(latents, at, named, generator)
        return loss

    def led(self, latents: Tensor, at: Tensor, named: Context, neutral: Context) -> Tensor:
        """Return how far the net with the adapter is from being guided away from the target."""
        with torch.no_grad(), self.membrane.at(0.0):
            nothing = self.denoiser.predict(latents, at, neutral)
            target = self.denoiser.predict(latents, at, named)
        with self.membrane.at(1.0):
            said = self.denoiser.predict(latents, at, named)
        return F.mse_loss(said.float(), guided_away(nothing, target, nothing, self.method.eta).float())

    def kept(self, latents: Tensor, at: Tensor, named: Context, generator: torch.Generator) -> Tensor:
        """Return what the adapter changes of the answers to chance contexts."""
        count = self.method.anchors
        contexts = [self.chance(named.rows([i]), generator) for i in range(len(named))]
        rows = torch.arange(len(latents)).repeat_interleave(count)
        seen, times, asked = latents[rows], at[rows.to(at.device)], Context.cat(contexts)
        with torch.no_grad(), self.membrane.at(0.0):
            before = self.denoiser.predict(seen, times, asked)
        with self.membrane.at(1.0):
            return F.mse_loss(self.denoiser.predict(seen, times, asked).float(), before.float())

    def chance(self, named: Context, generator: torch.Generator) -> Context:
        """Return chance contexts for one of the target; the vector of the whole prompt is as long, in shares
        of its own, as the rows are.
        """
        tokens, shares = chance_like(named.tokens, self.method.anchors, generator)
        if named.pooled is None:
            return Context(tokens)
        pooled, own = chance_like(named.pooled, self.method.anchors, generator)
        return Context(tokens, pooled * (shares / own)[:, None].to(pooled))


class _Run:
    """State of one training. The factors are no parameters of the model, so it keeps its own loop."""

    def __init__(self, lab: Lab, method: SpmSettings) -> None:
        self.lab, self.method = lab, method
        family = cast("Diffusion", lab.family)
        self.core, self.names = core_of(lab.family), names_of(lab.sets)
        first = fresh(family.denoiser, method.rank, lab.generator())
        self.params: Named = {}
        for name, (down, up) in first.items():
            self.params |= {f"{name}{DOWN}": down.requires_grad_(), f"{name}{UP}": up.requires_grad_()}
        self.factors = first
        self.membrane = Membrane(factors=first, alpha=method.alpha)
        self.leading = Leading(lab, method, self.membrane)
        self.optimizer = make_optimizer(self.params, method)
        self.choice = Choice(rule=Keep.LAST, aim=Aim.against({}, {}, {}, {}))
        self.shelf, self.progress = Shelf(lab.resume_dir, state_key(lab, method)), Progress(metrics={})

    def run(self) -> Edit:
        found = self.shelf.load(self.params, self.optimizer, self.choice, self.lab)
        if found:
            self.progress = found
            self.progress.notes.append(f"went on after epoch {found.epoch} of a run that was interrupted")
        denoiser = self.leading.denoiser
        with denoiser.asking(()), self.membrane.present(denoiser):
            while self.progress.epoch < self.method.epochs and not self.progress.ended:
                self._epoch(self.progress.epoch + 1)
        self.shelf.clear()
        return self._edit()

    def _epoch(self, number: int) -> None:
        started, generator, losses = time.perf_counter(), generator_of(self.lab.seed, number), list[float]()
        method, last = self.method, [v.detach().clone() for v in self.params.values()]
        for i in range(method.steps):
            losses.append(self._step((number - 1) * method.steps + i, generator))
            self.lab.say(f"epoch {number} of {method.epochs}: step {i + 1}, loss {losses[-1]:.4g}")
            if not math.isfinite(losses[-1]):
                self._refuse(number, f"the loss became {losses[-1]} in step {i + 1}", last)
                return
        seconds = time.perf_counter() - started
        self.lab.cost.gradient_seconds += seconds
        self.progress.log.append(
            Event(
                step=number,
                action="epoch",
                component="the adapter",
                kind="adapter",
                step_size=method.rate(number * method.steps - 1),
                seconds=seconds,
                note=f"loss {sum(losses) / len(losses):.6g}",
            )
        )
        self.progress.epoch = number
        if number < method.epochs:
            self.shelf.save(self.params, self.optimizer, self.choice, self.progress, self.lab)

    def _step(self, step: int, generator: torch.Generator) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.method.rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = self.leading.loss(generator)
        value = float(loss.detach())
        if math.isfinite(value):
            loss.backward()
            self.optimizer.step()
        m = self.method
        seen = m.batch * (1 + m.anchors)
        self.lab.tick(seen + m.batch * (m.sampler_steps + 2 + m.anchors), seen)
        return value

    def _refuse(self, number: int, why: str, before: list[Tensor]) -> None:
        """End with the factors of the epoch before."""
        with torch.no_grad():
            for parameter, value in zip(self.params.values(), before, strict=True):
                parameter.copy_(value)
        self.progress.log.append(Event(step=number, action="refuse", note=why))
        self.progress.notes.append(f"training ended in epoch {number}: {why}")
        self.progress.ended = True

    def _edit(self) -> Edit:
        method = self.method
        change = LowRank(
            core=self.core,
            factors={n: (down.detach(), up.detach()) for n, (down, up) in self.factors.items()},
            alpha=method.alpha,
            concepts=tuple(self.names),
            matching=method.matching,
        )
        numbers = sum(t.numel() for t in change.tensors().values())
        notes = [
            *self.progress.notes,
            f"an adapter of {numbers} numbers beside {len(change.factors)} layers, in full precision "
            "whatever the weights are quantized to; razor patch has no part in it",
        ]
        also = {}
        if method.matching is not Matching.FIXED:
            also[FIXED] = change.fixed()
            notes.append(f"state {FIXED}: all of it under every prompt, as plain diffusers loads the file")
        return Edit(change=change, also=also, log=self.progress.log, cost=self.lab.cost, notes=notes)


def trained(lab: Lab, method: SpmSettings) -> Edit:
    """Return the edit: an adapter, and beside it the state in which plain diffusers loads it."""
    return _Run(lab, method).run()
