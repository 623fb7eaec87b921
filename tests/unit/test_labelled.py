"""Labelled photographs in the official layouts, each written by the test as its data set has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmark_files import photo, write_compcars
from pictures import write_folder
from scipy.io import savemat

from razor_cli.data.builders import compcars_taxonomy, read_compcars
from razor_cli.data.choices import CoarseText
from razor_cli.data.fine_labelled import LabelledRequest, labelled_confidence, labelled_sets
from razor_cli.data.sampling import Sizes
from razor_cli.data.sources.labelled import Labelled
from razor_cli.data.taxonomy import Branch, shipped, write_branches
from razor_cli.errors import DataError

SPLITS = ("train", "validation", "evaluation")


def files(source: Labelled, concept: str, split: str) -> set[str]:
    """Return the paths behind a split."""
    return {source._photos[p.key].path for p in source.pictures(concept, split)}


def write_pets(
    root: Path, breeds: tuple[str, ...] = ("Abyssinian", "german_shorthaired", "pug"), each: int = 6
) -> Path:
    (root / "annotations").mkdir(parents=True)
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for number, breed in enumerate(breeds):
        for i in range(each):
            photo(root / f"images/{breed}_{i}.jpg", 1000 * number + i + 1)
            lines["test" if i < each // 2 else "trainval"].append(f"{breed}_{i} {number + 1} 1 1")
    for name, part in lines.items():
        (root / f"annotations/{name}.txt").write_text("\n".join(part) + "\n")
    listed = [*lines["trainval"], *lines["test"]]
    (root / "annotations/list.txt").write_text(
        "#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(listed) + "\n"
    )
    return root


def test_oxford_pet_reads_names_with_spaces_and_its_own_parts(tmp_path: Path) -> None:
    source = Labelled(write_pets(tmp_path / "oxford-iiit-pet"))
    assert source.concepts() == ["Abyssinian", "german shorthaired", "pug"]
    assert files(source, "german shorthaired", "evaluation") == {
        f"images/german_shorthaired_{i}.jpg" for i in range(3)
    }
    below = Labelled(tmp_path)  # torchvision's root holds the folder
    assert below.listing.layout == "oxford_pet" and below.concepts() == source.concepts()
    for part in ("trainval", "test"):
        (tmp_path / f"oxford-iiit-pet/annotations/{part}.txt").unlink()
    assert {p.part for p in Labelled(tmp_path).listing.photos} == {""}  # list.txt alone has no parts


def test_food101_and_caltech101(tmp_path: Path) -> None:
    for i in range(4):
        photo(tmp_path / f"food/images/apple_pie/{i}.jpg", i)
        photo(tmp_path / f"cal/caltech101/101_ObjectCategories/wild_cat/image_{i:04}.jpg", i)
    photo(tmp_path / "cal/caltech101/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg", 9)
    (tmp_path / "food/meta").mkdir()
    (tmp_path / "food/meta/train.txt").write_text("apple_pie/0\napple_pie/1\n")
    (tmp_path / "food/meta/test.txt").write_text("apple_pie/2\napple_pie/3\n")
    food, caltech = Labelled(tmp_path / "food"), Labelled(tmp_path / "cal")
    assert files(food, "apple pie", "evaluation") == {"images/apple_pie/2.jpg", "images/apple_pie/3.jpg"}
    assert caltech.concepts() == ["wild cat"]


def test_flowers102_numbers_and_parts(tmp_path: Path) -> None:
    for i in range(1, 7):
        photo(tmp_path / f"jpg/image_{i:05}.jpg", i)
    savemat(tmp_path / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2, 1, 1]])})
    savemat(
        tmp_path / "setid.mat",
        {"trnid": np.array([[1, 2]]), "valid": np.array([[3]]), "tstid": np.array([[4, 5, 6]])},
    )
    source = Labelled(tmp_path)
    first, second = source.concepts()
    assert {first, second} == {"pink primrose", "hard-leaved pocket orchid"}
    assert files(source, "pink primrose", "evaluation") == {"jpg/image_00005.jpg", "jpg/image_00006.jpg"}
    (tmp_path / "classes.txt").write_text("rose\ntulip\n")
    assert Labelled(tmp_path).concepts() == ["rose", "tulip"]


def test_stanford_cars(tmp_path: Path) -> None:
    (tmp_path / "devkit").mkdir()
    names = np.array(["Audi A7 2012", "BMW X5 2007"], dtype=object).reshape(1, -1)
    savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": names})
    kinds = [("fname", "O"), ("class", "O")]
    for part, place in (
        ("train", tmp_path / "devkit/cars_train_annos.mat"),
        ("test", tmp_path / "cars_test_annos_withlabels.mat"),
    ):
        rows = np.array([(f"{i:05}.jpg", 1 + i % 2) for i in range(4)], dtype=kinds).reshape(1, -1)
        savemat(tmp_path / place, {"annotations": rows})
        for i in range(4):
            photo(tmp_path / f"cars_{part}/{i:05}.jpg", i + (10 if part == "test" else 0))
    source = Labelled(tmp_path)
    assert source.concepts() == ["Audi A7 2012", "BMW X5 2007"]
    assert files(source, "BMW X5 2007", "evaluation") == {"cars_test/00001.jpg", "cars_test/00003.jpg"}


def test_cifar100_binary_rows_are_planes_behind_two_labels(tmp_path: Path) -> None:
    pixels = np.zeros((3, 32, 32), np.uint8)
    pixels[0, 0, 1] = 200  # red, row 0, column 1
    for part, label in (("train", 0), ("test", 1)):
        (tmp_path / f"{part}.bin").write_bytes(
            bytes([7, label]) + pixels.tobytes() + bytes([3, 1]) + bytes(3072)
        )
    (tmp_path / "fine_label_names.txt").write_text("apple\naquarium_fish\n")
    source = Labelled(tmp_path)
    found = source.pictures("aquarium fish", "evaluation")
    assert len(found) == 2
    images = {source._photos[p.key].path: i for p, i in zip(found, source.load(found), strict=True)}
    assert images["test.bin#0"].getpixel((1, 0)) == (200, 0, 0)
    assert images["test.bin#1"].getpixel((1, 0)) == (0, 0, 0)
    (tmp_path / "test.bin").write_bytes(b"123")
    with pytest.raises(DataError, match="truncated"):
        Labelled(tmp_path).concepts()


def test_folders_with_parts_and_without(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("val", 3)):
        write_folder(tmp_path / "parts" / part, {"n01": count}, start=count)
    source = Labelled(tmp_path / "parts", branches=[Branch(fine="tench", coarse="fish", folder="n01")])
    assert [len(source.pictures("tench", s)) for s in SPLITS] == [8, 2, 3]
    assert all(f.startswith("val/n01/") for f in files(source, "tench", "evaluation"))
    write_folder(tmp_path / "flat", {"a_b": 40})
    flat = Labelled(tmp_path / "flat")
    assert [len(flat.pictures("a b", s)) for s in SPLITS] == [24, 6, 10]
    assert [len(flat.drawn("a b", s, 2)) for s in SPLITS] == [2, 2, 2]
    parts = [files(flat, "a b", s) for s in SPLITS]
    assert not parts[0] & parts[1] and not parts[1] & parts[2] and len(parts[0] | parts[1] | parts[2]) == 40
    with pytest.raises(DataError, match="1 of 2 classes"):
        Labelled(
            tmp_path / "flat", branches=[Branch(fine="A B", coarse="x"), Branch(fine="C", coarse="x")]
        ).concepts()
    with pytest.raises(DataError, match="no labelled pictures"):
        Labelled(tmp_path / "parts" / "train" / "n01").concepts()


def test_lists_cannot_lead_out_and_damaged_pictures_are_counted(tmp_path: Path) -> None:
    root = write_pets(tmp_path / "pets")
    (root / "images/pug_0.jpg").write_bytes(b"no picture")
    (root / "images/pug_1.jpg").write_bytes((root / "images/pug_2.jpg").read_bytes())
    source = Labelled(root)
    assert len(source.pictures("pug", "evaluation")) == 1
    assert source.tally.corrupt.keys() == {"images/pug_0.jpg"} and source.tally.duplicates == 1
    (root / "annotations/test.txt").write_text("../../secret/pug_1 1 1 1\n")
    with pytest.raises(DataError, match="outside"):
        Labelled(root).concepts()


def request(root: Path, **changes: object) -> LabelledRequest:
    sizes = {
        "forget": 5,
        "retain": 24,
        "validation_forget": 2,
        "validation_retain": 6,
        "evaluation_forget": 4,
        "suite": 6,
    }
    fields: dict[str, object] = {
        "root": root,
        "taxonomy": None,
        "prompts": "CompCars-S",
        "ood_root": None,
        "suite_roots": {},
        "target": "Audi A7, Mustang",
        "forget": (),
        "called": "ten emoji",
        "coarse_text": CoarseText.NAMES,
        "max_corrupt": 0.01,
        "min_forget": 12,
        "seed": 0,
        "sizes": Sizes(evaluation_retain=8, **sizes),
        "confidence": lambda pairs, prompts: {},
    }
    return LabelledRequest(**(fields | changes))  # type: ignore[arg-type]


def test_compcars_from_its_files_to_the_sets_of_a_run(tmp_path: Path) -> None:
    root = write_compcars(tmp_path / "cars")
    built = compcars_taxonomy(*read_compcars(root), min_pictures=20)
    write_branches(root / "taxonomy.csv", built.branches)
    pets, food = (
        write_pets(tmp_path / "pets"),
        write_folder(tmp_path / "food", {"soup": 8, "Mustang": 8}, start=7000),
    )
    sets = labelled_sets(request(root, suite_roots={"oxford_pet": pets, "food101": food}))
    assert sets.forget_names == ("Audi A7", "Mustang") and set(sets.retain_names) == {
        "Audi A5 coupe",
        "Focus",
    }
    assert sets.target == "Audi A7, Mustang" and sets.taxonomy is not None
    assert (
        sets.taxonomy.parents["Mustang"] == "Ford"
        and "i love my Ford!" in sets.taxonomy.coarse_prompts["Ford"]
    )
    assert sets.prompts["Focus"] == "a photo of a Focus"
    counts = [len(p) for p in (sets.forget, sets.validation.forget, sets.evaluation.forget)]
    assert counts == [2 * 5, 2 * 2, 2 * 4]  # of each class
    assert set(sets.retain.concepts) == set(sets.retain_names)
    suites = {s.name: s for s in sets.suites}
    assert suites["food101"].class_names == ("soup",)  # a class of the taxonomy is no unrelated task
    assert suites["oxford_pet"].prompts[0] == "a photo of a Abyssinian, a type of pet."
    shared = set(sets.forget.keys + sets.retain.keys) & set(suites["oxford_pet"].pairs.keys)
    assert not shared and {"labelled"} == {k.split("/")[0] for k in sets.forget.keys}
    twin = sets.forget.sources["object"]._photos[sets.forget.keys[0]].path  # type: ignore[attr-defined]
    (pets / "images/pug_0.jpg").write_bytes((root / twin).read_bytes())  # a photograph of both data sets
    again = labelled_sets(request(root, suite_roots={"oxford_pet": pets}))
    assert sets.forget.keys[0] in again.forget.keys and sets.forget.keys[0] not in again.suites[0].pairs.keys


def test_pets_are_the_out_of_distribution_test_of_dogs(tmp_path: Path) -> None:
    breeds = {"German short-haired pointer": "pointer", "beagle": "hound", "pug": "toy dog"}
    write_folder(tmp_path / "dogs", dict.fromkeys(breeds, 24))
    write_branches(tmp_path / "dogs/taxonomy.csv", [Branch(fine=n, coarse=c) for n, c in breeds.items()])
    everything = sorted(row["fine"] for row in shipped()["oxford_pet"])
    pets = write_pets(tmp_path / "pets", tuple(n.replace(" ", "_") for n in everything), each=2)
    asked = request(
        tmp_path / "dogs", prompts="ImgnetDogs", target="German short-haired pointer", ood_root=pets
    )
    sets = labelled_sets(asked)
    assert sets.ood is not None
    assert set(sets.ood.judged.forget.concepts) == {"german shorthaired"}
    assert "german shorthaired" not in sets.ood.judged.retain.concepts and len(sets.ood.class_names) == 37
    assert sets.ood.taxonomy.parents["Sphynx"] == "domestic cat"
    without = labelled_sets(
        request(tmp_path / "dogs", prompts=None, target="beagle, pug", forget=(), ood_root=pets)
    )
    assert without.ood is not None and set(without.ood.judged.forget.concepts) == {"beagle", "pug"}
    assert without.prompts["pug"] == "a photo of a pug."


def test_levels_look_at_validation_pictures_only(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 24, "b": 24, "c": 24, "d": 24})
    write_branches(
        tmp_path / "taxonomy.csv", [Branch(fine=n, coarse="x" if n < "c" else "y") for n in "abcd"]
    )
    seen: list[str] = []

    def measure(pairs, prompts):  # type: ignore[no-untyped-def]
        seen.extend(pairs.keys)
        return {n: {"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.1}[n] for n in prompts}

    asked = request(tmp_path, prompts=None, target="difficult", confidence=measure)
    sets = labelled_sets(asked)
    assert sets.forget_names == ("b",) and any("b 0.90" in note for note in sets.notes)
    assert seen and not set(seen) & (
        set(sets.evaluation.forget.keys) | set(sets.evaluation.retain.keys) | set(sets.forget.keys)
    )
    assert labelled_confidence(asked)["c"] == 0.5


def test_too_few_pictures_and_missing_files_are_said(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 24, "b": 5})
    with pytest.raises(DataError, match=r"taxonomy\.csv"):
        labelled_sets(request(tmp_path))
    write_branches(tmp_path / "taxonomy.csv", [Branch(fine="a", coarse="x"), Branch(fine="b", coarse="x")])
    with pytest.raises(DataError, match="too few pictures of b"):
        labelled_sets(request(tmp_path, prompts=None, target="b"))
