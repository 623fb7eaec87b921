"""ImageNet-1K: layouts, class names by sorted wnid, splits, what is read, and what is refused."""

from __future__ import annotations

import random
import shutil
from itertools import combinations
from pathlib import Path

import pytest
import torch
from asks import sets_from
from benchmark_files import (
    CRANE,
    GOLDFISH,
    HEN,
    NUMBERS,
    SHARK,
    TENCH,
    broken_layout,
    write_imagenet,
    write_kit,
    write_parquet,
    write_solution,
    write_train,
    write_val,
)
from pictures import picture_bytes
from typer.testing import CliRunner

from razor_cli.commands.data import app
from razor_cli.data.choices import Templates
from razor_cli.data.disjoint import six_sets
from razor_cli.data.kinds.imagenet import ImageNet as ImageNetData
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets, Judged
from razor_cli.data.sources.imagenet import ImageNet, metadata, sentences
from razor_cli.data.sources.pixels import decode
from razor_cli.dual.gallery import Gallery
from razor_cli.errors import DataError

SMALL = Sizes(
    forget=12,
    retain=40,
    validation_forget=5,
    validation_retain=8,
    evaluation_forget=5,
    evaluation_retain=20,
    suite=10,
)


def sets_of(root: Path, target: str = "tench", **changes: object) -> ConceptSets:
    settings: dict[str, object] = {"domain": "object", "root": root, "sizes": SMALL}
    return sets_from(ImageNetData, target, **(settings | changes))  # type: ignore[arg-type]


def drawn(source: ImageNet, concept: str, split: str, count: int = 99) -> list[bytes]:
    pictures = source.draw([concept], split, count, random.Random(0), set())[concept]
    return [i.tobytes() for i in source.load(pictures)]


def test_class_numbers_are_the_order_of_wnids_and_names_are_open_clips() -> None:
    info = metadata()
    assert list(info.wnids) == sorted(info.wnids) and len(set(info.wnids)) == 1000
    known = {
        TENCH: "tench",
        GOLDFISH: "goldfish",
        SHARK: "great white shark",
        HEN: "hen",
        CRANE: "crane bird",
    }
    assert {w: info.names[info.wnids.index(w)] for w in known} == known
    assert {w: info.wnids.index(w) for w in NUMBERS} == NUMBERS
    assert len(set(info.concepts)) == 1000 and "missile (n04008634)" in info.concepts
    assert len(sentences("tench", Templates.OPENAI)) == 80 and len(sentences("tench", Templates.SIMPLE)) == 7
    assert sentences("tench", Templates.ONE) == ("a photo of a tench.",)


@pytest.mark.parametrize("layout", ["sorted", "kaggle", "matlab", "clsloc"])
def test_folder_layouts_show_the_same_photographs_of_each_class(layout: str, tmp_path: Path) -> None:
    sub = "ILSVRC/Data/CLS-LOC" if layout == "kaggle" else ""
    _, order = write_train(tmp_path / sub)
    write_val(tmp_path / sub / "val", order, flat=layout != "sorted")
    if layout == "kaggle":
        write_solution(tmp_path / "LOC_val_solution.csv", order)
    elif layout == "matlab":
        write_kit(tmp_path / "ILSVRC2012_devkit_t12" / "data", order)
    elif layout == "clsloc":
        write_kit(tmp_path, order, matlab=False)
        kit = {w: n for n, w in enumerate(sorted(set(order), reverse=True), 1)}
        (tmp_path / "map_clsloc.txt").write_text("".join(f"{w} {n} some_word\n" for w, n in kit.items()))
    source = ImageNet(tmp_path)
    assert source.concepts() == ["tench", "goldfish", "great white shark", "hen", "crane bird"]
    for wnid, name in ((TENCH, "tench"), (CRANE, "crane bird")):
        numbers = [i for i, w in enumerate(order, 1) if w == wnid]
        expected = {decode(picture_bytes(90_000 + i, "JPEG")).tobytes() for i in numbers}
        assert set(drawn(source, name, "evaluation")) == expected


def test_train_is_cut_by_place_and_every_tenth_is_held_out(tmp_path: Path) -> None:
    source = ImageNet(write_imagenet(tmp_path, count=30))
    train, held, judged = (source.available("hen", s) for s in ("train", "validation", "evaluation"))
    assert (len(train), len(held), len(judged)) == (27, 3, 6)
    assert not {i.place for i in train} & {i.place for i in held}
    assert [i.place for i in held] == [i.place for i in ImageNet(tmp_path).available("hen", "validation")]
    assert all(i.place.startswith(f"train/{HEN}/") for i in [*train, *held])


def test_parquet_rows_are_those_of_their_class(tmp_path: Path) -> None:
    labels = {"train": [NUMBERS[w] for w in NUMBERS] * 20, "validation": [134, 0] * 9}
    source = ImageNet(write_parquet(tmp_path, labels))
    assert source.concepts() == ["tench", "goldfish", "great white shark", "hen", "crane bird"]
    rows = [i for i, label in enumerate(labels["train"]) if label == 8]
    both = [*drawn(source, "hen", "train"), *drawn(source, "hen", "validation")]
    assert len(both) == 20 and set(both) == {decode(picture_bytes(r, "JPEG")).tobytes() for r in rows}
    assert set(drawn(source, "tench", "evaluation")) == {
        decode(picture_bytes(50_000 + r, "JPEG")).tobytes() for r in range(1, 18, 2)
    }


def test_drawing_reads_no_more_than_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ImageNet(write_imagenet(tmp_path, count=40))
    read: list[int] = []
    real = source.layout.read
    monkeypatch.setattr(source.layout, "read", lambda items: read.append(len(items)) or real(items))
    found = source.draw(source.concepts(), "train", 12, random.Random(1), set())
    assert sum(read) == 12 and sorted(map(len, found.values())) == [2, 2, 2, 3, 3]


def test_parquet_draws_of_all_classes_share_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"train": list(NUMBERS.values()) * 40, "validation": [0, 1]}
    source = ImageNet(write_parquet(tmp_path, labels, group=10))
    read: set[tuple[Path, int]] = set()
    real = source.layout._column  # type: ignore[attr-defined]
    monkeypatch.setattr(
        source.layout, "_column", lambda file, group: read.add((file, group)) or real(file, group)
    )
    source.draw(source.concepts(), "train", 20, random.Random(1), set())
    assert (
        len(read) <= 5
    )  # of 20 groups; one photograph of each class in a random group each would be all of them


def test_sets_come_from_the_official_parts_and_share_nothing(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, count=30)
    sets = sets_of(root, "Tench")
    assert [len(p) for p in six_sets(sets).values()] == [12, 40, 3, 8, 5, 20]
    assert sets.target == "tench" and sets.class_names[0] == "tench" and len(sets.class_names) == 5
    assert set(sets.forget.concepts) == {"tench"} and "tench" not in sets.retain.concepts
    assert sets.prompts["great white shark"] == "a photo of a great white shark."
    assert set(sets.forget.captions) == {"a photo of a tench."}
    pixels = {name: {i.tobytes() for i in p.load()} for name, p in six_sets(sets).items()}
    for (first, a), (second, b) in combinations(pixels.items(), 2):
        assert not a & b, (first, second)
    official = {decode(f.read_bytes()).tobytes() for f in (root / "val").rglob("*.JPEG")}
    assert pixels["evaluation_forget"] | pixels["evaluation_retain"] <= official
    assert not (pixels["forget"] | pixels["validation_forget"]) & official
    assert any("forget: 12 of 27 photographs drawn, data.n_forget=12" in n for n in sets.notes)
    assert any("validation_forget 3 (data.n_validation_forget=5 asked for" in n for n in sets.notes)
    assert any("5 of 1000 classes are there" in n for n in sets.notes)


def test_one_photograph_in_train_and_val_is_in_one_set_only(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, count=20)
    copies = sorted((root / "val" / TENCH).iterdir())
    for i, file in enumerate(copies):
        shutil.copy(file, root / "train" / TENCH / f"copy{i}.JPEG")
    sets = sets_of(root, sizes=Sizes(forget=99, retain=40, validation_forget=9, evaluation_forget=9))
    assert len(sets.forget) + len(sets.validation.forget) == 20 and len(sets.evaluation.forget) == len(copies)
    assert any("6 exact duplicates" in n for n in sets.notes)


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_damaged_photographs_are_replaced_counted_and_named(kind: str, tmp_path: Path) -> None:
    if kind == "folder":
        root = write_imagenet(tmp_path, count=20)
        (root / "train" / TENCH / f"{TENCH}_3.JPEG").write_bytes(b"")
        name = f"{TENCH}_3.JPEG"
    else:
        labels = {"train": [0, 1, 2, 8, 134] * 20, "validation": [0, 1, 2, 8, 134] * 6}
        root, name = write_parquet(tmp_path, labels, broken=(0,)), "train-00000-of-00002.parquet:0"
    sets = sets_of(root, sizes=Sizes(forget=99, retain=60, validation_forget=99), max_corrupt=0.1)
    assert len(sets.forget) + len(sets.validation.forget) == 19
    assert any("1 of" in n and name in n for n in sets.notes)
    with pytest.raises(DataError, match=r"(?s)corrupt.*data\.max_corrupt=0"):
        sets_of(root, sizes=Sizes(forget=99, retain=60, validation_forget=99), max_corrupt=0)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tensh", r"(?s)tensh.*nearest: tench"),
        ("missile", r"(?s)name of 2 classes.*n03773504, n04008634.*wnid"),
        ("ostrich", r"(?s)ostrich.*n01518878.*no photographs"),
    ],
)
def test_unknown_double_and_missing_classes_are_refused(target: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        sets_of(write_imagenet(tmp_path, count=2, val=1), target)


def test_target_may_be_a_wnid_and_a_class_called_the_same_is_not_kept(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, ("n03773504", "n04008634", TENCH, GOLDFISH, HEN), count=20)
    sets = sets_of(root, "n04008634", aliases=(GOLDFISH,))
    assert sets.target == "missile (n04008634)" and sets.prompts[sets.target] == "a photo of a missile."
    assert set(sets.forget.captions) == {"a photo of a missile."}
    assert set(sets.class_names[1:]) == {"tench", "hen"} == set(sets.retain.concepts)
    assert any("missile (n03773504) left out" in n for n in sets.notes)
    other = sets_of(root, TENCH)
    assert {"missile (n03773504)", "missile (n04008634)"} <= set(other.retain.concepts)
    assert "a photo of a missile." in other.retain.captions


def test_suite_has_open_clips_templates_and_no_target(tmp_path: Path) -> None:
    sets = sets_of(write_imagenet(tmp_path, count=20), templates=Templates.SIMPLE)
    (suite,) = sets.suites
    assert suite.name == "imagenet" and "tench" not in suite.class_names and len(suite.prompts) == 4 * 7
    assert suite.prompts[:2] == ("itap of a goldfish.", "a bad photo of the goldfish.")
    assert [suite.class_names[n] for n in suite.labels] == list(suite.pairs.concepts)
    gallery = Gallery(sets=sets, judged=Judged(sets.evaluation.forget, sets.evaluation.retain), suites=True)
    texts = torch.nn.functional.normalize(
        torch.randn(len(gallery.texts), 6, generator=torch.manual_seed(0)), dim=-1
    )
    images = torch.nn.functional.normalize(torch.ones(sum(map(len, gallery.parts())), 6), dim=-1)
    prompts = gallery.features(images, texts).suites["imagenet"].prompts
    rows = [gallery.texts.index(p) for p in suite.prompts[7:14]]
    mean = texts[rows].mean(0)
    assert prompts.shape == (4, 6) and torch.allclose(prompts[1], mean / mean.norm())


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("empty", r"(?s)no ImageNet-1K.*allowed.*wnid.*found: an empty folder"),
        ("no val", r"(?s)val part.*not there: the folder .*val"),
        ("no answers", r"(?s)nothing tells their classes.*LOC_val_solution\.csv"),
        ("kit without list", r"(?s)own order.*meta\.mat"),
        ("short kit", "29 lines for 30 photographs"),
        ("names", r"(?s)called like a class.*cat, dog.*data=folder"),
        ("other labels", r"not ImageNet-1K(?s:.*)labels 1000 to 1000"),
        ("other names", r"not ImageNet-1K(?s:.*)100 classes"),
        ("no validation parquet", r"(?s)val part.*validation-\*\.parquet"),
    ],
)
def test_what_is_missing_is_named(which: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        sets_of(broken_layout(tmp_path / "r", which))


def test_too_few_of_the_target_are_refused(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, count=3, val=2)
    with pytest.raises(
        DataError, match=r"(?s)too few pictures of target='tench'.*data\.min_forget=12.*2 for evaluation"
    ):
        sets_of(root)


def test_check_command_counts_and_names_what_is_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["check", "imagenet", "--root", str(write_imagenet(tmp_path, count=3, val=2))]
    )
    assert result.exit_code == 0
    assert (
        "crane bird (n02012849)" in result.output
        and "5 of 1000 classes, 15 train and 10 val" in result.output
    )
    assert (
        "missing: 995 classes" in result.output
        and "5 classes with fewer than the official 50 val" in result.output
    )
