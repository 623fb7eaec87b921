"""From pools of candidates to ConceptSets: the one place where sets are drawn, checked and described."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from razor_cli.data.disjoint import check_disjoint
from razor_cli.data.prompts import DOMAINS
from razor_cli.data.sampling import FILES, Pool, Sizes, balanced, readers, rng_for, shared, without_repeats
from razor_cli.data.sets import ConceptSets, Judged, Pairs, Suite, class_prompts
from razor_cli.data.sources.base import Picture, Source
from razor_cli.data.sources.photo import mention, same
from razor_cli.errors import DataError

MIN_RETAIN = 24  # pictures of the whole pool; fewer make no contrastive batch


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What sets are drawn from, and what they are called.

    `classes` maps each further concept of the label space to its prompt domain. Retain pictures whose caption
    holds one of `keywords` are left out. `joint` are the concepts that go together as `target`; forget sizes
    then count for each. `prompts` replace the domain's.
    """

    target: str
    aliases: Sequence[str]
    keywords: Sequence[str]
    domain: str
    own: Pool
    retain: Sequence[Pool]
    classes: dict[str, str]
    sizes: Sizes
    seed: int
    suites: Sequence[Suite] = ()
    notes: Sequence[str] = ()
    joint: Sequence[str] = ()
    prompts: dict[str, str] | None = None

    @property
    def gone(self) -> tuple[str, ...]:
        """The concepts that go."""
        return tuple(self.joint) or (self.target,)

    def named(self) -> dict[str, str]:
        """Return the zero-shot prompt of every concept."""
        domains = {**dict.fromkeys(self.gone, self.domain), **self.classes}
        return self.prompts or {name: class_prompts([name], d)[name] for name, d in domains.items()}


def assemble(draft: Draft) -> ConceptSets:
    """Draw the six sets from the target's pool and the retain pools, and check that they share no picture.

    Contents that occur twice are left out; what was left out is counted in the notes.
    """
    told, sizes, seed = list(draft.notes), draft.sizes, draft.seed
    pools, dropped = _clean(draft.own, draft.retain, mention(draft.keywords, joined=True))
    told += [f"retain: {n} {what} left out" for what, n in dropped.items() if n]
    told.append(
        "retain: drawn from " + ", ".join(f"{p.source.name} ({p.count()} pictures)" for p in pools[1:])
    )
    own, retain = pools[0], pools[1:]
    _enough(retain)
    loaders = readers(pools)

    missed: list[str] = []

    def forgotten(name: str, split: str) -> Pairs:
        wanted = getattr(sizes, name) * max(1, len(draft.joint))
        return finish(name, balanced(own.splits[split], wanted, rng_for(seed, name)), wanted)

    def retained(name: str, split: str) -> Pairs:
        wanted, rng = getattr(sizes, name), rng_for(seed, name)
        groups = [{f"{i} {c}": g for c, g in p.splits[split].items()} for i, p in enumerate(retain)]
        if split == "train":  # every concept in turn, so that a contrastive batch holds few captions twice
            return finish(name, balanced(dict(pair for g in groups for pair in g.items()), wanted, rng))
        return finish(name, shared(groups, wanted, rng))

    def finish(name: str, pictures: list[Picture], wanted: int | None = None) -> Pairs:
        missed.append(_shortage(name, pictures, wanted or getattr(sizes, name), each=len(draft.joint)))
        return Pairs(tuple(pictures), _used(pictures, loaders))

    def judged(split: str) -> Judged:
        return Judged(forgotten(f"{split}_forget", split), retained(f"{split}_retain", split))

    sets = ConceptSets(
        target=draft.target,
        aliases=tuple(draft.aliases),
        domain=draft.domain,
        joint=tuple(draft.joint),
        forget=forgotten("forget", "train"),
        retain=retained("retain", "train"),
        validation=judged("validation"),
        evaluation=judged("evaluation"),
        class_names=(*draft.gone, *draft.classes),
        prompts=draft.named(),
        generic_prompt=DOMAINS[draft.domain].generic,
        suites=tuple(draft.suites),
        notes=(*told, *_shortages(missed)),
    )
    check_disjoint(sets)
    return sets


def make_suite(
    name: str, source: Source, split: str, *, without: Sequence[str], sizes: Sizes, seed: int
) -> Suite:
    """Return a zero-shot task over a source's concepts, less those that are called like the target."""
    names = unlike(source.concepts(), without)
    pictures = balanced(
        {c: source.pictures(c, split) for c in names}, sizes.suite, rng_for(seed, f"suite {name}")
    )
    prompts = class_prompts(names, source.domain)
    return Suite(
        name=name,
        pairs=Pairs(tuple(pictures), {source.domain: source}),
        labels=tuple(names.index(p.concept) for p in pictures),
        class_names=tuple(names),
        prompts=tuple(prompts[n] for n in names),
    )


def unlike(concepts: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the concepts that are none of `names`, ignoring case and reading `_` and `-` as spaces."""
    excluded = {same(n) for n in names}
    return [c for c in concepts if same(c) not in excluded]


def _clean(own: Pool, retain: Sequence[Pool], named: re.Pattern[str]) -> tuple[list[Pool], dict[str, int]]:
    """Return all pools without repeated contents and without retain captions that name the target, and what
    went.
    """
    seen: set[str] = set()
    first, repeats = without_repeats(own, seen)
    pools, captions = [first], 0
    for pool in retain:
        if pool.source.name not in FILES:
            pools.append(pool)
            continue
        kept, gone = _unnamed(pool, named)
        captions += gone
        kept, gone = without_repeats(kept, seen)
        pools.append(kept)
        repeats += gone
    return pools, {"captions that name the target": captions, "pictures that occur twice": repeats}


def _unnamed(pool: Pool, named: re.Pattern[str]) -> tuple[Pool, int]:
    splits = {
        split: {
            c: [p for p in g if not (p.caption and named.search(same(p.caption)))] for c, g in groups.items()
        }
        for split, groups in pool.splits.items()
    }
    kept = Pool(source=pool.source, splits=splits)
    return kept, pool.count() - kept.count()


def _enough(retain: Sequence[Pool]) -> None:
    found = sum(p.count() for p in retain)
    empty = [
        s
        for s in ("train", "validation", "evaluation")
        if not any(g for p in retain for g in p.splits[s].values())
    ]
    if found < MIN_RETAIN or empty:
        raise DataError(
            "data.retain_root: too few pictures to keep the model's other knowledge by",
            found=f"{found} pictures" + (f", none for {', '.join(empty)}" if empty else ""),
            allowed=f"at least {MIN_RETAIN} (512 and more are usual)",
            fix="point data.retain_root at more pictures, or run `razor data prepare cifar10` once",
        )


def _shortage(name: str, pictures: Sequence[Picture], wanted: int, each: int = 0) -> str:
    """Return how many pictures a set has where they are fewer than asked for, or views of fewer originals."""
    origins = len({p.key for p in pictures})
    views = f", views of {origins} originals" if origins < len(pictures) and name.endswith("forget") else ""
    if len(pictures) < wanted:
        asked = f"{wanted // each} of each concept" if each and name.endswith("forget") else f"{wanted}"
        return f"{name} {len(pictures)} (data.n_{name}={asked} asked for{views})"
    return f"{name} {len(pictures)} ({views.removeprefix(', ')})" if views else ""


def _shortages(missed: Sequence[str]) -> list[str]:
    """Return in one note which sets have fewer pictures than asked for."""
    found = [text for text in missed if text]
    return [f"pictures: {', '.join(found)}"] if found else []


def _used(pictures: Sequence[Picture], loaders: dict[str, Source]) -> dict[str, Source]:
    return {domain: loaders[domain] for domain in dict.fromkeys(p.domain for p in pictures)}
