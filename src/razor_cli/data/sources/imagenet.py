"""ImageNet-1K photographs, from the hub's parquet files or from a folder per wnid; never shipped, never
downloaded here.

Class numbers are the order of the sorted wnids, class names and templates those of open_clip. Only
photographs that a set draws are ever read.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from razor_cli.data.choices import Templates
from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.imagenet_layouts import Layout, find_layout
from razor_cli.data.sources.imagenet_rows import Item
from razor_cli.data.sources.photo import content_key, hash_of, same, unchanged
from razor_cli.data.sources.pixels import decode, examine
from razor_cli.data.sources.tally import Tally
from razor_cli.errors import DataError, RunError, nearest

CLASSES = 1000
HELD_OUT = 10  # every tenth train photograph of a class is for validation
READ_AHEAD = 256  # photographs that are read before the good ones among them are counted


class Metadata(NamedTuple):
    """What defines the label space: wnids in sorted order, and a name for each."""

    wnids: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names that are different: where two classes share one (missile, sunglasses), the wnid is added to
        both.
        """
        count = Counter(self.names)
        return tuple(
            n if count[n] == 1 else f"{n} ({w})" for w, n in zip(self.wnids, self.names, strict=True)
        )


@cache
def metadata() -> Metadata:
    """Return the 1,000 wnids (timm's list, read without importing it) and open_clip's class names."""
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    spec = find_spec("timm")
    places = (
        [Path(p) / "data" / "_info" / "imagenet_synsets.txt" for p in (spec.submodule_search_locations or ())]
        if spec
        else []
    )
    text = next((p.read_text("utf-8") for p in places if p.is_file()), "")
    wnids = tuple(text.split())
    if len(wnids) != CLASSES or list(wnids) != sorted(wnids) or len(IMAGENET_CLASSNAMES) != CLASSES:
        fix = "pip install 'timm>=1.0' (open_clip_torch needs it too)"
        raise RunError(
            "ImageNet's list of wnids is not in the installed timm package",
            found=f"{len(wnids)} wnids",
            fix=fix,
        )
    return Metadata(wnids, tuple(IMAGENET_CLASSNAMES))


def sentences(name: str, which: Templates) -> tuple[str, ...]:
    """Return the zero-shot prompts of one class name."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

    if which is Templates.ONE:
        return (DOMAINS["object"].zero_shot[0].format(spoken(name, "object")),)
    chosen = OPENAI_IMAGENET_TEMPLATES if which is Templates.OPENAI else SIMPLE_IMAGENET_TEMPLATES
    return tuple(template(name) for template in chosen)


def named(name: str) -> list[int]:
    """Return the classes that a class name, a name with wnid, or a wnid stands for; two for a name that two
    share.
    """
    info, wanted = metadata(), same(name)
    return [
        i for i in range(CLASSES) if wanted in (info.wnids[i], same(info.names[i]), same(info.concepts[i]))
    ]


class ImageNet:
    """Source of ImageNet-1K: `train` and `validation` from the train part (every tenth is held out),
    `evaluation` its val part.

    Layouts: `imagenet_layouts.find_layout`. A picture's key is the hash of its file. Which photographs are
    held out goes by the hash of their place, the same in every run.
    """

    name = "imagenet"
    domain = "object"

    def __init__(self, root: Path | str, *, setting: str = "data.root") -> None:
        self.root, self.setting = Path(root), setting
        self.tally = Tally(setting=setting)
        self.taken: AbstractSet[str] = frozenset()  # contents that other sets hold, which are not drawn
        self._places: dict[str, Item] = {}  # key -> where it lies
        self._kept: dict[str, bytes] = {}  # encoded bytes of drawn pictures whose layout reads many at once

    @cached_property
    def layout(self) -> Layout:
        """How the photographs lie under the root. Raises DataError for a root that is not ImageNet-1K."""
        return find_layout(self.root, metadata().wnids, self.tally)

    @cached_property
    def present(self) -> tuple[int, ...]:
        """The classes that have photographs in the train or the val part."""
        return tuple(sorted({*self.layout.labels("train"), *self.layout.labels("val")}))

    def concepts(self) -> list[str]:
        """Return the names of the classes that are there, in class order."""
        return [metadata().concepts[i] for i in self.present]

    def said(self, concept: str) -> str:
        """Return a concept's name as prompts say it: open_clip's, without an added wnid."""
        return metadata().names[metadata().concepts.index(concept)]

    def find(self, name: str) -> str:
        """Return the concept that a class name, a name with wnid, or a wnid stands for.

        Raises DataError: with the nearest names for an unknown one, with the wnids for a name that two
        classes share.
        """
        info, hits = metadata(), named(name)
        if len(hits) > 1:
            wnids = ", ".join(info.wnids[i] for i in hits)
            raise DataError(
                f"target='{name}' is the name of {len(hits)} classes",
                allowed=wnids,
                fix="give the wnid as target",
            )
        if not hits:
            near = nearest(name, [*info.concepts, *info.wnids])
            raise DataError(
                f"target='{name}' is no class of ImageNet-1K",
                allowed=f"{CLASSES} class names of open_clip or their wnids, "
                + (
                    f"nearest: {', '.join(near)}"
                    if near
                    else f"such as {', '.join(info.concepts[:3])} or {info.wnids[0]}"
                ),
                fix="choose one of them, or use your own pictures with data=folder data.root=DIR "
                "(DIR/<concept>/*.jpg)",
            )
        if hits[0] not in self.present:
            there = f"{len(self.present)} classes, such as {', '.join(self.concepts()[:3])}"
            raise DataError(
                f"target='{name}' ({info.wnids[hits[0]]}): no photographs of this class under "
                f"{self.setting}='{self.root}'",
                found=there,
            )
        return info.concepts[hits[0]]

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the sound photographs of one class in one split. Reads all of them: a run draws
        with `draw`.
        """
        return self.draw([concept], split, 10**9, random.Random(0), set())[concept]

    def available(self, concept: str, split: str) -> list[Item]:
        """Return where the photographs of one class and split lie; nothing is read."""
        label = metadata().concepts.index(concept)
        if split == "evaluation":
            return self.layout.items("val", label)
        items = sorted(
            self.layout.items("train", label), key=lambda i: hashlib.sha256(i.place.encode()).digest()
        )
        border = len(items) - max(1, len(items) // HELD_OUT)
        return items[border:] if split == "validation" else items[:border]

    def draw(
        self, concepts: Iterable[str], split: str, count: int, rng: random.Random, seen: set[str]
    ) -> dict[str, list[Picture]]:
        """Return up to `count` sound photographs by concept, one of each concept in turn, none whose key is
        in `seen`.

        Keys of what is drawn are added to `seen`. Damaged files and repeated contents are counted and
        replaced by others.
        """
        order = list(concepts)
        ahead = 10**9 if self.layout.keeps else READ_AHEAD
        queues = {
            c: self.layout.shuffled(self.available(c, split), rng) for c in rng.sample(order, len(order))
        }
        found: dict[str, list[Picture]] = {c: [] for c in order}
        while (missing := count - sum(map(len, found.values()))) > 0:
            taken = _in_turn(queues, found, min(missing, ahead))
            if not taken:
                break
            for concept, item, key in self._inspect(taken):
                if hash_of(key) in self.taken:
                    self.tally.shared += 1
                elif key in seen:
                    self.tally.duplicates += 1
                else:
                    seen.add(key)
                    self._places[key] = item
                    found[concept].append(self._picture(key, concept, item.place))
        return found

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read drawn photographs as RGB, at most 512 pixels on the shorter side."""
        images = []
        for picture in pictures:
            item = self._places[picture.key]
            data = self._kept.get(picture.key)
            if data is None:
                data = self.layout.read([item])[0]
            images.append(decode(unchanged(picture.key, data, item.place)))
        return images

    def _picture(self, key: str, concept: str, place: str) -> Picture:
        name = self.said(concept)
        caption = None if name == concept else DOMAINS[self.domain].caption(spoken(name, self.domain), 0)
        return Picture(key=key, concept=concept, domain=self.domain, caption=caption, file=place)

    def _inspect(self, taken: Sequence[tuple[str, Item]]) -> list[tuple[str, Item, str]]:
        """Return the sound ones with their keys, in order; count and name the others."""
        blobs = self.layout.read([item for _, item in taken])
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
            looks = list(workers.map(examine, blobs))
        self.tally.examined += len(taken)
        sound = []
        for (concept, item), data, look in zip(taken, blobs, looks, strict=True):
            if not self.tally.passed(item.place, look):
                continue
            key = content_key(self.name, data)
            if self.layout.keeps:
                self._kept[key] = data
            sound.append((concept, item, key))
        return sound


def _in_turn(
    queues: dict[str, list[Item]], found: dict[str, list[Picture]], count: int
) -> list[tuple[str, Item]]:
    """Take up to `count` from the queues, always from those with the fewest pictures found or
    taken so far.
    """
    have = {c: len(found[c]) for c in queues}
    taken: list[tuple[str, Item]] = []
    while len(taken) < count and (open_ones := [c for c, queue in queues.items() if queue]):
        least = min(have[c] for c in open_ones)
        for concept in [c for c in open_ones if have[c] == least][: count - len(taken)]:
            taken.append((concept, queues[concept].pop(0)))
            have[concept] += 1
    return taken
