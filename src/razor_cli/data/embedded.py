"""The sets of a target among the embedded pictures or CIFAR-10: portraits, emoji, ten classes of photographs.

With a stand-in that was trained on them, everything that is not the target must stay: other concepts of its
source, and the other sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from razor_cli.data.assemble import Draft, assemble, make_suite, unlike
from razor_cli.data.disjoint import check_unseen
from razor_cli.data.rendered import Rendered
from razor_cli.data.sampling import Groups, Pool, Sizes
from razor_cli.data.sets import ConceptSets, Suite, together
from razor_cli.data.sources.base import Source
from razor_cli.data.sources.cifar10 import Cifar10
from razor_cli.data.sources.emoji import Emoji
from razor_cli.data.sources.photo import same
from razor_cli.data.sources.portraits import Portraits
from razor_cli.data.sources.styles import Styles
from razor_cli.errors import ConfigError, DataError, nearest

CANVAS = "canvas"  # icons in styles, of which the styles are the concepts


@dataclass(frozen=True, kw_only=True)
class EmbeddedRequest:
    """What a run on embedded pictures asks for; names are those of the settings."""

    pictures: str  # portraits, emoji, cifar10 or canvas
    target: str
    domain: str
    joint: tuple[str, ...] = ()  # several that go together; `target` is one of them
    gone: tuple[str, ...] = ()  # went before: neither kept nor forgotten
    aliases: tuple[str, ...] = ()
    cifar: Cifar10 | None = None
    photographs: bool = True  # the stand-in knows some, so that their absence is told
    suites: tuple[str, ...] = ("portraits", "emoji", "cifar10")
    sizes: Sizes
    stand_in: bool = True
    seed: int = 0


def embedded_sets(ask: EmbeddedRequest) -> ConceptSets:
    """Return the disjoint sets of one target; pictures are listed, not yet rendered or decoded.

    Raises DataError or ConfigError for what a user can mend, RunError if sets were not disjoint.
    """
    sources = _sources(ask.cifar, styles=ask.pictures == CANVAS)
    source = _chosen(ask, sources)
    wanted = tuple(_known(name, source) for name in ask.joint or (ask.target,))
    names = (*wanted, *(_known(name, source) for name in ask.gone), *ask.aliases)
    rest = [s for name, s in sources.items() if name != ask.pictures and ask.stand_in]
    others = unlike(source.concepts(), names)
    draft = Draft(
        target=together(wanted),
        joint=wanted if len(wanted) > 1 else (),
        aliases=ask.aliases,
        keywords=names,
        domain=ask.domain,
        own=Pool.of(source, list(wanted)),
        retain=[_kin(source, others), *(Pool.of(s, unlike(s.concepts(), names)) for s in rest)],
        classes=dict.fromkeys(others, ask.domain),
        sizes=ask.sizes,
        seed=ask.seed,
        suites=[
            suite for s in rest if s.name in ask.suites for suite in _suites(s, names, ask.sizes, ask.seed)
        ],
        notes=_notes(rest, names, ask.stand_in and ask.photographs and ask.cifar is None),
    )
    sets = assemble(draft)
    check_unseen(sets)
    return sets


def _kin(source: Source, names: list[str]) -> Pool:
    """Return the pool of what is most like the target. Of styles every icon is a group of its own: as five
    groups they would be a hundredth of a sample that is balanced over the concepts of all sources.
    """
    pool = Pool.of(source, names)
    if source.name != Styles.name:
        return pool
    splits: dict[str, Groups] = {}
    for split, groups in pool.splits.items():
        splits[split] = {}
        for picture in (p for group in groups.values() for p in group):
            splits[split].setdefault(picture.key, []).append(picture)
    return Pool(source=source, splits=splits)


def _notes(rest: list[Source], names: tuple[str, ...], no_photographs: bool) -> list[str]:
    named = [s.name for s in rest if len(unlike(s.concepts(), names)) < len(s.concepts())]
    notes = [
        f"retain: {name} has a concept called like the target; it is neither kept nor measured"
        for name in named
    ]
    if no_photographs:
        missing = "no CIFAR-10 here (data.cifar_root, or `razor data prepare cifar10`)"
        notes.append(f"retain: {missing}; what the model knows of photographs is neither kept nor measured")
    return notes


def _chosen(ask: EmbeddedRequest, sources: dict[str, Source]) -> Source:
    if ask.pictures not in sources:
        raise DataError(
            "data.cifar_root: CIFAR-10 is not here",
            fix="run `razor data prepare cifar10` once, or point data.cifar_root at a copy",
        )
    source = sources[ask.pictures]
    if source.domain != ask.domain:
        raise ConfigError(
            f"the pictures '{ask.pictures}' show the domain {source.domain}, but "
            f"scenario.domain={ask.domain}",
            allowed="scenario=identity with portraits, object with emoji, class with cifar10, "
            "style with canvas",
            fix="choose the scenario that goes with the data",
        )
    return source


def _sources(cifar: Cifar10 | None, *, styles: bool = False) -> dict[str, Source]:
    sources: dict[str, Source] = {
        "portraits": Rendered(Portraits()),
        "emoji": Rendered(Emoji()),
    }
    if styles:
        sources[CANVAS] = Rendered(Styles())
    if cifar is not None:
        sources["cifar10"] = cifar
    return sources


def _suites(source: Source, names: tuple[str, ...], sizes: Sizes, seed: int) -> list[Suite]:
    """Return the unrelated tasks of one source. Emoji make two, so that seen icons never pass for held-out
    ones.
    """
    splits = (
        {"emoji_seen": "seen", "emoji_held_out": "evaluation"}
        if source.name == "emoji"
        else {source.name: "evaluation"}
    )
    return [
        make_suite(name, source, split, without=names, sizes=sizes, seed=seed)
        for name, split in splits.items()
    ]


def _known(target: str, source: Source) -> str:
    """Return the source's spelling of the target; raises DataError with the nearest names."""
    concepts = source.concepts()
    for concept in concepts:
        if same(concept) == same(target):
            return concept
    near = nearest(target, concepts)
    raise DataError(
        f"target='{target}' is not among the {source.name}",
        allowed=f"{len(concepts)} concepts, {'nearest' if near else 'among them'}: "
        f"{', '.join(near or concepts[:5])}",
        fix=several(target, concepts)
        or "choose one of them, or use your own pictures with data=folder data.root=DIR "
        "(DIR/<concept>/*.jpg)",
    )


def several(target: str, concepts: Sequence[str]) -> str | None:
    """Return how to ask for each of several concepts or for all together, where a target holds names of them
    between commas; else None.
    """
    names, known = [name.strip() for name in target.split(",")], set(map(same, concepts))
    if len(names) < 2 or not all(same(name) in known for name in names):
        return None
    return f'add -m for a run of each, or target="[{", ".join(names)}]" for one edit of all'
