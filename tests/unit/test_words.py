"""Every file and setting that decides a number stands in the fingerprints, and with them in the run's id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from asks import sets_from
from benchmark_files import write_celeba
from pictures import captioned, write_folder, write_shard
from tiny_world import make_sets
from tracing_worlds import traced

from razor_cli.data.kinds.labelled import Labelled
from razor_cli.data.kinds.own import Folder, WebDataset
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets, Judged, Pairs, Shifted, Suite
from razor_cli.data.taxonomy import Branch, write_branches

SMALL = Sizes(
    forget=6,
    retain=40,
    validation_forget=3,
    validation_retain=12,
    evaluation_forget=3,
    evaluation_retain=12,
    suite=12,
)
UNCOUNTED = {"notes"}  # what is told of the sets decides nothing


def whole() -> ConceptSets:
    """Return sets in which every field has something."""
    sets, levels = make_sets(), traced().taxonomy
    assert levels is not None
    suite = Suite("other", sets.retain.head(4), (0, 1, 0, 1), ("a", "b"), ("a.", "b."))
    ood = Shifted(judged=sets.evaluation, class_names=sets.class_names, taxonomy=levels)
    return replace(sets, suites=(suite,), taxonomy=levels, ood=ood, joint=(sets.target,), aliases=("Addie",))


def changed(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, Pairs):
        return value.head(len(value) - 1)
    if isinstance(value, Judged):
        return replace(value, retain=changed(value.retain))
    if isinstance(value, dict):
        return {k: changed(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(changed(v) for v in value) or ("new",)
    if isinstance(value, str | int):
        return f"{value} too" if isinstance(value, str) else value + 1
    return replace(value, **{f.name: changed(getattr(value, f.name)) for f in fields(value)[-1:]})


@pytest.mark.parametrize("name", [f.name for f in fields(ConceptSets) if f.name not in UNCOUNTED])
def test_every_field_of_the_sets_is_counted(name: str) -> None:
    sets = whole()
    value = (sets,) if name == "steps" else changed(getattr(sets, name))
    other = replace(sets, **{name: value})
    assert getattr(other, name) != getattr(sets, name)
    assert other.fingerprints() != sets.fingerprints() == whole().fingerprints()


@pytest.mark.parametrize("part", ["labels", "class_names", "prompts"])
def test_every_part_of_a_suite_is_counted(part: str) -> None:
    sets = whole()
    (suite,) = sets.suites
    other = replace(sets, suites=(replace(suite, **{part: changed(getattr(suite, part))}),))
    assert other.fingerprints() != sets.fingerprints()


def test_a_label_that_the_caption_does_not_tell_is_counted() -> None:
    pairs = make_sets().retain
    own = Pairs(tuple(replace(p, caption="a person.") for p in pairs.pictures), pairs.sources)
    other = Pairs((replace(own.pictures[0], concept="Zed"), *own.pictures[1:]), pairs.sources)
    assert own.captions == other.captions and own.fingerprint() != other.fingerprint()


# ------------------------------------------------------------------ files that settings name


def with_names(root: Path) -> tuple[Callable[[], ConceptSets], Callable[[], object]]:
    names = root / "names.txt"
    names.write_text("42\n")
    pictures = write_folder(root / "p", {"Ada": 16, "Bo": 60})
    return (
        lambda: sets_from(Folder, "Ada", SMALL, root=pictures, names_file=names),
        lambda: names.write_text("Uwe\n"),
    )


def with_taxonomy(root: Path) -> tuple[Callable[[], ConceptSets], Callable[[], object]]:
    pictures, table = write_folder(root / "p", dict.fromkeys("abcd", 20)), root / "p/taxonomy.csv"

    def write(*coarse: str) -> None:
        write_branches(table, [Branch(fine=f, coarse=c) for f, c in zip("abcd", coarse, strict=True)])

    write("x", "x", "y", "y")
    asked: dict[str, Any] = {"root": pictures, "forget": ["a"], "domain": "object", "called": "a"}
    return (
        lambda: sets_from(Labelled, "a", SMALL, **asked),
        lambda: write("x", "y", "y", "x"),
    )


def with_captions(root: Path) -> tuple[Callable[[], ConceptSets], Callable[[], object]]:
    shard = root / "00000.tar"

    def write(more: str) -> Path:
        texts = [f"Ada number {i}" for i in range(16)] + [f"thing {i}{more}" for i in range(80)]
        return write_shard(shard, captioned(texts))

    write("")
    return lambda: sets_from(WebDataset, "Ada", SMALL, root=root), lambda: write(" in red")


def with_celeba(root: Path) -> tuple[Callable[[], ConceptSets], Callable[[], object]]:
    celeba = write_celeba(root / "celeba", {"Bo_Diaz": 3, "Cy_Van_Dam": 3})
    pictures = write_folder(root / "p", {"Ada": 16, "Bo": 60})
    (table,) = celeba.glob("list_identity*.txt")
    return (
        lambda: sets_from(Folder, "Ada", SMALL, root=pictures, celeba_root=celeba),
        lambda: table.write_text(table.read_text().replace("Bo_Diaz", "Di_Diaz")),
    )


@pytest.mark.parametrize("case", [with_names, with_taxonomy, with_captions, with_celeba])
def test_the_contents_of_every_list_and_table_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Callable[[Path], Any]
) -> None:
    for name in ("RAZOR_CACHE", "RAZOR_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    listed, change = case(tmp_path)
    before = listed().fingerprints()
    assert listed().fingerprints() == before
    change()
    assert listed().fingerprints() != before
