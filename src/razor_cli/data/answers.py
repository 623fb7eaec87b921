"""An answer folder of UnlearnCanvas: one picture for every style, object and seed, by its file's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from razor_cli.data.answer_sets import FIVE
from razor_cli.data.sources.photo import ENDINGS
from razor_cli.data.sources.pixels import read_picture
from razor_cli.errors import DataError

NAME = re.compile(r"(?P<style>.+)_(?P<object>[^_]+)_seed(?P<seed>\d+)")
ALLOWED = "{theme}_{object}_seed{seed}.jpg, such as Van_Gogh_Cats_seed188.jpg"
WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What of an answer set lies in a folder; names are those of the files, without ending."""

    there: tuple[str, ...]
    missing: tuple[str, ...]
    unreadable: dict[str, str]  # name -> why
    strange: tuple[str, ...]  # pictures that belong to no answer
    repeated: tuple[str, ...]  # answers of which there are several files


def answer_name(style: str, shown: str, seed: int) -> str:
    """Return what the file of an answer is called, without ending."""
    return f"{style}_{shown}_seed{seed}"


def wanted(styles: Sequence[str], objects: Sequence[str]) -> list[str]:
    """Return the names of all answers: every style with every object at five seeds."""
    return [answer_name(s, o, seed) for s in styles for o in objects for seed in FIVE]


def answers_in(root: Path, styles: Sequence[str], objects: Sequence[str]) -> Answers:
    """Return what of the answer set lies in a folder; every picture is decoded.

    Raises DataError for what is no folder, or holds no answer at all.
    """
    if not root.is_dir():
        raise DataError(f"--root: '{root}' is not a folder", allowed=f"a folder with {ALLOWED}")
    asked = wanted(styles, objects)
    known = set(asked)
    files: dict[str, list[Path]] = {}
    strange = []
    for file in sorted(f for f in root.rglob("*") if f.suffix.lower() in ENDINGS and f.is_file()):
        if file.stem in known:
            files.setdefault(file.stem, []).append(file)
        else:
            strange.append(str(file.relative_to(root)))
    if not files:
        raise DataError(
            f"--root: no answer of the set under '{root}'",
            allowed=ALLOWED,
            found=", ".join(strange[:5]) or "no picture",
            fix=_other_names(strange),
        )
    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        flaws = dict(zip(files, workers.map(_flaw, (found[0] for found in files.values())), strict=True))
    unreadable = {name: flaw for name, flaw in flaws.items() if flaw is not None}
    return Answers(
        there=tuple(n for n in asked if n in files and n not in unreadable),
        missing=tuple(n for n in asked if n not in files),
        unreadable=unreadable,
        strange=tuple(strange),
        repeated=tuple(name for name, found in files.items() if len(found) > 1),
    )


def _flaw(file: Path) -> str | None:
    return read_picture(file)[1].flaw


def _other_names(strange: Sequence[str]) -> str | None:
    """Return what may be meant by pictures that are called like answers of other names or seeds."""
    alike = [n for n in strange if NAME.fullmatch(Path(n).stem)]
    if not alike:
        return None
    return f"'{alike[0]}' is called like an answer of another style, object or seed: --styles all60?"
