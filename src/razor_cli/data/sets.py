"""The disjoint sets that an edit and its proof need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from PIL import Image

from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.rendered import Rendered
from razor_cli.data.sampling import rng_for, some
from razor_cli.data.sources.base import Picture, Source


@dataclass(frozen=True)
class Pairs:
    """Pictures with one caption each. Pictures are rendered or decoded only when asked for."""

    pictures: tuple[Picture, ...]
    sources: dict[str, Source] = field(repr=False)  # by domain
    crops: int | None = None  # seed of a random crop of each picture (`drawn`); None: as they are

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def keys(self) -> tuple[str, ...]:
        """Where each picture comes from: what disjointness is judged by."""
        return tuple(p.key for p in self.pictures)

    @property
    def concepts(self) -> tuple[str, ...]:
        """The concept of each picture."""
        return tuple(p.concept for p in self.pictures)

    @property
    def captions(self) -> tuple[str, ...]:
        """The caption of each picture: its own, or its domain's first template."""
        return tuple(
            p.caption or DOMAINS[p.domain].caption(spoken(p.concept, p.domain), 0) for p in self.pictures
        )

    def of(self, concept: str) -> Pairs:
        """Return the pictures of one concept."""
        return replace(self, pictures=tuple(p for p in self.pictures if p.concept == concept))

    def load(self, start: int = 0, stop: int | None = None) -> list[Image.Image]:
        """Return the pictures start:stop as RGB images, in order."""
        chosen = self.pictures[start:stop]
        images: list[Image.Image | None] = [None] * len(chosen)
        for domain, source in self.sources.items():
            at = [i for i, p in enumerate(chosen) if p.domain == domain]
            for i, image in zip(at, source.load([chosen[i] for i in at]), strict=True):
                images[i] = image
        return [i for i in images if i is not None]

    def head(self, count: int | None) -> Pairs:
        """Return the first `count` pictures; all of them for None."""
        return replace(self, pictures=self.pictures[:count])

    def sampled(self, count: int | None, seed: int) -> Pairs:
        """Return `count` pictures that the seed draws, in their order; all of them for None."""
        return replace(self, pictures=tuple(some(self.pictures, count, seed)))

    def drawn(self, seed: int) -> Pairs:
        """Return the pictures in an order that the seed draws, each to be cropped at random as open_clip
        crops what it trains on. The model's side cuts them (dual/crops.py), as it knows the size.
        """
        pictures = rng_for(seed, "drawn").sample(self.pictures, len(self))
        return replace(self, pictures=tuple(pictures), crops=seed)

    def captioned(self, caption: str) -> Pairs:
        """Return the pictures with this caption in place of each one's own."""
        return replace(self, pictures=tuple(replace(p, caption=caption) for p in self.pictures))

    def widest(self, count: int) -> Pairs:
        """Return `count` pictures with the longest captions, in their order."""
        lengths = [len(c) for c in self.captions]
        chosen = sorted(sorted(range(len(self)), key=lambda i: -lengths[i])[:count])
        return replace(self, pictures=tuple(self.pictures[i] for i in chosen))

    def fingerprint(self) -> str:
        """Return a SHA-256 of keys, views, captions and labels. File sources put the content hash into the
        key, and a caption made from a template tells the label.
        """
        lines = [
            f"{p.key}\t{p.view}\t{c}" + (f"\t{p.domain}\t{p.concept}" if p.caption else "")
            for p, c in zip(self.pictures, self.captions, strict=True)
        ]
        lines += [] if self.crops is None else [f"crops\t{self.crops}"]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Judged:
    """Forget and retain pictures that an edit is judged on: validation during search, evaluation once at the
    end.
    """

    forget: Pairs
    retain: Pairs


@dataclass(frozen=True)
class Suite:
    """An unrelated zero-shot task: pictures, their class numbers, and the class prompts.

    There may be several prompts of each class, the same number of all, class after class: their mean is the
    class embedding.
    """

    name: str  # emoji_seen | emoji_held_out | cifar10
    pairs: Pairs
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Taxonomy:
    """Two levels of names over a domain (Tan & Gong 4.1): every fine concept has one parent.

    Prompts are lists over templates: a reference takes the mean of their normalised embeddings, a training
    step may draw one.
    """

    parents: dict[str, str]  # fine concept -> coarse concept, for every class name
    coarse_names: tuple[str, ...]  # label space of coarse accuracy
    coarse_prompts: dict[str, tuple[str, ...]]
    fine_prompts: dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """Judged pictures of another distribution, with fine and coarse labels of their own: is the knowledge
    gone there too?
    """

    judged: Judged  # pictures of the forgotten concepts, and of all others that `class_names` lists
    class_names: tuple[str, ...]  # label space there; forgotten names need not come first
    taxonomy: Taxonomy


@dataclass(frozen=True, kw_only=True)
class ConceptSets:
    """Everything an edit of one target needs. All sets are pairwise disjoint by picture key.

    `prompts[c]` is the zero-shot prompt of concept c, the target included; `class_names` are all concepts of
    the target's domain (the label space of multiclass accuracy), the forgotten ones first; `retain_names` the
    others. Several concepts may be forgotten jointly: `joint` holds them all, and `target` is what the group
    is called.
    """

    called: ClassVar[str] = ""  # sentences write names as they are

    target: str
    aliases: tuple[str, ...]
    domain: str
    forget: Pairs
    retain: Pairs
    validation: Judged
    evaluation: Judged
    class_names: tuple[str, ...]
    prompts: dict[str, str]
    generic_prompt: str
    suites: tuple[Suite, ...] = ()
    notes: tuple[str, ...] = ()
    joint: tuple[str, ...] = ()  # concepts forgotten together; empty: the target alone
    taxonomy: Taxonomy | None = None
    ood: Shifted | None = None  # out-of-distribution test of a taxonomy
    judged_split: str = "evaluation"  # of sources, that further pictures may be judged from
    steps: tuple[ConceptSets, ...] = ()  # of edits that make up the request, in their order; empty: one edit

    @property
    def forget_names(self) -> tuple[str, ...]:
        """The concepts that go, in the order of `class_names`."""
        return self.joint or (self.target,)

    @property
    def retain_names(self) -> tuple[str, ...]:
        """Concepts of the target's domain that must stay."""
        return self.class_names[len(self.forget_names) :]

    def words(self) -> dict[str, object]:
        """Return the names, labels and sentences that decide numbers beyond the pictures, whichever file or
        setting they come from.
        """
        suites = {s.name: [s.labels, s.class_names, s.prompts] for s in self.suites}
        ood = [self.ood.class_names, asdict(self.ood.taxonomy)] if self.ood else None
        return {
            "target": self.target,
            "aliases": self.aliases,
            "domain": self.domain,
            "names": self.class_names,
            "prompts": self.prompts,
            "generic": self.generic_prompt,
            "joint": self.forget_names,
            "taxonomy": asdict(self.taxonomy) if self.taxonomy else None,
            "suites": suites,
            "ood": ood,
            **({} if self.judged_split == "evaluation" else {"judged": self.judged_split}),
        }

    def parts(self) -> dict[str, Pairs]:
        """Return every set by name: the six, the unrelated tasks, and the out-of-distribution test."""
        sets = {"forget": self.forget, "retain": self.retain}
        for name, judged in (("validation", self.validation), ("evaluation", self.evaluation)):
            sets |= {f"{name}_forget": judged.forget, f"{name}_retain": judged.retain}
        sets |= {f"suite_{s.name}": s.pairs for s in self.suites}
        if self.ood is not None:
            sets |= {"ood_forget": self.ood.judged.forget, "ood_retain": self.ood.judged.retain}
        return sets

    def fingerprints(self) -> dict[str, str]:
        """Return the hash of every set and of the `words`, for the run's id and provenance."""
        own = {name: pairs.fingerprint() for name, pairs in self.parts().items()}
        return own | {"words": _digest(self.words())} | of_steps(s.fingerprints() for s in self.steps)

    def sizes(self) -> dict[str, int]:
        """Return how many pictures every set has."""
        return {name: len(pairs) for name, pairs in self.parts().items()}

    def mended(self) -> list[str]:
        """Return a note on drawn pictures that were damaged on disk and were drawn again."""
        sources = (s for pairs in self.parts().values() for s in pairs.sources.values())
        shards = {(s.name, name) for s in sources if isinstance(s, Rendered) for name in s.damaged}
        told = f"drawn pictures: {len(shards)} files were damaged on disk and were drawn again"
        return [told] if shards else []

    def record(self) -> dict[str, list[str] | dict[str, str]]:
        """Return the picture keys of every set, and the files they stand for, for the run's folder."""
        return recorded(self.parts() | parts_of_steps(self.steps))


def parts_of_steps(steps: Sequence[Any]) -> dict[str, Pairs]:
    """Return what each of the edits that make up a request is computed from, by the names of split.json."""
    both = ("forget", "retain")
    return {f"step_{i}_{name}": getattr(step, name) for i, step in enumerate(steps, 1) for name in both}


def recorded(parts: Mapping[str, Pairs]) -> dict[str, list[str] | dict[str, str]]:
    """Return the picture keys of sets by their names, and under `files` which file a key stands for."""
    files = {p.key: p.file for pairs in parts.values() for p in pairs.pictures if p.file}
    keys: dict[str, list[str] | dict[str, str]] = {name: list(pairs.keys) for name, pairs in parts.items()}
    return keys | ({"files": files} if files else {})


def of_steps(prints: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the fingerprints of the edits that make up a request, numbered."""
    return {f"step_{i}_{name}": found for i, each in enumerate(prints, 1) for name, found in each.items()}


def together(names: Sequence[str]) -> str:
    """Return what several concepts that go are called together."""
    return " + ".join(names)


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def overlap(first: Pairs, second: Pairs) -> set[str]:
    """Return the picture keys that two sets share."""
    return set(first.keys) & set(second.keys)


def class_prompts(names: Sequence[str], domain: str) -> dict[str, str]:
    """Return the zero-shot prompt of each concept of one domain."""
    template = DOMAINS[domain].zero_shot[0]
    return {name: template.format(spoken(name, domain)) for name in names}
