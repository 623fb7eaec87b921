"""Taxonomy files built from published sources: CompCars-S from CompCars, ImgnetDogs' parents from WordNet
(Tan & Gong, Table 6).

The functions that decide are pure; those that read files stand below them. The works' own class lists of 292
models and 99 breeds are not shipped, so each builder says how its counts compare with the published ones.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.data.sources.photo import ENDINGS, same
from razor_cli.data.taxonomy import Branch, shipped
from razor_cli.data.texts import read_lines
from razor_cli.errors import DataError

PUBLISHED = {"ImgnetDogs": (14, 99), "CompCars-S": (48, 292)}  # coarse and fine classes
CARS_MIN = 50  # pictures of a model
DOG = "n02084071"  # WordNet 3.0: dog, domestic dog
HYPERNYM = ("@", "@i")  # pointer symbols of a kind and of an instance


@dataclass(frozen=True, kw_only=True)
class WordNet:
    """The part of WordNet that a taxonomy needs, by synset id as ImageNet writes it (n02099601)."""

    parents: Mapping[str, tuple[str, ...]]  # direct hypernyms
    words: Mapping[str, tuple[str, ...]]  # names, the first is the usual one


@dataclass(frozen=True, kw_only=True)
class Built:
    """A taxonomy and what was left out of it, why."""

    name: str
    branches: tuple[Branch, ...]
    left_out: Mapping[str, str]

    def summary(self) -> str:
        """Return the counts beside the published ones."""
        coarse = len({b.coarse for b in self.branches})
        published = PUBLISHED[self.name]
        why = Counter(self.left_out.values())
        gone = "; left out: " + ", ".join(f"{n} {reason}" for reason, n in why.most_common()) if why else ""
        return (
            f"{self.name}: {coarse} coarse and {len(self.branches)} fine classes "
            f"(published: {published[0]} and {published[1]}){gone}"
        )


def compcars_taxonomy(
    makes: Sequence[str],
    models: Sequence[str],
    counts: Mapping[tuple[int, int], int],
    *,
    wanted: Iterable[str] | None = None,
    min_pictures: int = CARS_MIN,
) -> Built:
    """Return CompCars-S: models of the `wanted` makes (None: the 48 published) with at least `min_pictures`
    pictures.

    `counts` maps (make number, model number), both from 1 as CompCars numbers them, to pictures. The paper
    names the makes and not the rule by which 292 models were chosen: `min_pictures` is ours. A name that two
    models share goes to the one with more pictures.
    """
    kept = {same(m) for m in (wanted if wanted is not None else shipped()["compcars_makes"])}
    branches: dict[str, Branch] = {}
    left: dict[str, str] = {}
    for (make, model), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        folder = f"image/{make}/{model}"
        brand = makes[make - 1].strip() if 0 < make <= len(makes) else ""
        name = models[model - 1].strip() if 0 < model <= len(models) else ""
        if same(brand) not in kept:
            left[folder] = "of other makes"
        elif not name:
            left[folder] = "without a name"
        elif count < min_pictures:
            left[folder] = f"with fewer than {min_pictures} pictures"
        elif same(name) in branches:
            left[folder] = "called like another"
        else:
            branches[same(name)] = Branch(fine=name, coarse=brand, folder=folder)
    return Built(name="CompCars-S", branches=tuple(branches.values()), left_out=left)


def dog_taxonomy(net: WordNet, synsets: Iterable[str], coarse: Sequence[str] | None = None) -> Built:
    """Return ImgnetDogs: each breed below its nearest ancestor in WordNet that is called like one of the
    coarse names.

    `coarse` None: the 14 published names. Breeds without such an ancestor, or that are themselves one, are
    left out. A breed is called as the published lists call it if they do, else by its usual name.
    """
    wanted = {same(c): c for c in (coarse if coarse is not None else shipped()["imgnetdogs_coarse"])}
    listed = {
        same(n)
        for title, names in shipped()["lists"].items()
        if title.startswith("ImgnetDogs")
        for n in names
    }
    branches, left = [], {}
    for synset in sorted(set(synsets)):
        if synset not in net.words:
            left[synset] = "not in this WordNet"
            continue
        above = ancestors(net.parents, synset)
        if DOG not in above:
            left[synset] = "no dogs"
            continue
        parent = next(
            (wanted[same(w)] for a in above for w in net.words.get(a, ()) if same(w) in wanted), None
        )
        if parent is None or any(same(w) in wanted for w in net.words[synset]):
            left[synset] = "without one of these parents"
            continue
        name = next((w for w in net.words[synset] if same(w) in listed), net.words[synset][0])
        branches.append(Branch(fine=name, coarse=parent, folder=synset))
    return Built(name="ImgnetDogs", branches=tuple(branches), left_out=left)


def ancestors(parents: Mapping[str, Sequence[str]], synset: str) -> list[str]:
    """Return all hypernyms of a synset, nearest first."""
    found: dict[str, None] = {}
    queue = deque(parents.get(synset, ()))
    while queue:
        above = queue.popleft()
        if above not in found:
            found[above] = None
            queue.extend(parents.get(above, ()))
    return list(found)


def parse_data_noun(lines: Iterable[str]) -> WordNet:
    """Return WordNet from its own file `data.noun`: `offset file type count word id … pointers @ offset n
    0000 … | gloss`.
    """
    parents, words = {}, {}
    for number, line in enumerate(lines, 1):
        if line.startswith("  ") or not line.strip():  # the licence at the head
            continue
        fields = line.split("|", 1)[0].split()
        try:
            count = int(fields[3], 16)
            names = tuple(w.replace("_", " ") for w in fields[4 : 4 + 2 * count : 2])
            start = 5 + 2 * count
            pointers = [fields[start + 4 * i : start + 4 * i + 4] for i in range(int(fields[4 + 2 * count]))]
            above = tuple(f"n{p[1]}" for p in pointers if p[0] in HYPERNYM and p[2] == "n")
        except (IndexError, ValueError) as error:
            raise DataError(f"data.noun, line {number}: not WordNet's", found=line[:80]) from error
        if f"n{fields[0]}" in words:
            raise DataError(f"data.noun, line {number}: the synset {fields[0]} stands there twice")
        words[f"n{fields[0]}"], parents[f"n{fields[0]}"] = names, above
    return WordNet(parents=parents, words=words)


def parse_is_a(is_a: Iterable[str], names: Iterable[str]) -> WordNet:
    """Return WordNet from ImageNet's `wordnet.is_a.txt` (`parent child` a line) and `words.txt` (id, tab,
    names with commas).
    """
    parents: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(is_a, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise DataError(f"wordnet.is_a.txt, line {number}: not 'parent child'", found=line[:80])
        parents[fields[1]] = (*parents.get(fields[1], ()), fields[0])
    words: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(names, 1):
        synset, tab, listed = line.rstrip("\n").partition("\t")
        if not line.strip():
            continue
        if not tab:
            raise DataError(f"words.txt, line {number}: not 'id<tab>names'", found=line[:80])
        called = tuple(w.strip() for w in listed.split(",") if w.strip())
        if words.setdefault(synset, called) != called:
            raise DataError(f"words.txt, line {number}: {synset} stands above with other names")
    return WordNet(parents=parents, words=words)


def read_wordnet(root: Path) -> WordNet:
    """Return WordNet from a folder with `data.noun`, or with `wordnet.is_a.txt` and `words.txt`."""
    if (file := root / "data.noun").is_file():
        return parse_data_noun(read_lines(file))
    lists = [root / "wordnet.is_a.txt", root / "words.txt"]
    if not all(p.is_file() for p in lists):
        raise DataError(
            f"--wordnet: '{root}' has no WordNet",
            allowed="data.noun (WordNet 3.0, folder dict), or wordnet.is_a.txt with words.txt (ImageNet)",
        )
    return parse_is_a(*(read_lines(p) for p in lists))


def read_synsets(root: Path) -> list[str]:
    """Return the synset folders (n02099601) below a folder, or below its train part."""
    for place in (root / "train", root):
        if place.is_dir() and (
            found := sorted(p.name for p in place.iterdir() if p.is_dir() and _is_synset(p.name))
        ):
            return found
    raise DataError(
        f"--root: no folders called like synsets below '{root}'", allowed="n02099601/, also below train/"
    )


def _is_synset(name: str) -> bool:
    return len(name) == 9 and name[0] == "n" and name[1:].isdigit()


def read_compcars(root: Path) -> tuple[list[str], list[str], dict[tuple[int, int], int]]:
    """Return makes, models and pictures per (make, model) of a CompCars folder: image/,
    misc/make_model_name.mat.
    """
    files = [p for p in (root / "misc/make_model_name.mat", root / "make_model_name.mat") if p.is_file()]
    if not files or not (root / "image").is_dir():
        layout = "image/<make>/<model>/<year>/*.jpg and misc/make_model_name.mat"
        raise DataError(f"--root: '{root}' is not CompCars", allowed=layout)
    from razor_cli.data.sources.layouts import read_mat

    names = read_mat(files[0])
    counts: Counter[tuple[int, int]] = Counter()
    for path in (root / "image").glob("*/*/*/*"):
        make, model = path.parts[-4], path.parts[-3]
        if path.suffix.lower() in ENDINGS and make.isdigit() and model.isdigit():
            counts[int(make), int(model)] += 1
    return _cells(names["make_names"]), _cells(names["model_names"]), dict(counts)


def _cells(array: Any) -> list[str]:
    """Return a MATLAB cell array of texts as a list; an empty cell is an empty text."""
    return [str(cell.ravel()[0]) if getattr(cell, "size", 0) else "" for cell in array.ravel()]
