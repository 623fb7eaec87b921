"""Pictures drawn once, and contexts encoded once: both are known by the weights as they are, not by what
changed them.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.families.diffusion.acting import idle
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.denoiser import Denoiser, told_by
from razor_cli.families.diffusion.kinds import Sampler

DRAWING = 1  # raise when a change here alters pictures, so that kept ones are not taken for new
FOLDER = "pictures"  # below the run's cache
KEPT_BYTES = 1 << 29  # of contexts


@dataclass
class Contexts:
    """Contexts of prompts under the weights as they are, kept while memory allows."""

    denoiser: Denoiser
    limit: int = KEPT_BYTES
    _kept: OrderedDict[tuple[str, str], Context] = field(default_factory=OrderedDict, init=False)
    _bytes: int = field(default=0, init=False)

    @torch.no_grad()
    def of(self, prompts: Sequence[str], now: str = "") -> Context:
        """Return the contexts of prompts [n]; what is known under these weights is not encoded again. `now`
        is the live hash of the encoders, where it was taken already.

        Each is encoded by itself: beside others its last bits would be others, and a picture would depend on
        what was asked for earlier.
        """
        now = now or self.denoiser.live_hash(*self.denoiser.encoders)
        distinct = list(dict.fromkeys(prompts))
        found = {p: self._kept[now, p] for p in distinct if (now, p) in self._kept}
        found |= {p: self.denoiser.encode([p]) for p in distinct if p not in found}
        for prompt in distinct:
            self._keep((now, prompt), found[prompt])
        return Context.cat([found[p] for p in prompts])

    def _keep(self, key: tuple[str, str], context: Context) -> None:
        if key not in self._kept:
            self._bytes += _size(context)
        self._kept[key] = context
        self._kept.move_to_end(key)
        while self._bytes > self.limit and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(context: Context) -> int:
    return sum(t.numel() * t.element_size() for t in context.parts())


@dataclass
class PictureStore:
    """Pictures by everything that decides them, on disk below the run's cache; without one they are drawn
    each time.
    """

    denoiser: Denoiser
    contexts: Contexts
    cache: TensorCache | None = None
    preparation: str = ""  # what tokenizers make of words
    _entries: TensorCache | None = field(default=None, init=False)
    _same_made: dict[str, str] = field(default_factory=dict, init=False)  # what made a picture -> its entry

    def __post_init__(self) -> None:
        if self.cache is not None:  # the limit is held once after each call, not after each picture
            self._entries = TensorCache(self.cache.folder / FOLDER)
            self._entries.damaged = self.cache.damaged

    def pictures(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampler: Sampler,
        tick: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Return pictures [n, 3, H, W] as bytes under the weights as they are; `tick` is told of each batch
        that had to be drawn.

        A batch is not drawn where other weights drew all its pictures already: from the same contexts, by the
        same net. One with a single other picture is drawn as a whole: in smaller company pictures come out
        with other last bits.
        """
        held = self.denoiser.held()
        same = self._same(sampler) | {"weights": told_by(held, self.denoiser.marks)}
        keys = [content_key(same | {"prompt": p, "seed": s}) for p, s in zip(prompts, seeds, strict=True)]
        asked = dict(zip(keys, zip(prompts, seeds, strict=True), strict=True))
        rows = {key: kept for key in asked if (kept := self._read(key)) is not None}
        missing = [key for key in asked if key not in rows]
        batches = [missing[i : i + sampler.batch] for i in range(0, len(missing), sampler.batch)]
        made = Made(self, sampler, held) if batches else None
        parts = []
        for part in batches:
            assert made is not None
            if (known := self._taken_over(made, [asked[k] for k in part])) is None:
                parts.append(part)
                continue
            for key, picture in zip(part, known, strict=True):
                rows[key] = self._kept(key, picture)
        found = self._drawn([[asked[k] for k in part] for part in parts], sampler, made)
        for part, pictures in zip(parts, found, strict=True):
            for key, picture in zip(part, pictures, strict=True):
                rows[key] = self._kept(key, picture)
            tick(len(part))
        if made is not None and self._entries is not None:
            self._same_made |= {made.key(*asked[key]): key for key in missing}
        if missing and self.cache is not None:
            TensorCache(self.cache.folder / FOLDER, self.cache.limit).trim()
        return torch.stack([rows[key] for key in keys]) if keys else self.denoiser.draw([], [], sampler)

    def _drawn(
        self, parts: Sequence[Sequence[tuple[str, int]]], sampler: Sampler, made: Made | None
    ) -> Iterator[Tensor]:
        if made is None or not parts:
            return iter(())
        empty = made.empty
        asked = ((made.contexts([p for p, _ in part]), [s for _, s in part]) for part in parts)
        return self.denoiser.batches(asked, sampler, empty)

    def _taken_over(self, made: Made, part: Sequence[tuple[str, int]]) -> list[Tensor] | None:
        """Return the pictures of a batch that the same contexts and the same net made before, or None."""
        if self._entries is None or not made.plain([p for p, _ in part]):
            return None
        found = []
        for prompt, seed in part:
            entries = (self._same_made.get(made.key(prompt, seed)), made.unacted(prompt, seed))
            kept = next((k for e in entries if e is not None and (k := self._read(e)) is not None), None)
            if kept is None:
                return None
            found.append(kept)
        return found

    def _same(self, sampler: Sampler) -> dict[str, object]:
        """Return what decides a picture beside weights, prompt and seed."""
        d = self.denoiser
        return {
            "drawing": DRAWING,
            "torch": torch.__version__,
            "device": d.device,
            "dtype": str(d.dtype),
            "preparation": self.preparation,
            "schedule": d.schedule(),
            "sampler": asdict(sampler) | {"side": sampler.side or d.side},
            "tail": d.tail,
        }

    def _kept(self, key: str, picture: Tensor) -> Tensor:
        self._write(key, picture)
        return picture

    def _read(self, key: str) -> Tensor | None:
        found = self._entries.load(key) if self._entries is not None else None
        if found is None:
            return None
        with Image.open(io.BytesIO(found["png"].numpy().tobytes())) as opened:
            return torch.from_numpy(np.array(opened)).permute(2, 0, 1)

    def _write(self, key: str, picture: Tensor) -> None:
        if self._entries is None:
            return
        file = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "png", compress_level=1)
        self._entries.save(key, {"png": torch.from_numpy(np.frombuffer(file.getvalue(), np.uint8).copy())})


class Made:
    """What makes the pictures of one call: contexts, and the net with its VAE, by their hashes."""

    def __init__(self, store: PictureStore, sampler: Sampler, held: Mapping[str, str]) -> None:
        self.store, self.denoiser, self.held = store, store.denoiser, held
        encoders = {n: h for n, h in held.items() if n in self.denoiser.encoders}
        self.encoders = told_by(encoders, self.denoiser.marks)
        self.same = store._same(sampler)
        self.net = {n: h for n, h in held.items() if n not in encoders}
        self.empty = self.contexts([""]) if sampler.guidance > 1 else None
        self.blank = [_bytes_hash(t) for t in self.empty.parts()] if self.empty is not None else []

    def contexts(self, prompts: Sequence[str]) -> Context:
        """Return the contexts of prompts."""
        return self.store.contexts.of(prompts, self.encoders)

    def plain(self, prompts: Sequence[str]) -> bool:
        """Tell whether nothing that is done at run time concerns these prompts."""
        return idle(self.denoiser, self.contexts(prompts))

    def key(self, prompt: str, seed: int) -> str:
        """Return the hash of what a picture is made of, as the net sees it; of where something acts at run
        time, what acts on this prompt.
        """
        context = self.contexts([prompt])
        read = [*(_bytes_hash(t) for t in context.parts()), *self.blank]
        acting = [] if idle(self.denoiser, context) else [*self.denoiser.marks, prompt]
        made = {"net": self.net, "read": read, "acting": acting, "seed": seed}
        return content_key(self.same | made)

    def unacted(self, prompt: str, seed: int) -> str | None:
        """Return the entry of the picture that the same weights draw where nothing acts."""
        if not self.denoiser.marks:
            return None
        return content_key(self.same | {"weights": told_by(self.held, ()), "prompt": prompt, "seed": seed})


def _bytes_hash(value: Tensor) -> str:
    plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(plain.numpy().data).hexdigest()
