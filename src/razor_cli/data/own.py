"""Sets from the user's own pictures: a folder per concept, or captioned tar shards."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from razor_cli.data.assemble import Draft, assemble, make_suite, unlike
from razor_cli.data.retain_cut import cut
from razor_cli.data.sampling import Pool, Sizes, rng_for
from razor_cli.data.sets import ConceptSets, Suite
from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.cifar10 import Cifar10, part_files
from razor_cli.data.sources.folder import Folder
from razor_cli.data.sources.laion import Laion
from razor_cli.data.sources.photo import halves, same
from razor_cli.data.sources.webdataset import Entry, WebDataset
from razor_cli.errors import DataError

ROLES = ("", "validation_", "evaluation_")  # prefixes of the names in Sizes, in the order of SPLITS
SHARES = (0.5, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run on own pictures asks for; names are those of the settings."""

    target: str
    aliases: tuple[str, ...]
    keyword: str | None
    domain: str
    root: Path
    retain_root: Path | None
    retain_domain: str
    cifar: Cifar10 | None
    class_names: tuple[str, ...]
    suites: tuple[str, ...]
    sizes: Sizes
    max_corrupt: float
    min_forget: int
    seed: int
    shards: type[WebDataset] = WebDataset  # who reads captioned shards

    @property
    def names(self) -> tuple[str, ...]:
        """The target and its other names, as folders may be called."""
        return (self.target, *self.aliases)

    @property
    def keywords(self) -> tuple[str, ...]:
        """What a caption of the target holds."""
        return (self.keyword,) if self.keyword else self.names

    def borders(self, count: int, role: str) -> tuple[int, int]:
        """Return where `count` captioned pairs are cut into train, validation and evaluation.

        A quarter each is held out; of LAION no more than the held-out sets take (a fifth over, for damaged
        pictures), so that one shard of 7,900 pairs is nearly all there to retain with.
        """
        first, second = halves(count)
        if self.shards is not Laion:
            return first, second
        validation, evaluation = (
            math.ceil(1.2 * getattr(self.sizes, f"{prefix}{role}")) for prefix in ROLES[1:]
        )
        held, judged = min(second - first, validation), min(count - second, evaluation)
        return count - held - judged, count - judged

    def sets(self, own: Pool, retain: Sequence[Pool], notes: Sequence[str]) -> ConceptSets:
        """Draw and check the sets."""
        told = list(notes)
        retain = cut(retain, told)
        draft = Draft(
            target=self.target,
            aliases=self.aliases,
            keywords=(*self.names, *self.keywords),
            domain=self.domain,
            own=own,
            retain=retain,
            classes=_classes(self, retain, told),
            sizes=self.sizes,
            seed=self.seed,
            suites=_suites(self),
            notes=told,
        )
        return assemble(draft)


def folder_sets(ask: Request) -> ConceptSets:
    """Return the sets of a target whose pictures lie in DIR/<target or alias>/; other folders there are
    retained.

    The target's pictures are cut by content hash: 50 % forget, 25 % validation, 25 % evaluation. The rest of
    the world is `retain_root`, else CIFAR-10.
    """
    folder = Folder(ask.root, domain=ask.domain)
    mine = folder.find(ask.names)
    if not mine:
        raise folder.unknown(ask.target)
    others = unlike(folder.concepts(), ask.names)
    if not others and ask.retain_root is None and ask.cifar is None:
        raise _no_retain(ask)
    folder.limit = _per_concept(ask.sizes, len(others))
    own = Pool(source=folder, splits={s: {ask.target: p} for s, p in folder.gather(mine, ask.target).items()})
    neighbours = [Pool.of(folder, others)] if others else []
    folder.tally.check(ask.max_corrupt)
    _enough_of_target(own, ask, folder.tally.notes())
    captions = [p.caption for groups in own.splits.values() for g in groups.values() for p in g if p.caption]
    if ask.retain_root is not None:
        world, notes = _retain_pool(ask.retain_root, ask, captions, len(others))
        neighbours.append(world)
    else:
        notes = []
        neighbours += [_photographs(ask.cifar, ask)] if ask.cifar else []
    return ask.sets(own, neighbours, [*folder.tally.notes(), *notes])


def webdataset_sets(ask: Request) -> ConceptSets:
    """Return the sets of a target that captions name: D_f by keyword, D_r at random without caption overlap.

    Retain pictures come from `retain_root`, else from the same shards.
    """
    shards = ask.shards(ask.root, domain=ask.domain)
    matches = shards.mentioning(ask.keywords)
    own = _drawn(shards, matches, ask, "forget", ask.target)
    shards.tally.check(ask.max_corrupt)
    _enough_of_target(own, ask, [f"{len(matches)} captions match", *shards.tally.notes()])
    captions = [e.caption for e in matches]
    notes = [f"data.root: {len(matches)} of {len(shards.entries)} captions hold {' or '.join(ask.keywords)}"]
    if ask.retain_root is None:
        pool = _captioned(shards, ask, captions, 1)
        shards.tally.check(ask.max_corrupt)
    else:
        pool, more = _retain_pool(ask.retain_root, ask, captions, 1)
        notes += more
    return ask.sets(own, [pool], [*shards.tally.notes(), *notes])


def _retain_pool(root: Path, ask: Request, captions: Sequence[str], groups: int) -> tuple[Pool, list[str]]:
    """Return the pool of `data.retain_root` (shards, CIFAR-10 or a folder per concept), and what to note
    about it.
    """
    if ask.shards.holds(root):
        shards = ask.shards(root, domain=ask.retain_domain, setting="data.retain_root")
        pool = _captioned(shards, ask, captions, groups)
        shards.tally.check(ask.max_corrupt)
        return pool, shards.tally.notes()
    if root.is_dir() and _is_cifar(root):
        return _photographs(Cifar10(root), ask), []
    folder = Folder(root, domain=ask.retain_domain, setting="data.retain_root")
    if caught := folder.find(ask.names):
        raise DataError(
            f"data.retain_root: the target is among the concepts to keep ('{caught[0]}')",
            found=f"a folder under '{root}' is called like target='{ask.target}' or one of data.aliases",
            fix="move that folder out of data.retain_root (into data.root, if it shows the target)",
        )
    folder.limit = _per_concept(ask.sizes, len(folder.concepts()))
    pool = Pool.of(folder, folder.concepts())
    folder.tally.check(ask.max_corrupt)
    return pool, folder.tally.notes()


def _captioned(shards: WebDataset, ask: Request, captions: Sequence[str], groups: int) -> Pool:
    """Draw retain pictures by caption; in the balanced sample they count as many as `groups` concepts."""
    pool = _drawn(shards, shards.without((*ask.names, *ask.keywords), captions), ask, "retain", None)
    parts = {s: [p for g in of_split.values() for p in g] for s, of_split in pool.splits.items()}
    return Pool(
        source=shards,
        splits={
            s: {f"captioned {i}": p[i :: max(1, groups)] for i in range(max(1, groups))}
            for s, p in parts.items()
        },
    )


def _drawn(
    shards: WebDataset, entries: Sequence[Entry], ask: Request, role: str, concept: str | None
) -> Pool:
    """Cut entries by the hash of their name (the same in every run), then draw and read as many of each part
    as asked for.
    """
    ordered = sorted(
        entries,
        key=lambda e: hashlib.sha256(
            f"{shards.shards[e.shard].name}/{e.name}".encode(errors="replace")
        ).digest(),
    )
    first, second = ask.borders(len(ordered), role)
    parts = (ordered[:first], ordered[first:second], ordered[second:])
    seen: set[str] = set()
    drawn: dict[str, dict[str, list[Picture]]] = {}
    for split, part, prefix in reversed(
        list(zip(SPLITS, parts, ROLES, strict=True))
    ):  # held-out parts choose first
        wanted = f"{prefix}{role}"
        pictures = shards.draw(
            part, getattr(ask.sizes, wanted), rng_for(ask.seed, f"draw {wanted}"), concept=concept, seen=seen
        )
        drawn[split] = {concept or "": pictures}
        if len(part) > (cap := getattr(ask.sizes, wanted)):
            shards.tally.caps.append(
                f"{wanted}: {len(pictures)} of {len(part)} pairs drawn, data.n_{wanted}={cap}"
            )
    return Pool(source=shards, splits={s: drawn[s] for s in SPLITS})


def _photographs(cifar: Cifar10, ask: Request) -> Pool:
    return Pool.of(cifar, unlike(cifar.concepts(), ask.names))


def _is_cifar(root: Path) -> bool:
    """Tell whether a folder holds CIFAR-10; pickled ones and several copies are refused with what to do."""
    try:
        part_files(root, "train")
    except DataError as error:
        if "no CIFAR-10" not in error.what:
            raise
        return False
    return True


def _classes(ask: Request, pools: Sequence[Pool], notes: list[str]) -> dict[str, str]:
    """Return the label space besides the target, concept to prompt domain; says in `notes` where
    it is thin.
    """
    named = [p for p in pools if not isinstance(p.source, WebDataset)]
    found = {
        x.concept: x.domain for p in named for groups in p.splits.values() for g in groups.values() for x in g
    }
    kin = {c: d for c, d in found.items() if d == ask.domain}
    kin |= dict.fromkeys(unlike(ask.class_names, (*ask.names, *kin)), ask.domain)
    if not kin:
        among = (
            "multiclass accuracy chooses among the retain concepts"
            if found
            else "nothing to choose among in multiclass accuracy"
        )
        notes.append(
            f"class_names: no other concept of the target's kind, {among}; put other concepts beside the "
            "target's folder, or name some in data.class_names or data.names_file"
        )
    chosen = kin or found
    return {c: chosen[c] for c in sorted(chosen, key=same)}


def _suites(ask: Request) -> list[Suite]:
    if ask.cifar is None or "cifar10" not in ask.suites:
        return []
    return [make_suite("cifar10", ask.cifar, "evaluation", without=ask.names, sizes=ask.sizes, seed=ask.seed)]


def _per_concept(sizes: Sizes, concepts: int) -> int:
    """Return how many files of each concept are worth reading, with half as many again for flawed and
    repeated ones.
    """
    needed = max(
        getattr(sizes, f"{prefix}retain") / share for prefix, share in zip(ROLES, SHARES, strict=True)
    )
    return max(8, math.ceil(1.5 * needed / max(1, concepts)))


def _enough_of_target(own: Pool, ask: Request, notes: Sequence[str]) -> None:
    if own.count() < ask.min_forget:
        raise DataError(
            f"data.root='{ask.root}': too few pictures of target='{ask.target}'",
            allowed=f"data.min_forget={ask.min_forget} or more (half to forget with, a quarter each to "
            "search and to judge with)",
            found="; ".join([f"{own.count()} usable", *notes]),
            fix="add pictures, or name other spellings in data.aliases",
        )


def _no_retain(ask: Request) -> DataError:
    return DataError(
        f"data.retain_root is not set, and data.root='{ask.root}' shows only '{ask.target}': nothing "
        "would keep the rest",
        allowed="data.retain_root=DIR (a folder per concept, tar shards or CIFAR-10), other concepts in "
        "data.root, or CIFAR-10",
        fix="run `razor data prepare cifar10` once, or give data.retain_root=DIR or data.cifar_root=DIR",
    )
