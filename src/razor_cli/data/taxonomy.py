"""Two-level taxonomies (Tan & Gong 4.1): who is whose parent, which concepts go together, and what their
prompts are.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from razor_cli.data.choices import CoarseText
from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sets import Taxonomy
from razor_cli.data.sources.photo import same
from razor_cli.data.texts import read_table
from razor_cli.errors import ConfigError, DataError, nearest

LEVELS = ("difficult", "medium", "easy")
LEVEL_SIZE = 10  # concepts of a level, where there are enough of them
FILE = "taxonomy.csv"  # beside the pictures: columns fine, coarse, and if they differ folder, same_as


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One fine label: its parent, the folder that shows it, and what another data set calls the
    same thing.
    """

    fine: str
    coarse: str
    folder: str = ""
    same_as: str = ""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The concepts that go, what they are called together, and how they were chosen."""

    label: str
    names: tuple[str, ...]
    note: str


@cache
def shipped() -> dict[str, Any]:
    """Return the packed taxonomies: emoji and portrait groups, lists of classes, published coarse names,
    Oxford-IIIT Pet.
    """
    found: dict[str, Any] = json.loads(_concepts("taxonomies.json"))
    return found


@cache
def templates(name: str) -> tuple[str, ...]:
    """Return the published prompt templates of a data set (arXiv:2506.11253 Table 8); `{}` is the class."""
    published: dict[str, list[str]] = json.loads(_concepts("tan_prompts.json"))["prompts"]
    known = {same(n): v for n, v in published.items()}
    if same(name) not in known:
        raise ConfigError(
            f"data.templates: there are no templates '{name}'", allowed=", ".join(published), found=name
        )
    return tuple(known[same(name)])


def read_branches(path: Path) -> list[Branch]:
    """Return the rows of a taxonomy file (CSV with a header). Raises DataError naming the line
    that is wrong.
    """
    if not path.is_file():
        raise DataError(
            f"data.taxonomy: there is no '{path}'",
            allowed="a CSV file with the columns fine and coarse (and folder, if it is not called like "
            "the class)",
            fix="write one, or build it: `razor data build --help`",
        )
    columns, rows = read_table(path)
    if not {"fine", "coarse"} <= set(columns):
        raise DataError(f"'{path}': needs the columns fine and coarse", found=", ".join(columns) or "nothing")
    branches: dict[str, Branch] = {}
    folders: dict[str, str] = {}
    for number, row in ((n, {k: v.strip() for k, v in r.items()}) for n, r in rows):
        if not row["fine"] or not row["coarse"]:
            raise DataError(f"'{path}', line {number}: fine or coarse is empty")
        if same(row["fine"]) in branches:
            raise DataError(f"'{path}', line {number}: '{row['fine']}' stands there twice")
        extra = {k: row.get(k, "") for k in ("folder", "same_as")}
        place = PurePosixPath(extra["folder"])
        if place.is_absolute() or ".." in place.parts:
            raise DataError(
                f"'{path}', line {number}: the folder is outside of the pictures' folder", found=str(place)
            )
        if extra["folder"] and folders.setdefault(str(place), row["fine"]) != row["fine"]:
            raise DataError(
                f"'{path}', line {number}: the folder '{place}' shows '{row['fine']}' and "
                f"'{folders[str(place)]}'",
                fix="give each class folders of its own",
            )
        branches[same(row["fine"])] = Branch(fine=row["fine"], coarse=row["coarse"], **extra)
    if not branches:
        raise DataError(f"'{path}': no rows below the header")
    return list(branches.values())


def write_branches(path: Path, branches: Iterable[Branch]) -> None:
    """Write a taxonomy file, sorted by coarse and fine label, atomically."""
    from razor_cli.atomic import staged

    ordered = sorted(branches, key=lambda b: (b.coarse, b.fine))
    with staged(path) as part:
        with part.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("fine", "coarse", "folder", "same_as"))
            writer.writerows((b.fine, b.coarse, b.folder, b.same_as) for b in ordered)
        part.replace(path)


def levels(confidence: Mapping[str, float], size: int = LEVEL_SIZE) -> dict[str, tuple[str, ...]]:
    """Return classes as difficult, medium and easy to forget, by how sure the unedited model is of them (mean
    probability).

    The most confident `size` classes are difficult, the next are medium, the next easy; with few classes a
    level holds a quarter of them. That is our reading: the paper prints three lists and not the rule, and its
    lists have falling accuracy (93, 83, 76 %) that fits three consecutive tens of 99.
    """
    size = max(1, min(size, len(confidence) // 4))
    ranked = sorted(confidence, key=lambda n: (-confidence[n], n))
    return {level: tuple(ranked[i * size : (i + 1) * size]) for i, level in enumerate(LEVELS)}


def choose(
    target: str,
    forget: Sequence[str],
    parents: Mapping[str, str],
    confidence: Callable[[], Mapping[str, float]],
    called: str,
) -> Chosen:
    """Return the fine concepts that go: `forget`, else what `target` names.

    `target` is a level (difficult, medium, easy: `confidence` is then asked), a shipped list, a fine concept,
    several of them with commas between, or a coarse one (all its children). `called` is the target nobody
    typed (the scenario's default): an explicit list is then called by its names. Raises DataError for an
    unknown name or if nothing would be kept.
    """
    spelled = {same(n): n for n in parents}
    lists = {same(n): (n, v) for n, v in shipped()["lists"].items()}
    label, how, more = target, f"target={target}", ""
    if forget:
        names, how = _spelled(forget, spelled, "data.forget"), "data.forget"
        label = _short(names) if same(target) == same(called) else target
    elif same(target) in LEVELS:
        sure = confidence()
        names, label = levels(sure)[same(target)], same(target)
        ranked = ", ".join(f"{n} {sure[n]:.2f}" for n in names)
        more = f"; chosen by mean confidence of the unedited model on validation pictures: {ranked}"
    elif same(target) in lists:
        label, members = lists[same(target)]
        names = _spelled(members, spelled, f"target='{label}'")
    elif same(target) in spelled or "," in target:
        names = _spelled([target] if same(target) in spelled else target.split(","), spelled, "target")
        label, how = _short(names), "target"
    else:
        names = tuple(n for n, c in parents.items() if same(c) == same(target))
        if not names:
            fitting = [n for n, v in lists.values() if {same(x) for x in v} <= spelled.keys()]
            raise _unknown(target, parents, fitting)
    if len(names) == len(parents):
        raise DataError(
            f"target: all {len(parents)} concepts of the taxonomy would be forgotten",
            fix="leave some to be kept",
        )
    return Chosen(label=label, names=names, note=_told(how, names, parents) + more)


def taxonomy_of(
    parents: Mapping[str, str],
    *,
    domain: str,
    coarse_text: CoarseText,
    wording: Mapping[str, str] | None = None,
    template_list: Sequence[str] | None = None,
) -> Taxonomy:
    """Return the taxonomy with its prompts over the templates (None: the captions of the domain, which take
    articles).

    `wording` says a coarse label in words where its name is no noun.
    """
    given = tuple(template_list or DOMAINS[domain].captions)
    said = dict(wording or {})

    def fine(name: str) -> tuple[str, ...]:
        return tuple(t.format(name if template_list else spoken(name, domain)) for t in given)

    def coarse(name: str) -> tuple[str, ...]:
        if (
            coarse_text is CoarseText.MEMBERS
        ):  # by template first, so that any stretch of them shows many members
            return tuple(
                p
                for prompts in zip(*(fine(n) for n, c in parents.items() if c == name), strict=True)
                for p in prompts
            )
        return tuple(
            t.format(said.get(name) or (name if template_list else spoken(name, domain))) for t in given
        )

    names = tuple(sorted(set(parents.values())))
    return Taxonomy(
        parents=dict(parents),
        coarse_names=names,
        coarse_prompts={n: coarse(n) for n in names},
        fine_prompts={n: fine(n) for n in parents},
    )


def _spelled(names: Iterable[str], spelled: Mapping[str, str], setting: str) -> tuple[str, ...]:
    """Return the taxonomy's spelling of each name, once each."""
    found: dict[str, None] = {}
    for name in names:
        if same(name) not in spelled:
            near = nearest(name.strip(), spelled.values()) or sorted(spelled.values())[:5]
            raise DataError(
                f"{setting}: '{name.strip()}' is not a fine concept of this taxonomy",
                allowed=f"{len(spelled)} concepts, nearest: {', '.join(near)}",
            )
        found[spelled[same(name)]] = None
    return tuple(found)


def _short(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _told(how: str, names: Sequence[str], parents: Mapping[str, str]) -> str:
    groups = {parents[n] for n in names}
    whole = sorted(g for g in groups if {n for n, c in parents.items() if c == g} <= set(names))
    lost = f"; no child of {', '.join(whole)} is kept" if whole else ""
    return f"forget: {len(names)} concepts of {len(groups)} parents ({how}): {', '.join(names)}{lost}"


def _unknown(target: str, parents: Mapping[str, str], lists: Sequence[str]) -> DataError:
    every = [*parents, *sorted(set(parents.values())), *lists, *LEVELS]
    near = nearest(target, every)
    return DataError(
        f"target='{target}' names no fine concept, parent, level or list of this taxonomy",
        allowed="a concept or several with commas "
        f"({'nearest: ' + ', '.join(near) if near else ', '.join(every[:3])}); "
        f"a parent ({', '.join(sorted(set(parents.values()))[:8])}); {', '.join(LEVELS)}"
        + (f"; a list ({', '.join(lists)})" if lists else ""),
        fix="or name them: data.forget=[name, name]",
    )


def _concepts(name: str) -> str:
    return resources.files("razor_cli.data.concepts").joinpath(name).read_text("utf-8")
