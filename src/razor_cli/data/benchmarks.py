"""What public benchmarks add to a run: ImageNet-1K as data and as utility, CelebA-100, and names to choose
among.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from razor_cli.data.assemble import Draft, assemble, unlike
from razor_cli.data.choices import Names, Templates
from razor_cli.data.disjoint import check_disjoint, six_sets
from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sampling import Pool, Sizes, balanced, content, rng_for
from razor_cli.data.sets import ConceptSets, Judged, Pairs, Suite
from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.celeba import CelebA
from razor_cli.data.sources.imagenet import CLASSES, ImageNet, metadata, named, sentences
from razor_cli.data.sources.photo import same
from razor_cli.errors import DataError

ROLES = ("", "validation_", "evaluation_")  # prefixes of the names in Sizes, in the order of SPLITS


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """The settings data.celeba_*, data.judge_on_celeba, data.imagenet_root and data.templates."""

    celeba_root: Path | None = None
    celeba_names: Names = Names.ALL
    judge_on_celeba: bool = False
    imagenet_root: Path | None = None
    templates: Templates = Templates.OPENAI

    @cached_property
    def celeba(self) -> CelebA | None:
        """The CelebA copy, if one is named."""
        return CelebA(self.celeba_root) if self.celeba_root else None

    def names(self, without: Sequence[str], domain: str) -> tuple[str, ...]:
        """Return CelebA's names that join the label space of multiclass accuracy and FA; none for things."""
        if self.celeba is None or domain != self.celeba.domain:
            return ()
        chosen = self.celeba.concepts() if self.celeba_names is Names.ALL else self.celeba.frequent(without)
        return tuple(unlike(chosen, without))

    def add(
        self, sets: ConceptSets, *, names: Sequence[str], sizes: Sizes, seed: int, max_corrupt: float
    ) -> ConceptSets:
        """Return the sets with the utilities that are at hand; with judge_on_celeba the target is judged on
        CelebA's pictures.
        """
        suites, notes = list(sets.suites), list(sets.notes)
        if self.celeba is not None:
            if self.judge_on_celeba:
                judged = _celeba_pictures(self.celeba, sets, names, sizes, seed)
                sets = replace(sets, evaluation=Judged(judged, sets.evaluation.retain))
                notes.append(f"evaluation_forget: {len(judged)} pictures of the target from CelebA")
            self.celeba.taken = _contents(six_sets(sets).values())
            suites.append(_celeba_suite(self.celeba, names, self.celeba_names, sizes, seed))
            notes.append(
                f"celeba: {len(self.celeba.frequent(names))} most frequent names {self.celeba.ranking()}"
            )
            self.celeba.tally.check(max_corrupt)
            notes += self.celeba.tally.notes()
        if self.imagenet_root is not None:
            source = ImageNet(self.imagenet_root, setting="data.imagenet_root")
            source.taken = _contents(six_sets(sets).values())
            kept = unlike(source.concepts(), names)
            found = source.draw(kept, "evaluation", sizes.suite, rng_for(seed, "suite imagenet"), set())
            suites.append(_imagenet_suite(source, kept, found, self.templates, sizes, seed))
            source.tally.check(max_corrupt)
            notes += source.tally.notes()
        sets = replace(sets, suites=tuple(suites), notes=tuple(notes))
        check_disjoint(sets)
        return sets


def _contents(parts: Iterable[Pairs]) -> frozenset[str]:
    """Return what the pictures of some sets are, whichever source read them."""
    return frozenset(content(key) for pairs in parts for key in pairs.keys)


@dataclass(frozen=True, kw_only=True)
class ImageNetRequest:
    """What `scenario=class data=imagenet` asks for; names are those of the settings."""

    target: str
    aliases: tuple[str, ...]
    root: Path
    templates: Templates
    sizes: Sizes
    max_corrupt: float
    min_forget: int
    seed: int


def imagenet_sets(ask: ImageNetRequest) -> ConceptSets:
    """Return the sets of one ImageNet class: forget from train, validation from held-out train, evaluation
    from val.

    Only what the sets take is read. Raises DataError for an unknown class, missing parts, too few pictures.
    """
    source = ImageNet(ask.root)
    target = source.find(ask.target)
    said = source.said(target)
    twins = [c for c in source.concepts() if c != target and same(source.said(c)) == same(said)]
    aliased = {metadata().concepts[i] for alias in ask.aliases for i in named(alias)}
    others = [c for c in source.concepts() if c not in (target, *twins, *aliased)]
    seen: set[str] = set()
    own, retain = {}, {}
    for split, prefix in reversed(list(zip(SPLITS, ROLES, strict=True))):  # held-out parts choose first
        own[split] = _drawn(source, [target], split, f"{prefix}forget", ask, seen)
        retain[split] = _drawn(source, others, split, f"{prefix}retain", ask, seen)
    source.tally.check(ask.max_corrupt)
    pool = Pool(source=source, splits={s: own[s] for s in SPLITS})
    _enough(pool, ask, source)
    notes = [f"data.root: {len(source.present)} of {CLASSES} classes are there", *source.tally.notes()]
    if twins:
        notes.append(f"retain: {', '.join(twins)} left out, as prompts call it the same as the target")
    suite = _imagenet_suite(source, others, retain["evaluation"], ask.templates, ask.sizes, ask.seed)
    template = DOMAINS[source.domain].zero_shot[0]
    draft = Draft(
        target=target,
        aliases=ask.aliases,
        keywords=(target,),
        domain=source.domain,
        own=pool,
        retain=[Pool(source=source, splits={s: retain[s] for s in SPLITS})],
        classes=dict.fromkeys(others, source.domain),
        sizes=ask.sizes,
        seed=ask.seed,
        suites=[suite],
        notes=notes,
        prompts={c: template.format(spoken(source.said(c), source.domain)) for c in (target, *others)},
    )
    return assemble(draft)


def _drawn(
    source: ImageNet, concepts: Sequence[str], split: str, name: str, ask: ImageNetRequest, seen: set[str]
) -> dict[str, list[Picture]]:
    """Draw one set's photographs, and note where its cap left out some that there are."""
    cap = getattr(ask.sizes, name)
    found = source.draw(concepts, split, cap, rng_for(ask.seed, f"draw {name}"), seen)
    if len(concepts) == 1 and (there := len(source.available(concepts[0], split))) > cap:
        source.tally.caps.append(f"{name}: {cap} of {there} photographs drawn, data.n_{name}={cap}")
    return found


def _enough(pool: Pool, ask: ImageNetRequest, source: ImageNet) -> None:
    counts = {split: sum(map(len, groups.values())) for split, groups in pool.splits.items()}
    if sum(counts.values()) >= ask.min_forget and all(counts.values()):
        return
    raise DataError(
        f"data.root='{ask.root}': too few pictures of target='{ask.target}'",
        allowed=f"data.min_forget={ask.min_forget} or more, some of them in the train part and some in "
        "the val part",
        found="; ".join([*(f"{n} for {split}" for split, n in counts.items()), *source.tally.notes()]),
        fix="complete the class's photographs, or choose another class",
    )


def _imagenet_suite(
    source: ImageNet,
    concepts: Sequence[str],
    found: dict[str, list[Picture]],
    templates: Templates,
    sizes: Sizes,
    seed: int,
) -> Suite:
    """Return zero-shot accuracy over the classes that stay; a class embedding is the mean over open_clip's
    templates.
    """
    drawn = balanced(found, sizes.suite, rng_for(seed, "suite imagenet"))
    numbers = {c: i for i, c in enumerate(concepts)}
    return Suite(
        name="imagenet",
        pairs=Pairs(tuple(drawn), {source.domain: source}),
        labels=tuple(numbers[p.concept] for p in drawn),
        class_names=tuple(concepts),
        prompts=tuple(s for c in concepts for s in sentences(source.said(c), templates)),
    )


def _celeba_suite(celeba: CelebA, without: Sequence[str], names: Names, sizes: Sizes, seed: int) -> Suite:
    """Return CelebA-100 (SLUG): pictures of the 100 most frequent names, prompts `{name}.`, the target among
    neither.
    """
    measured = celeba.frequent(without)
    space = unlike(celeba.concepts(), without) if names is Names.ALL else measured
    drawn = balanced(
        celeba.draw(measured, sizes.suite, rng_for(seed, "suite celeba")),
        sizes.suite,
        rng_for(seed, "order celeba"),
    )
    if not drawn:
        raise DataError(
            "data.celeba_root: no usable photograph of the most frequent names",
            found="; ".join(celeba.tally.notes()) or None,
        )
    numbers = {n: i for i, n in enumerate(space)}
    return Suite(
        name="celeba",
        pairs=Pairs(tuple(drawn), {celeba.domain: celeba}),
        labels=tuple(numbers[p.concept] for p in drawn),
        class_names=tuple(space),
        prompts=tuple(f"{n}." for n in space),
    )


def _celeba_pictures(
    celeba: CelebA, sets: ConceptSets, names: Sequence[str], sizes: Sizes, seed: int
) -> Pairs:
    """Return the target's photographs that an edit is judged on. Raises DataError for those that another set
    holds too.
    """
    mine, target = celeba.find(names), sets.target
    if not mine:
        raise celeba.unknown(target)
    drawn = celeba.draw(mine, sizes.evaluation_forget, rng_for(seed, "celeba target"))
    pictures = [replace(p, concept=target) for n in mine for p in drawn[n]]
    if not pictures:
        raise DataError(
            f"data.judge_on_celeba: no usable photograph of target='{target}'", found=celeba.tally.named()
        )
    others = [
        p for name, p in six_sets(sets).items() if name != "evaluation_forget"
    ]  # it makes way for these
    taken = _contents(others)
    shared = sorted(celeba.file_of(p) for p in pictures if content(p.key) in taken)
    if shared:
        more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
        raise DataError(
            f"data.judge_on_celeba: {len(shared)} of {len(pictures)} photographs of target='{target}' in "
            "CelebA are also in data.root or data.retain_root: what an edit sees proves nothing about it",
            found=", ".join(shared[:5]) + more,
            fix="take these files out of data.root and data.retain_root, or leave data.judge_on_celeba=false",
        )
    return Pairs(tuple(pictures), {celeba.domain: celeba})
