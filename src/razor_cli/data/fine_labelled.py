"""Sets of the fine_grained scenario from labelled photographs: ImgnetDogs and CompCars-S as in Tan & Gong, or
one's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from razor_cli.data.ask import Confidence
from razor_cli.data.assemble import Draft, assemble, unlike
from razor_cli.data.choices import CoarseText
from razor_cli.data.disjoint import check_disjoint
from razor_cli.data.fine_grained import PER_CLASS
from razor_cli.data.sampling import Groups, Pool, Sizes, balanced, rng_for
from razor_cli.data.sets import ConceptSets, Judged, Pairs, Shifted, Suite, Taxonomy
from razor_cli.data.sources.base import SPLITS
from razor_cli.data.sources.labelled import Labelled
from razor_cli.data.sources.photo import same
from razor_cli.data.sources.tally import Tally
from razor_cli.data.taxonomy import FILE, Branch, choose, read_branches, shipped, taxonomy_of, templates
from razor_cli.errors import DataError

DOMAIN = "object"
ROLES = dict(zip(SPLITS, ("", "validation_", "evaluation_"), strict=True))  # prefixes of the names in Sizes
SUITE_PROMPTS = {  # CLIP's wording of each zero-shot task; others: a photo of a {}
    "stanford_cars": "a photo of a {}.",
    "food101": "a photo of {}, a type of food.",
    "flowers102": "a photo of a {}, a type of flower.",
    "caltech101": "a photo of a {}.",
    "cifar100": "a photo of a {}.",
    "oxford_pet": "a photo of a {}, a type of pet.",
}


@dataclass(frozen=True, kw_only=True)
class LabelledRequest:
    """What a fine_grained run on labelled photographs asks for; names are those of the settings."""

    root: Path
    taxonomy: Path | None
    prompts: str | None
    ood_root: Path | None
    suite_roots: Mapping[str, Path]
    target: str
    forget: tuple[str, ...]
    called: str
    coarse_text: CoarseText
    sizes: Sizes
    max_corrupt: float
    min_forget: int
    seed: int
    confidence: Confidence

    @property
    def templates(self) -> tuple[str, ...] | None:
        """The published templates, if any are asked for."""
        return templates(self.prompts) if self.prompts else None

    def source(self) -> Labelled:
        """Return the pictures with their classes. Raises DataError for a taxonomy file that is missing or
        wrong.
        """
        return Labelled(self.root, domain=DOMAIN, branches=read_branches(self.taxonomy or self.root / FILE))

    def labels(self, branches: Sequence[Branch]) -> Taxonomy:
        """Return the taxonomy of some branches with its prompts."""
        parents = {b.fine: b.coarse for b in branches}
        return taxonomy_of(parents, domain=DOMAIN, coarse_text=self.coarse_text, template_list=self.templates)


def labelled_sets(ask: LabelledRequest) -> ConceptSets:
    """Return the sets of a run that forgets fine classes of labelled photographs; forget sizes count for each
    of them.

    Raises DataError for files that are not there or not what they should be, for unknown classes, and for too
    few pictures.
    """
    source = ask.source()
    taxonomy = ask.labels(source.branches)
    parents = taxonomy.parents
    chosen = choose(ask.target, ask.forget, parents, partial(labelled_confidence, ask), ask.called)
    kept = [n for n in parents if n not in chosen.names]
    own = Pool(
        source=source, splits={s: _groups(source, chosen.names, s, ask.sizes, "forget") for s in SPLITS}
    )
    retain = Pool(source=source, splits={s: _groups(source, kept, s, ask.sizes, "retain") for s in SPLITS})
    source.tally.check(ask.max_corrupt)
    _enough(own, ask, chosen.names)
    draft = Draft(
        target=chosen.label,
        aliases=(),
        keywords=chosen.names,
        domain=DOMAIN,
        own=own,
        retain=[retain],
        classes=dict.fromkeys(kept, DOMAIN),
        sizes=ask.sizes,
        seed=ask.seed,
        joint=chosen.names,
        notes=[chosen.note, *source.tally.notes()],
        prompts=_prompts(parents, taxonomy, ask),
    )
    sets = assemble(draft)
    taken = {
        k for p in (sets.forget, sets.retain, sets.validation.forget, sets.validation.retain) for k in p.keys
    }
    drawn = [_suite(name, root, ask, parents, taken) for name, root in ask.suite_roots.items()]
    told = [note for _, notes in drawn for note in notes]
    sets = replace(
        sets, taxonomy=taxonomy, suites=tuple(suite for suite, _ in drawn), notes=(*sets.notes, *told)
    )
    sets = _with_ood(sets, chosen.names, ask, taken) if ask.ood_root else sets
    check_disjoint(sets)
    return sets


def _groups(source: Labelled, names: Sequence[str], split: str, sizes: Sizes, kind: str) -> Groups:
    """Return candidates of each class; no more files are looked at than the sets can take, and half as many
    again.
    """
    wanted = getattr(sizes, f"{ROLES[split]}{kind}") / (1 if kind == "forget" else max(1, len(names)))
    return {n: source.drawn(n, split, max(8, math.ceil(1.5 * wanted))) for n in names}


def _unshared(groups: Groups, taken: AbstractSet[str], tally: Tally) -> Groups:
    """Return candidates less those that an edit looks at: data sets of photographs share some."""
    kept = {n: [p for p in pictures if p.key not in taken] for n, pictures in groups.items()}
    tally.shared += sum(len(groups[n]) - len(kept[n]) for n in groups)
    return kept


def _prompts(parents: Mapping[str, str], taxonomy: Taxonomy, ask: LabelledRequest) -> dict[str, str] | None:
    """Return the prompt of each class for the metrics that take one: the plain one of the published
    templates.
    """
    if not ask.templates:
        return None
    plain = next((i for i, t in enumerate(ask.templates) if t.startswith("a photo of a {}")), 0)
    return {n: taxonomy.fine_prompts[n][plain] for n in parents}


def labelled_confidence(ask: LabelledRequest) -> dict[str, float]:
    """Return the model's mean probability of the right class on validation pictures, for every class."""
    source = ask.source()
    prompts = ask.labels(source.branches).fine_prompts
    groups = {n: source.drawn(n, "validation", PER_CLASS) for n in prompts}
    drawn = balanced(groups, PER_CLASS * len(groups), rng_for(ask.seed, "difficulty"))
    return ask.confidence(Pairs(tuple(drawn), {source.domain: source}), prompts)


def _enough(own: Pool, ask: LabelledRequest, names: Sequence[str]) -> None:
    short = [n for n in names if sum(len(own.splits[s][n]) for s in SPLITS) < ask.min_forget]
    empty = [f"{n} ({s})" for n in names for s in SPLITS if not own.splits[s][n]]
    if short or empty:
        raise DataError(
            f"data.root='{ask.root}': too few pictures of {', '.join(short or empty)}",
            allowed=f"data.min_forget={ask.min_forget} or more of each class, some for each split",
        )


def _suite(
    name: str, root: Path, ask: LabelledRequest, parents: Mapping[str, str], taken: AbstractSet[str]
) -> tuple[Suite, list[str]]:
    """Return one zero-shot task over the classes of a data set that are not among the taxonomy's, and what to
    note about it.
    """
    source = Labelled(root, domain=DOMAIN, setting=f"data.suite_roots.{name}")
    names = unlike(source.concepts(), parents)
    if not names:
        raise DataError(f"data.suite_roots.{name}: all its classes are in the taxonomy", found=str(root))
    each = math.ceil(ask.sizes.suite / len(names))
    groups = {n: source.drawn(n, "evaluation", each) for n in names}
    unseen = _unshared(groups, taken, source.tally)
    drawn = balanced(unseen, ask.sizes.suite, rng_for(ask.seed, f"suite {name}"))
    source.tally.check(ask.max_corrupt)
    numbers = {n: i for i, n in enumerate(names)}
    wording = SUITE_PROMPTS.get(name, "a photo of a {}.")
    suite = Suite(
        name=name,
        pairs=Pairs(tuple(drawn), {source.domain: source}),
        labels=tuple(numbers[p.concept] for p in drawn),
        class_names=tuple(names),
        prompts=tuple(wording.format(n) for n in names),
    )
    return suite, source.tally.notes()


def _with_ood(
    sets: ConceptSets, gone: Sequence[str], ask: LabelledRequest, taken: AbstractSet[str]
) -> ConceptSets:
    """Return the sets with the out-of-distribution test: another data set with labels of its own."""
    assert ask.ood_root is not None
    source = Labelled(
        ask.ood_root, domain=DOMAIN, setting="data.ood_root", branches=_ood_branches(ask.ood_root)
    )
    forgotten = {same(n) for n in gone}
    hit = [b.fine for b in source.branches if {same(b.fine), same(b.same_as)} & forgotten]
    if not hit:
        note = (
            f"ood: none of the forgotten classes is in data.ood_root='{ask.ood_root.name}', so "
            "nothing is measured there"
        )
        return replace(sets, notes=(*sets.notes, note))
    kept = [b.fine for b in source.branches if b.fine not in hit]
    taxonomy = ask.labels(source.branches)
    wanted = {
        "forget": (hit, ask.sizes.evaluation_forget * len(hit)),
        "retain": (kept, ask.sizes.evaluation_retain),
    }
    drawn = {
        part: balanced(
            _unshared(_groups(source, names, "evaluation", ask.sizes, part), taken, source.tally),
            count,
            rng_for(ask.seed, f"ood {part}"),
        )
        for part, (names, count) in wanted.items()
    }
    source.tally.check(ask.max_corrupt)
    judged = Judged(**{part: Pairs(tuple(p), {source.domain: source}) for part, p in drawn.items()})
    note = (
        f"ood: {source.listing.layout} at data.ood_root, {len(source.branches)} classes; forgotten "
        f"there: {', '.join(hit)}"
    )
    shifted = Shifted(judged=judged, class_names=(*hit, *kept), taxonomy=taxonomy)
    return replace(sets, ood=shifted, notes=(*sets.notes, note, *source.tally.notes()))


def _ood_branches(root: Path) -> list[Branch]:
    """Return the taxonomy beside the pictures, else the packed one of Oxford-IIIT Pet."""
    if (root / FILE).is_file():
        return read_branches(root / FILE)
    found = Labelled(root, setting="data.ood_root").listing
    if found.layout == "oxford_pet":
        return [Branch(**row) for row in shipped()["oxford_pet"]]
    raise DataError(
        f"data.ood_root: there is no '{root / FILE}'",
        allowed=f"{FILE} (fine, coarse, same_as), or Oxford-IIIT Pet",
    )
