"""Rendered pictures kept on disk, so that a drawing is computed once per machine and version of the renderer.

One shard per source and concept: a safetensors file with the pixels and, in its header, each picture's
identity and checksum. A shard is replaced as a whole under a lock, so parallel jobs and kills leave the old
or the new one. What is damaged is rendered again.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
import zlib
from collections.abc import Sequence
from functools import cache
from importlib import metadata, resources
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from razor_cli.atomic import staged
from razor_cli.caches import cache_dir
from razor_cli.data.sources.base import Picture, Source

RENDERERS = (
    "sources/portraits.py",
    "sources/emoji.py",
    "sources/render.py",
    "sources/canvas.py",
    "sources/people.py",
    "sources/mascots.py",
    "concepts/emoji.json.gz",
    "concepts/canvas.json.gz",
)
DECODER = "sources/pixels.py"
LIBRARIES = ("python-avatars", "resvg-py", "pillow")
WAIT = 30  # seconds for another job to finish writing a shard; then this one does without keeping

Pixels = NDArray[np.uint8]  # [side, side, 3]


@cache
def renderer_version() -> str:
    """Return a hash of everything that decides the pixels: drawing code, icons, library versions."""
    digest = hashlib.sha256()
    for file in RENDERERS:
        digest.update(resources.files("razor_cli.data").joinpath(file).read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library} {metadata.version(library)}\n".encode())
    return digest.hexdigest()[:16]


@cache
def pixels_version() -> str:
    """Return a hash of everything of ours that decides the pixels of a picture, drawn or decoded."""
    decoding = resources.files("razor_cli.data").joinpath(DECODER).read_bytes()
    return hashlib.sha256(renderer_version().encode() + decoding).hexdigest()[:16]


class Rendered:
    """A source whose rendered pictures are kept under `root`/rendered/<version>/<source>/; the same source
    otherwise.
    """

    def __init__(self, source: Source, root: Path | str | None = None) -> None:
        self.source, self.name, self.domain = source, source.name, source.domain
        self.folder = cache_dir(root) / "rendered" / renderer_version() / source.name
        self.damaged: set[str] = set()  # shards that held other bytes than were written

    def concepts(self) -> list[str]:
        """Return the source's concepts."""
        return self.source.concepts()

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the source's pictures."""
        return self.source.pictures(concept, split)

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Return pictures as RGB, from disk where they are sound there, else rendered and kept."""
        by_concept: dict[str, list[Picture]] = {}
        for picture in pictures:
            by_concept.setdefault(picture.concept, []).append(picture)
        found: dict[str, Pixels] = {}
        for concept, wanted in by_concept.items():
            found |= self._of_concept(concept, wanted)
        return [Image.fromarray(found[_identity(p)]) for p in pictures]

    def _of_concept(self, concept: str, wanted: Sequence[Picture]) -> dict[str, Pixels]:
        path = self.folder / f"{_file_name(concept)}.safetensors"
        found, sound = examined(path, {_identity(p) for p in wanted})
        if not sound:
            self.damaged.add(path.stem)
        missing = list({_identity(p): p for p in wanted if _identity(p) not in found}.values())
        if missing:
            fresh = {
                _identity(p): np.asarray(i) for p, i in zip(missing, self.source.load(missing), strict=True)
            }
            found |= fresh
            try:
                merge_shard(path, fresh)
            except (OSError, Timeout) as error:
                warnings.warn(f"rendered pictures are not kept in '{path}': {error}", stacklevel=2)
        return found


def read_shard(path: Path, wanted: set[str] | None = None) -> dict[str, Pixels]:
    """Return the sound pictures of a shard by identity (all, or those wanted); nothing if the file is missing
    or damaged.
    """
    return examined(path, wanted)[0]


def examined(path: Path, wanted: set[str] | None = None) -> tuple[dict[str, Pixels], bool]:
    """Return what `read_shard` does, and whether all that was looked at was as it was written."""
    try:
        with safe_open(path, framework="np") as file:
            index = json.loads(file.metadata()["pictures"])
            places = [
                (i, name, check) for i, (name, check) in enumerate(index) if wanted is None or name in wanted
            ]
            rows = file.get_slice("pixels")
            found = {name: (np.ascontiguousarray(rows[i : i + 1][0]), check) for i, name, check in places}
    except FileNotFoundError:
        return {}, True
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError):
        return {}, False
    kept = {name: pixels for name, (pixels, check) in found.items() if zlib.crc32(pixels.data) == check}
    return kept, len(kept) == len(found)


def merge_shard(path: Path, fresh: dict[str, Pixels]) -> None:
    """Add pictures to a shard, atomically and under its lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=WAIT):
        merged = dict(sorted((read_shard(path) | fresh).items()))
        index = [(name, zlib.crc32(np.ascontiguousarray(p).data)) for name, p in merged.items()]
        data = save({"pixels": np.stack(list(merged.values()))}, {"pictures": json.dumps(index)})
        with staged(path) as part:
            part.write_bytes(data)
            part.replace(path)


def _identity(picture: Picture) -> str:
    return f"{picture.key}#{picture.view}"


def _file_name(concept: str) -> str:
    """Return a readable file name that differs for different concepts."""
    plain = re.sub(r"[^a-z0-9]+", "-", concept.lower()).strip("-")
    return f"{plain}-{hashlib.sha256(concept.encode()).hexdigest()[:6]}"
