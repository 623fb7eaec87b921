"""Scissorhands' first part: which weights matter most to the target, and new ones in their place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from razor_cli.errors import ConfigError, RunError
from razor_cli.families.diffusion.groups import FULL, UP_SELFATTN, XATTN, group_names
from razor_cli.methods.diffusion.choices import Reinit

if TYPE_CHECKING:
    from razor_cli.contract.family import Named
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.relearning import Lessons
    from razor_cli.methods.diffusion.shs_settings import ShsSettings

BINS, ROUNDS = 4096, 4  # of the search for a quantile: each round divides the interval by the bins
AT_ONCE = 1 << 22  # values counted at once: counts are exact in fp32 up to four times as many


@dataclass(frozen=True, kw_only=True)
class Trimmed:
    """New values of the tensors in which weights were drawn anew, and how many of them and of all were."""

    values: Named
    drawn: int
    of: int
    marked: int  # that matter most, wherever they are

    def told(self) -> str:
        """Return a note on how many weights were drawn anew."""
        return f"{self.drawn} weights drawn anew, of {self.marked} in {self.of} that matter most"


def trim(lessons: Lessons, method: ShsSettings) -> Trimmed:
    """Return new values for the weights of the group that lie above the quantile of the whole net by the sum
    of every batch's |gradient| times |weight|. Raises RunError where none lies above it.
    """
    family = cast("Diffusion", lessons.lab.family)
    names, chosen = family.groups(FULL), reinit_names(family, method.reinit_group)
    if missing := sorted(set(chosen) - set(method.trained(family))):
        raise ConfigError(
            f"method.reinit_group={method.reinit_group}: what is drawn anew has to train",
            allowed=f"a method.group that holds {missing[0]}",
            found=f"method.group={method.group}",
            fix=f"method.group={FULL}",
        )
    live = dict(family.module.named_parameters())
    gradients = lessons.summed_gradient(names, method.trim_pictures, method.trim_guidance, sizes=True)
    scores = {n: (g * live[n].detach()).abs() for n, g in gradients.items()}
    bound = quantile(list(scores.values()), method.sparsity)
    generator, values, drawn = lessons.lab.generator(), dict[str, Tensor](), 0
    for name in chosen:
        marked = scores[name] > bound
        if not bool(marked.any()) or _scales(name, live[name]):
            continue
        values[name] = torch.where(
            marked, fresh(live[name], method.reinit_std, generator), live[name].detach()
        )
        drawn += int(marked.sum())
    count = sum(int((s > bound).sum()) for s in scores.values())
    if not count and method.sparsity < 1:
        raise RunError(
            "no weight matters more to the target than others: all gradients on its pictures are 0 or alike",
            found=f"the largest score, and the bound of method.sparsity={method.sparsity:g}, are {bound:g}",
            fix="a smaller method.sparsity; with a bound of 0 other pictures of the target",
        )
    return Trimmed(values=values, drawn=drawn, marked=count, of=sum(s.numel() for s in scores.values()))


def reinit_names(family: Diffusion, which: Reinit) -> list[str]:
    """Return the parameters in which weights are drawn anew."""
    up = UP_SELFATTN if UP_SELFATTN in group_names(family.denoiser.kind) else XATTN
    return family.groups({Reinit.ATTN2: XATTN, Reinit.UP_ATTN1: up, Reinit.ALL: FULL}[which])


def _scales(name: str, weight: Tensor) -> bool:
    """Tell whether a parameter holds the scales of a norm, of which none is drawn anew: they begin as 1, and
    0 would switch channels off.
    """
    return weight.ndim < 2 and not name.endswith("bias")


def fresh(like: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Return a tensor of that shape, normal and cut to [-2, 2]; of a bias zeros."""
    if like.ndim < 2:
        return torch.zeros_like(like)
    found = torch.empty(like.shape)
    torch.nn.init.trunc_normal_(found, std=std, generator=generator)
    return found.to(like)


def quantile(parts: Collection[Tensor], share: float) -> float:
    """Return a bound below or at which lies that share of all values (none below 0), by histograms of ever
    smaller intervals: two billion values are too many to sort.
    """
    wanted = share * sum(p.numel() for p in parts)
    low, high = 0.0, max(float(p.max()) for p in parts)
    below = 0.0
    for _ in range(ROUNDS):
        if not low < high:
            break
        counts = sum(
            (
                torch.histc(piece, bins=BINS, min=low, max=high).double().cpu()
                for part in parts
                for piece in part.reshape(-1).split(AT_ONCE)
            ),
            torch.zeros(BINS, dtype=torch.float64),
        )
        reached = below + counts.cumsum(0)
        place = min(int(torch.searchsorted(reached, torch.tensor(wanted, dtype=torch.float64))), BINS - 1)
        width = (high - low) / BINS
        below = float(reached[place] - counts[place])
        low, high = low + place * width, low + (place + 1) * width
    return high


def projected(
    gradient: Mapping[str, Tensor], memory: Mapping[str, Tensor], margin: float, eps: float
) -> Named:
    """Return a gradient that does not turn against the memory: g + v m with the v >= margin that solves GEM's
    quadratic programme, v = max(margin, -<g, m> / (<m, m> + eps)); g itself where they agree.
    """
    dot = _dot(gradient, memory)
    if dot >= 0:
        return dict(gradient)
    share = max(margin, -dot / (_dot(memory, memory) + eps))
    return {n: g + share * memory[n] for n, g in gradient.items()}


def _dot(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return sum(float((g * other[n]).sum(dtype=torch.float64)) for n, g in one.items())
