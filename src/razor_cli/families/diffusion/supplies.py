"""What data asks a model that draws for: pictures of its own, and what its text encoder makes of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from razor_cli.contract.components import parameters, swapped
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.errors import RunError
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.kinds import Sampler

SUPPLIED = 1  # raise when a change here alters pictures, so that kept ones are not taken for new
KEPT_BYTES = 1 << 30  # of pictures in memory; on disk there are all


class Painter(Protocol):
    """What of a family is needed here."""

    denoiser: Denoiser
    stored: Mapping[str, Tensor]

    @property
    def module(self) -> nn.Module:
        """Return the module."""
        ...

    def weights_hash(self) -> str:
        """Return the hash of its files."""
        ...

    def preparation(self) -> str:
        """Return the hash of what else decides pictures."""
        ...


@dataclass
class Supplies:
    """The unedited model's pictures, each drawn once: kept by the hash of its files, prompt, seed and
    sampler.
    """

    family: Painter
    cache: TensorCache | None = None
    _kept: dict[str, Tensor] = field(default_factory=dict, init=False)
    _bytes: int = field(default=0, init=False)

    def draw(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float
    ) -> list[Image.Image]:
        """Return a picture for each prompt and seed as the unedited model draws it, whatever it holds now."""
        sampler = Sampler(steps=steps, guidance=guidance)
        keys = [self._key(p, s, sampler) for p, s in zip(prompts, seeds, strict=True)]
        found = {key: picture for key in keys if (picture := self._known(key)) is not None}
        missing = {key: i for i, key in enumerate(keys) if key not in found}
        if missing:
            places = list(missing.values())
            with self._unedited():
                drawn = self.family.denoiser.draw(
                    [prompts[i] for i in places], [seeds[i] for i in places], sampler
                )
            for key, picture in zip(missing, drawn, strict=True):
                found[key] = picture.clone()  # of its own, and not a view of all
                self._write(key, found[key])
                self._keep(key, found[key])
        return [Image.fromarray(found[key].permute(1, 2, 0).numpy()) for key in keys]

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> list[list[float]]:
        """Return the mean over tokens of each prompt's context under the unedited weights."""
        with self._unedited():
            tokens = self.family.denoiser.encode(prompts).tokens
        return [[float(x) for x in row] for row in tokens.float().mean(1).cpu()]

    def _key(self, prompt: str, seed: int, sampler: Sampler) -> str:
        denoiser = self.family.denoiser
        return content_key(
            {
                "supplied": SUPPLIED,
                "torch": torch.__version__,
                "device": denoiser.device,
                "weights": self.family.weights_hash(),
                "preparation": self.family.preparation(),
                "schedule": denoiser.schedule(),
                "dtype": str(denoiser.dtype),
                "side": denoiser.side,
                "steps": sampler.steps,
                "guidance": sampler.guidance,
                "prompt": prompt,
                "seed": seed,
            }
        )

    def _known(self, key: str) -> Tensor | None:
        if key in self._kept:
            return self._kept[key]
        entry = None if self.cache is None else self.cache.load(key)
        if entry is None:
            return None
        self._keep(key, entry["picture"])
        return entry["picture"]

    def _write(self, key: str, picture: Tensor) -> None:
        if self.cache is not None:
            self.cache.folder.mkdir(parents=True, exist_ok=True)
            self.cache.save(key, {"picture": picture})

    def _keep(self, key: str, picture: Tensor) -> None:
        if key not in self._kept and self._bytes + picture.numel() <= KEPT_BYTES:
            self._kept[key] = picture
            self._bytes += picture.numel()

    @contextmanager
    def _unedited(self) -> Iterator[None]:
        """Hold the weights of the files, where an edit is in their place."""
        if self.family.denoiser.marks:
            raise RunError(
                "data=generated: a picture of the unedited model is asked for while something is done to the "
                "model at run time",
                found=", ".join(self.family.denoiser.marks),
            )
        live, stored = parameters(self.family), self.family.stored
        changed = {}
        for name, value in live.items():
            before = stored[name].to(value.device, value.dtype) if name in stored else value
            if not torch.equal(before, value):
                changed[name] = before
        with torch.no_grad(), swapped(self.family, changed):
            yield
