"""A membrane as a change of a model, and as a file that plain diffusers loads too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from razor_cli.contract.family import ADAPTER, Family
from razor_cli.engine.changes import Weights
from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.acting import present
from razor_cli.families.diffusion.choices import Matching
from razor_cli.families.diffusion.denoiser import CORES
from razor_cli.families.diffusion.membrane import Factors, Membrane, layers_of, product

if TYPE_CHECKING:
    from razor_cli.families.diffusion.opened import OpenedPipeline

DOWN, UP = ".lora_A.weight", ".lora_B.weight"  # as peft calls them
OF_DIFFUSERS, OWN = "lora_adapter_metadata", "membrane"  # keys of the file's header


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRank:
    """A membrane that is held in a model. `core` is the net's name in the pipeline."""

    kind: ClassVar[str] = ADAPTER

    core: str
    factors: Factors
    alpha: float
    concepts: tuple[str, ...]
    matching: Matching

    @cached_property
    def membrane(self) -> Membrane:
        """Return what takes part in the net."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return Membrane(
            factors=self.factors,
            alpha=self.alpha,
            concepts=self.concepts,
            matching=self.matching,
            digest=digest.hexdigest()[:16],
        )

    @contextmanager
    def held(self, family: Family) -> Iterator[None]:
        """Let the membrane take part in whatever the model draws."""
        with present(cast("OpenedPipeline", family).denoiser, self.membrane):
            yield

    def random_like(self, family: Family, seed: int) -> LowRank:
        """Return a membrane of chance, whose matrices are as large in every layer and pass as much."""
        generator, found = torch.Generator().manual_seed(seed), {}
        for name, (down, up) in self.factors.items():
            one, other = (torch.randn(t.shape, generator=generator).to(t) for t in (down, up))
            size = product(one, other).norm()
            found[name] = (one, other * (product(down, up).norm() / size if size > 0 else 0.0))
        return replace(self, factors=found)

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the factors by the names that a LoRA's have."""
        found = {}
        for name, (down, up) in self.factors.items():
            found[f"{self.core}.{name}{DOWN}"] = down
            found[f"{self.core}.{name}{UP}"] = up
        return found

    @property
    def header(self) -> Mapping[str, str]:
        """Return what the file has to say: alpha, which diffusers takes to be the rank otherwise, and what
        the transport needs.
        """
        ranks = {n: len(d) for n, (d, _) in self.factors.items()}
        most = max(ranks.values())
        lora: dict[str, Any] = {
            "r": most,
            "lora_alpha": self.alpha,
            "rank_pattern": {n: r for n, r in ranks.items() if r != most},
            "target_modules": sorted(self.factors),
        }
        own = {
            "core": self.core,
            "alpha": self.alpha,
            "concepts": list(self.concepts),
            "matching": self.matching,
        }
        named = {f"{self.core}.{k}": v for k, v in lora.items()}
        return {OF_DIFFUSERS: json.dumps(named, sort_keys=True), OWN: json.dumps(own, sort_keys=True)}

    def fixed(self) -> LowRank:
        """Return the same as plain diffusers loads it: under every prompt all of it."""
        return replace(self, matching=Matching.FIXED)

    def merged(self, family: Family) -> Weights:
        """Return the net's weights with all of it in them."""
        layers = layers_of(cast("OpenedPipeline", family).denoiser)
        return Weights(
            values={
                f"{self.core}.{name}.weight": layers[name].weight.detach()
                + self.alpha / len(down) * product(down, up)
                for name, (down, up) in self.factors.items()
            }
        )


def read_membrane(path: str | Path, matching: Matching | None = None) -> Membrane:
    """Return the membrane of an adapter's file, for `Wrapped`. Raises WeightsError for another file."""
    try:
        with safe_open(path, framework="pt") as opened:
            said = (opened.metadata() or {}).get(OWN)
            tensors = {n: opened.get_tensor(n) for n in opened.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as an adapter", found=error) from error
    if said is None:
        raise WeightsError(
            f"{path} is not a membrane: its header says no alpha and no concept",
            allowed="adapter.safetensors of a run with method=spm",
        )
    own = json.loads(said)
    prefix = f"{own['core']}."
    names = [n.removeprefix(prefix).removesuffix(DOWN) for n in tensors if n.endswith(DOWN)]
    change = LowRank(
        core=own["core"],
        factors={n: (tensors[prefix + n + DOWN], tensors[prefix + n + UP]) for n in names},
        alpha=float(own["alpha"]),
        concepts=tuple(own["concepts"]),
        matching=matching or Matching(own["matching"]),
    )
    return change.membrane


def core_of(family: Family) -> str:
    """Return the net's name in the pipeline."""
    return CORES[cast("OpenedPipeline", family).denoiser.kind]
