"""What matrices that read a prompt are given: rows to erase, those that stand in their place, and rows to
keep, for each kind of input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.groups import TEXT_IN, XATTN_KV, group_names
from razor_cli.families.diffusion.segments import segments
from razor_cli.methods.diffusion.closed_form import ClosedForm
from razor_cli.methods.diffusion.token_rows import encoded, kept_rows, paired_rows
from razor_cli.methods.diffusion.wording import names_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from razor_cli.contract.family import Named
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.uce_settings import UceSettings

KEYS = ("to_k", "add_k_proj")
ENTERS_POOLED = ".text_embedder."  # in the name of the matrix that reads the vector of the whole prompt
TOKENS, POOLED = "tokens", "pooled"
LEAST_PRESERVE = 0.1  # of preserve_scale=null


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one kind of input: to erase, in their place [n, d] both, to keep [k, d], of so many prompts."""

    own: Tensor
    other: Tensor
    kept: Tensor
    prompts: int

    def instead_of(self, own: Tensor) -> Rows:
        """Return them with other rows to erase."""
        return replace(self, own=own)

    def with_more(self, rows: Rows) -> Rows:
        """Return them with more rows to erase, and what stands in their place."""
        own = torch.cat([self.own.double(), rows.own.double()])
        return replace(self, own=own, other=torch.cat([self.other, rows.other]))

    def form(self, method: UceSettings) -> ClosedForm:
        """Return the part of the solution that all matrices with this input share."""
        scale = method.preserve_scale
        if scale is None:
            scale = max(LEAST_PRESERVE, 1 / max(1, self.prompts))
        return ClosedForm(
            self.own,
            self.kept,
            lamb=method.lamb,
            erase_scale=method.erase_scale,
            preserve_scale=scale,
            solver=method.solver,
        )


Inputs = dict[str, Rows]  # kind of input -> its rows


def matrices(lab: Lab, with_keys: bool) -> list[str]:
    """Return the matrices that read a prompt: entries of the text, keys among them or not."""
    family = cast("Diffusion", lab.family)
    group = TEXT_IN if TEXT_IN in group_names(family.denoiser.kind) else XATTN_KV
    live = dict(family.module.named_parameters())
    names = [n for n in family.groups(group) if live[n].ndim == 2]
    return [n for n in names if with_keys or not any(k in n for k in KEYS)]


def inputs(
    method: UceSettings, lab: Lab, own: Sequence[str], instead: Sequence[str], keep: Sequence[str]
) -> Inputs:
    """Return the rows that prompts give, by kind of input; `instead` has one prompt for each of `own`."""
    first, other = encoded(lab, own), encoded(lab, instead)
    parts = segments(cast("Diffusion", lab.family).denoiser, first.tokens.shape[1])
    word, device = method.anchor or "", lab.family.device
    pairs = {TOKENS: paired_rows(first, other, parts, method.rows, names_of(lab.sets), word)}
    if first.pooled is not None and other.pooled is not None:
        pairs[POOLED] = first.pooled, other.pooled
    kept: Named = {kind: torch.zeros(0, rows.shape[1]) for kind, (rows, _) in pairs.items()}
    if keep:
        found = encoded(lab, keep)
        kept[TOKENS] = kept_rows(found, parts, method.preserve_rows)
        if found.pooled is not None:
            kept[POOLED] = found.pooled
    return {
        kind: Rows(own=a.to(device), other=b.to(device), kept=kept[kind].to(device), prompts=len(keep))
        for kind, (a, b) in pairs.items()
    }


def input_of(name: str, weight: Tensor, rows: Inputs) -> str:
    """Return the kind of a matrix's input. Raises ConfigError for a matrix that reads something else."""
    kind = POOLED if ENTERS_POOLED in name else TOKENS
    width = rows[kind].other.shape[1]
    if weight.shape[1] != width:
        raise ConfigError(
            f"method: {name} does not read a prompt's context as it is",
            allowed=f"a matrix with {width} columns",
            found=f"{weight.shape[1]} columns",
        )
    return kind
