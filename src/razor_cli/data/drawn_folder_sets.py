"""Sets of a model that draws from the user's own pictures: a folder of the target, and what must stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from razor_cli.data.assemble import unlike
from razor_cli.data.cell_sets import cell_pairs, too_few
from razor_cli.data.drawn_sets import Plan, assemble, pairs_of
from razor_cli.data.sampling import balanced, content, rng_for
from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets
from razor_cli.data.sources.base import SPLITS
from razor_cli.data.sources.folder import Folder
from razor_cli.data.sources.laion import Laion
from razor_cli.data.sources.photo import mention, same
from razor_cli.data.sources.unlearncanvas import UnlearnCanvas
from razor_cli.data.wording import CROSSED, Written, canvas_words, shipped
from razor_cli.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Where the pictures come from that must stay, and what of them is left out."""

    retain_root: Path | None
    keywords: tuple[str, ...]  # captions that hold one of them are left out
    min_forget: int
    max_corrupt: float


def folder_sets(
    plan: Plan, folder: Folder, names: Sequence[str], kept: Kept, notes: Sequence[str]
) -> DrawnSets:
    """Return the sets of a target whose pictures lie in DIR/<target or alias>/. Nothing of them is held out:
    what is judged is drawn.
    """
    scene, told = plan.scene, list(notes)
    mine = folder.find(names)
    if not mine:
        raise folder.unknown(scene.target)
    groups = folder.gather(mine, scene.target)
    pictures = [p for split in SPLITS for p in groups[split]]
    folder.tally.check(kept.max_corrupt)
    if len(pictures) < kept.min_forget:
        raise too_few(scene.target, str(folder.root), len(pictures), kept.min_forget, folder.tally.notes())
    rng = rng_for(scene.seed, "forget")
    chosen = rng.sample(pictures, min(len(pictures), plan.counts.forget))
    prompt = scene.words.only(scene.axis, scene.target)
    forget = pairs_of([(replace(p, caption=p.caption or prompt), folder) for p in chosen])
    silent = sum(not mention(names).search(same(p.caption or prompt)) for p in chosen)
    told += [f"forget: {silent} captions do not name the target"] if silent else []
    taken = {content(p.key) for p in pictures}
    retain, more = _retained(plan, folder, names, kept)
    rest = Pairs(tuple(p for p in retain.pictures if content(p.key) not in taken), retain.sources)
    return assemble(plan, forget, rest, [*told, *more, *folder.tally.notes()])


def _retained(plan: Plan, folder: Folder, names: Sequence[str], kept: Kept) -> tuple[Pairs, list[str]]:
    """Return what must stay: captioned shards, other cells of a canvas, or other folders; and notes."""
    root = kept.retain_root
    if root is None:
        return _folders(plan, folder, unlike(folder.concepts(), names), kept), []
    if Laion.holds(root):
        return _captioned(plan, root, kept)
    if _is_canvas(root):
        return _cells(plan, root, names, kept)
    other = Folder(root, setting="data.retain_root")
    if caught := other.find(names):
        raise DataError(
            f"data.retain_root: the target is among the concepts to keep ('{caught[0]}')",
            found=f"a folder under '{root}' is called like target='{plan.scene.target}' or an alias",
            fix="move that folder out of data.retain_root",
        )
    return _folders(plan, other, other.concepts(), kept), other.tally.notes()


def _folders(plan: Plan, folder: Folder, concepts: Sequence[str], kept: Kept) -> Pairs:
    """Return pictures of a folder for each concept, as many of each, captions that name the target left
    out.
    """
    named, words, axis = mention(kept.keywords, joined=True), plan.scene.words, plan.scene.axis
    groups = {c: [p for s in SPLITS for p in folder.pictures(c, s)] for c in concepts}
    folder.tally.check(kept.max_corrupt)
    sound = {c: [p for p in g if not named.search(same(p.caption or ""))] for c, g in groups.items()}
    drawn = balanced(sound, plan.counts.retain, rng_for(plan.scene.seed, "retain"))
    return pairs_of([(replace(p, caption=p.caption or words.only(axis, p.concept)), folder) for p in drawn])


def _captioned(plan: Plan, root: Path, kept: Kept) -> tuple[Pairs, list[str]]:
    """Return captioned pictures of shards whose captions do not name the target."""
    shards = Laion(root, setting="data.retain_root")
    entries = shards.without(kept.keywords)
    rng = rng_for(plan.scene.seed, "retain")
    pictures = shards.draw(entries, plan.counts.retain, rng, concept=None, seen=set())
    shards.tally.check(kept.max_corrupt)
    left = len(shards.entries) - len(entries)
    notes = [f"retain: {left} captions that name the target left out"] if left else []
    return pairs_of([(p, shards) for p in pictures]), [*shards.tally.notes(), *notes]


def _is_canvas(root: Path) -> bool:
    """Tell whether a folder holds UnlearnCanvas: folders of styles with folders of objects, or parquet files
    that are no shard's.
    """
    names = shipped()["canvas"]
    places = [root / s / o for s in names["styles"] for o in names["objects"]]
    return any(place.is_dir() for place in places) or any(root.rglob("*.parquet"))


def _cells(plan: Plan, root: Path, names: Sequence[str], kept: Kept) -> tuple[Pairs, list[str]]:
    """Return pictures of a canvas that show neither a style nor an object called like the target."""
    listed, gone = shipped()["canvas"], {same(n) for n in names}
    labels: dict[str, tuple[str, ...]] = {
        "style": tuple(s for s in listed["styles"] if same(s) not in gone),
        "object": tuple(o for o in listed["objects"] if same(o) not in gone),
    }
    source = UnlearnCanvas(root, labels["style"], labels["object"], "data.retain_root")
    words = replace(canvas_words(), written=dict.fromkeys(CROSSED, Written.SPACED))
    scene = replace(plan.scene, axis="style", labels=labels, near=(), words=words)
    pairs = cell_pairs(scene, source, [*scene.own(), *scene.others()], plan.counts.retain)
    source.tally.check(kept.max_corrupt)
    return pairs, source.tally.notes()
