"""Building the sets of a run: which pictures a target is forgotten, searched and judged with.

`build_sets` serves every kind of data. On the embedded sources (with a stand-in that was trained on them)
everything that is not the target must stay: other concepts of its source, and the other sources. Own pictures
are in `own.py`.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from razor_cli.data.assemble import assemble, make_suite, unlike
from razor_cli.data.benchmarks import Benchmarks, ImageNetRequest, imagenet_sets
from razor_cli.data.disjoint import check_unseen
from razor_cli.data.own import Request, folder_sets, webdataset_sets
from razor_cli.data.prepared import prepared
from razor_cli.data.rendered import Rendered
from razor_cli.data.sampling import Pool, Sizes
from razor_cli.data.sets import ConceptSets, Suite
from razor_cli.data.sources.base import Source
from razor_cli.data.sources.celeba import distinct
from razor_cli.data.sources.cifar10 import Cifar10
from razor_cli.data.sources.emoji import Emoji
from razor_cli.data.sources.laion import Laion
from razor_cli.data.sources.photo import same
from razor_cli.data.sources.portraits import Portraits
from razor_cli.data.sources.webdataset import WebDataset
from razor_cli.errors import ConfigError, DataError, nearest


class Kind(StrEnum):
    """Where the target's pictures come from: an embedded source, CIFAR-10, another benchmark, or the user's
    own pictures.
    """

    PORTRAITS = "portraits"
    EMOJI = "emoji"
    CIFAR10 = "cifar10"
    FOLDER = "folder"
    WEBDATASET = "webdataset"
    IMAGENET = "imagenet"
    LAION = "laion"
    LABELLED = "labelled"
    IMGNETDOGS = "imgnetdogs"
    COMPCARS = "compcars"


ROOTED = (Kind.FOLDER, Kind.WEBDATASET, Kind.LAION, Kind.IMAGENET)  # need data.root


def build_sets(
    *,
    kind: Kind,
    target: str,
    domain: str,
    aliases: tuple[str, ...] = (),
    keyword: str | None = None,
    root: Path | None = None,
    retain_root: Path | None = None,
    retain_domain: str = "object",
    cifar_root: Path | str | None = None,
    class_names: tuple[str, ...] = (),
    suites: tuple[str, ...] = ("portraits", "emoji", "cifar10"),
    sizes: Sizes | None = None,
    max_corrupt: float = 0.01,
    min_forget: int = 12,
    stand_in: bool = True,
    cache: Path | None = None,
    seed: int = 0,
    benchmarks: Benchmarks | None = None,
) -> ConceptSets:
    """Return the disjoint sets of one target; pictures are listed, not yet rendered or decoded.

    `domain` is the scenario's prompt domain (person, emoji, object). `cifar_root` is a folder, None, or
    `auto`: what `razor data prepare cifar10` left, if anything. `keyword` replaces target and aliases as what
    captions of shards are searched for. `class_names` adds names without pictures to the label space.
    `suites` are the sources of unrelated tasks. `stand_in`: the model was trained on the embedded sources, so
    they are retained and judged too. `cache` keeps rendered pictures (None: the user's cache folder). The
    seed draws the sample. `benchmarks` adds utilities to own pictures and LAION, and says which prompts
    ImageNet is judged with.

    Raises DataError or ConfigError for what a user can mend, RunError if sets were not disjoint.
    """
    sizes, extra = sizes or Sizes(), benchmarks or Benchmarks()
    cifar = resolve_cifar(cifar_root)
    photographs = Cifar10(cifar) if cifar else None
    if kind not in ROOTED:
        return _embedded_sets(
            kind, target, domain, aliases, photographs, suites, sizes, stand_in, cache, seed
        )
    if root is None:
        raise _no_root(kind, target)
    if kind is Kind.IMAGENET:
        asked = ImageNetRequest(
            target=target,
            aliases=aliases,
            root=root,
            templates=extra.templates,
            sizes=sizes,
            max_corrupt=max_corrupt,
            min_forget=min_forget,
            seed=seed,
        )
        return imagenet_sets(asked)
    ask = Request(
        target=target,
        aliases=aliases,
        keyword=keyword,
        domain=domain,
        root=root,
        retain_root=None if retain_root and retain_root.resolve() == root.resolve() else retain_root,
        retain_domain=retain_domain,
        cifar=photographs,
        class_names=distinct((*class_names, *extra.names((target, *aliases), domain))),
        suites=suites,
        sizes=sizes,
        max_corrupt=max_corrupt,
        min_forget=min_forget,
        seed=seed,
        shards=Laion if kind is Kind.LAION else WebDataset,
    )
    sets = folder_sets(ask) if kind is Kind.FOLDER else webdataset_sets(ask)
    return extra.add(sets, names=ask.names, sizes=sizes, seed=seed, max_corrupt=max_corrupt)


def _embedded_sets(
    kind: Kind,
    target: str,
    domain: str,
    aliases: tuple[str, ...],
    cifar: Cifar10 | None,
    suites: tuple[str, ...],
    sizes: Sizes,
    stand_in: bool,
    cache: Path | None,
    seed: int,
) -> ConceptSets:
    """Return the sets of a target among the portraits, the emoji or the classes of CIFAR-10."""
    sources = _sources(cifar, cache)
    source = _chosen(kind, domain, sources)
    target = _known(target, source)
    names = (target, *aliases)
    rest = [s for name, s in sources.items() if name != kind.value and stand_in]
    others = unlike(source.concepts(), names)
    sets = assemble(
        target=target,
        aliases=aliases,
        keywords=names,
        domain=domain,
        own=Pool.of(source, [target]),
        retain=[Pool.of(source, others), *(Pool.of(s, unlike(s.concepts(), names)) for s in rest)],
        classes=dict.fromkeys(others, domain),
        sizes=sizes,
        seed=seed,
        suites=[suite for s in rest if s.name in suites for suite in _suites(s, names, sizes, seed)],
        notes=_notes(rest, names, stand_in and cifar is None),
    )
    check_unseen(sets)
    return sets


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


def resolve_cifar(setting: Path | str | None) -> Path | None:
    """Return the folder of CIFAR-10: None stays None, `auto` is the prepared place or None if nothing is
    there.
    """
    if setting is None:
        return None
    if str(setting) != "auto":
        return Path(setting)
    place = prepared("cifar10")
    return place if place.is_dir() else None


def _chosen(kind: Kind, domain: str, sources: dict[str, Source]) -> Source:
    if kind.value not in sources:
        raise DataError(
            "data.cifar_root: CIFAR-10 is not here",
            fix="run `razor data prepare cifar10` once, or point data.cifar_root at a copy",
        )
    if sources[kind.value].domain != domain:
        raise ConfigError(
            f"the pictures '{kind}' show the domain {sources[kind.value].domain}, but "
            f"scenario.domain={domain}",
            allowed="scenario=identity with portraits, object with emoji, class with cifar10",
            fix="choose the scenario that goes with the data",
        )
    return sources[kind.value]


def _sources(cifar: Cifar10 | None, cache: Path | None) -> dict[str, Source]:
    sources: dict[str, Source] = {
        "portraits": Rendered(Portraits(), cache),
        "emoji": Rendered(Emoji(), cache),
    }
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
        fix="choose one of them, or use your own pictures with data=folder data.root=DIR "
        "(DIR/<concept>/*.jpg)",
    )


def _no_root(kind: Kind, target: str) -> DataError:
    place = {
        Kind.FOLDER: f"DIR/{target}/*.jpg, 12 or more",
        Kind.IMAGENET: "ImageNet-1K: parquet, or train/ and val/",
    }.get(kind, "shards with captions")
    return DataError(
        f"data.root is not set: data={kind} needs pictures of target='{target}'",
        allowed=f"data.root=DIR ({place}), and data.retain_root=DIR or CIFAR-10 from `razor data prepare "
        "cifar10`",
        fix="give data.root=DIR, or try the embedded stand-in, which needs no pictures: model=clip_tiny "
        "data=standin",
    )
