"""Building the sets of a run: embedded sources, own pictures, seeds, shortages, and every refusal."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from asks import sets_from
from pictures import captioned, picture_bytes, write_cifar_parquet, write_folder, write_shard

from razor_cli.data.disjoint import six_sets
from razor_cli.data.kinds.cifar10 import Cifar10
from razor_cli.data.kinds.own import Folder, WebDataset
from razor_cli.data.kinds.standin import StandIn
from razor_cli.data.sampling import Sizes, balanced, rng_for
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.cifar10 import at_hand
from razor_cli.errors import ConfigError, DataError

SMALL = Sizes(
    forget=10,
    retain=60,
    validation_forget=5,
    validation_retain=30,
    evaluation_forget=5,
    evaluation_retain=30,
    suite=20,
)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "prepared"))


def portraits(target: str = "Taylor Swift", **changes: object) -> ConceptSets:
    settings: dict[str, object] = {"sizes": SMALL}
    return sets_from(StandIn, target, **(settings | changes))  # type: ignore[arg-type]


def folder(root: Path, target: str = "Taylor Swift", **changes: object) -> ConceptSets:
    settings: dict[str, object] = {"kind": Folder, "root": root, "sizes": SMALL}
    return sets_from(target=target, **(settings | changes))  # type: ignore[arg-type]


def shards(root: Path, target: str = "Taylor Swift", **changes: object) -> ConceptSets:
    return folder(root, target, kind=WebDataset, **changes)


def sizes_of(sets: ConceptSets) -> list[int]:
    return [len(pairs) for pairs in six_sets(sets).values()]


def test_identity_defaults_are_full_and_quick() -> None:
    portraits(sizes=Sizes())
    start = time.process_time()
    sets = portraits(sizes=Sizes())
    assert time.process_time() - start < 0.8
    assert sizes_of(sets) == [60, 512, 100, 400, 120, 600]
    assert set(sets.forget.concepts) == {"Taylor Swift"}
    assert "Taylor Swift" not in set(sets.retain.concepts) | set(sets.evaluation.retain.concepts)
    assert sets.class_names[0] == "Taylor Swift" and len(set(sets.class_names)) == 40
    assert sets.prompts[sets.target] == "a photo of Taylor Swift."
    assert [s.name for s in sets.suites] == ["emoji_seen", "emoji_held_out"]
    assert any("no CIFAR-10" in note for note in sets.notes)


def test_retain_is_balanced_over_concepts_of_all_sources(tmp_path: Path) -> None:
    cifar = write_cifar_parquet(tmp_path / "c", train=400, test=100)
    sets = portraits(sizes=Sizes(), cifar_root=cifar)
    counts = Counter(sets.retain.concepts)
    assert len(counts) == 39 + 100 + 10
    assert set(counts.values()) == {3, 4}
    assert {p.domain for p in sets.evaluation.retain.pictures} == {"person", "emoji", "object"}
    assert sets.suites[2].name == "cifar10" and len(sets.suites[2].class_names) == 10
    suite = sets.suites[2]
    assert [suite.class_names[i] for i in suite.labels] == list(suite.pairs.concepts)


def test_same_seed_same_sets_other_seed_other_sample() -> None:
    first, again, other = portraits(seed=1), portraits(seed=1), portraits(seed=2)
    assert first.fingerprints() == again.fingerprints()
    assert all(first.fingerprints()[name] != h for name, h in other.fingerprints().items())


def test_suites_can_be_left_out_and_lose_concepts_called_like_the_target(tmp_path: Path) -> None:
    cifar = write_cifar_parquet(tmp_path / "c")
    assert [s.name for s in portraits(cifar_root=cifar, suites=("cifar10",)).suites] == ["cifar10"]
    sets = sets_from(Cifar10, "Dog", domain="object", cifar_root=cifar, sizes=SMALL, aliases=["owl"])
    assert sets.target == "dog" and sets.class_names[0] == "dog" and len(sets.class_names) == 10
    held_out = next(s for s in sets.suites if s.name == "emoji_held_out")
    assert "owl" not in held_out.class_names and "owl" not in sets.retain.concepts
    assert any("called like the target" in note for note in sets.notes)
    assert {"person", "emoji", "object"} == {p.domain for p in sets.retain.pictures}


def test_a_real_model_keeps_only_what_it_is_asked_about() -> None:
    sets = portraits(stand_in=False)
    assert {p.domain for p in sets.retain.pictures} == {"person"} and sets.suites == ()


def test_emoji_shortage_is_noted_with_originals() -> None:
    sets = sets_from(StandIn, "owl", pictures="emoji", domain="emoji")
    assert sizes_of(sets)[::2] == [40, 12, 12]
    (note,) = [n for n in sets.notes if "asked for" in n]  # one for all sets
    assert note.startswith("pictures: forget 40 (data.n_forget=60 asked for")
    assert "evaluation_forget 12 (data.n_evaluation_forget=120 asked for, views of 1 originals)" in note


def test_unknown_names_and_mismatches_are_refused() -> None:
    with pytest.raises(DataError, match=r"(?s)target='Tayler Swift'.*Taylor Swift.*data=folder"):
        portraits("Tayler Swift")
    with pytest.raises(ConfigError, match=r"scenario\.domain=object"):
        portraits(domain="object")
    with pytest.raises(DataError, match=r"(?s)data\.cifar_root.*prepare cifar10"):
        sets_from(Cifar10, "dog", domain="object")
    with pytest.raises(ConfigError, match=r"data\.n_forget"):
        Sizes(forget=0)
    with pytest.raises(ConfigError, match=r"(?s)data\.root is needed by data=folder.*clip_tiny"):
        sets_from(Folder, "Ada")


def test_auto_finds_what_was_prepared(tmp_path: Path) -> None:
    assert at_hand(None) is None
    write_cifar_parquet(tmp_path / "prepared" / "cifar10")
    found, named = at_hand(None), at_hand(tmp_path / "mine")
    assert found is not None and found.root == tmp_path / "prepared" / "cifar10"
    assert named is not None and named.root == tmp_path / "mine"


def test_headline_case_twelve_photographs_and_cifar(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "people", {"taylor_swift": 12})
    cifar = write_cifar_parquet(tmp_path / "c", train=400, test=100)
    sets = folder(root, cifar_root=cifar)
    assert sizes_of(sets) == [6, 60, 3, 30, 3, 30]
    assert set(sets.forget.captions) == {"a photo of Taylor Swift."}
    assert len(sets.class_names) == 11 and sets.prompts["ship"] == "a photo of a ship."
    assert any("no other concept of the target's kind" in n for n in sets.notes)
    record = sets.record()
    assert sorted(len(record[k]) for k in ("forget", "validation_forget", "evaluation_forget")) == [3, 3, 6]
    other = folder(root, cifar_root=cifar, seed=7)
    assert set(other.evaluation.forget.keys) == set(
        sets.evaluation.forget.keys
    )  # the cut does not depend on the seed
    assert set(other.retain.keys) != set(sets.retain.keys)


def test_aliases_count_as_the_target_and_others_make_the_label_space(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"Taylor Swift": 10, "T-Swift": 10, "Ada": 20, "Bo": 20})
    sets = folder(root, aliases=("t swift", "Tay"))
    own = [p for name, pairs in six_sets(sets).items() if name.endswith("forget") for p in pairs.pictures]
    assert len(own) == 20 and {p.concept for p in own} == {"Taylor Swift"}
    assert sets.class_names == ("Taylor Swift", "Ada", "Bo")
    assert set(sets.retain.concepts) == {"Ada", "Bo"}


def test_names_without_pictures_can_be_added(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"Ada": 20})
    sets = folder(root, "Ada", cifar_root=write_cifar_parquet(tmp_path / "c"), class_names=("Bo", "ADA"))
    assert sets.class_names == ("Ada", "Bo")


def test_a_picture_in_two_folders_belongs_to_the_target(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", {"Ada": 16, "Bo": 30})
    for n in range(5):
        (root / "Bo" / f"ada{n}.png").write_bytes((root / "Ada" / f"00{n}.png").read_bytes())
    sets = folder(root, "Ada")
    assert any("5 pictures that occur twice" in n for n in sets.notes)
    assert sum(sizes_of(sets)[1::2]) == 30


def test_retain_captions_that_name_the_target_are_dropped(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", {"Ada": 16})
    retain = write_folder(tmp_path / "r", {"dog": 40, "cat": 40}, 1000)
    (retain / "dog" / "003.txt").write_text("a dog with ada")
    (retain / "dog" / "004.txt").write_text("a dog in Canada")
    sets = folder(root, "Ada", retain_root=retain)
    captions = [
        c for name, pairs in six_sets(sets).items() if name.endswith("retain") for c in pairs.captions
    ]
    assert any("1 captions that name the target" in n for n in sets.notes)
    assert "a dog with ada" not in captions


def test_two_folders_of_one_domain_load_their_own_pictures(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", {"dog": 16, "cow": 30})
    retain = write_folder(tmp_path / "r", {"cat": 60}, 1000)
    sets = folder(root, "dog", domain="object", retain_root=retain)
    assert {"cow", "cat"} == set(sets.retain.concepts)
    known = {np.asarray(i).tobytes() for i in sets.retain.load()}
    assert len(known) == len(sets.retain)
    first = next(i for i, c in enumerate(sets.retain.concepts) if c == "cat")
    loaded = np.asarray(sets.retain.load()[first]).tobytes()
    assert loaded == np.asarray(sets.retain.load(first, first + 1)[0]).tobytes()


def test_folder_refusals_name_the_settings(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", {"Ada Quill": 11, "Bo": 30})
    with pytest.raises(DataError, match=r"(?s)target='Ada Quil'.*Ada Quill"):
        folder(root, "Ada Quil")
    with pytest.raises(DataError, match=r"(?s)too few.*data\.min_forget=12.*11 usable.*data\.aliases"):
        folder(root, "Ada Quill")
    alone = write_folder(tmp_path / "b", {"Ada Quill": 12}, 200)
    with pytest.raises(DataError, match=r"(?s)data\.retain_root is not set.*prepare cifar10"):
        folder(alone, "Ada Quill")
    with pytest.raises(
        DataError, match=r"data\.retain_root: the target is among the concepts to keep \('Ada Quill'\)"
    ):
        folder(alone, "Someone", aliases=("ada-quill",), retain_root=root)
    few = write_folder(tmp_path / "c", {"dog": 9}, 400)
    with pytest.raises(DataError, match=r"(?s)data\.retain_root: too few.*9 pictures"):
        folder(alone, "Ada Quill", retain_root=few)


def test_concepts_with_one_picture_each_are_cut_as_concepts(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", {"Ada": 16})
    retain = write_folder(tmp_path / "r", {f"person {n}": 1 for n in range(32)}, 1000)
    sets = folder(root, "Ada", retain_root=retain)
    sides = [set(pairs.concepts) for name, pairs in six_sets(sets).items() if name.endswith("retain")]
    assert sorted(map(len, sides)) == [8, 8, 16] and len(set().union(*sides)) == 32
    assert any(n.startswith("data.retain_root: cut by concept") for n in sets.notes)
    again = folder(root, "Ada", retain_root=retain, seed=5)
    assert set(again.validation.retain.concepts) == set(sets.validation.retain.concepts)


def test_every_folder_is_cut_by_itself(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", {"Ada": 16, "Bo": 24})
    many = write_folder(tmp_path / "r", {f"person {n}": 1 for n in range(32)}, 1000)
    sets = folder(root, "Ada", retain_root=many)
    assert all({"Bo"} < set(p.concepts) for n, p in six_sets(sets).items() if n.endswith("retain"))
    assert any(n.startswith("data.retain_root: cut by concept") for n in sets.notes)
    sets = folder(root, "Ada", retain_root=write_folder(tmp_path / "s", {"Cy": 1, "Di": 1}, 2000))
    (said,) = (n for n in sets.notes if n.startswith("data.retain_root: too few"))
    assert "has none of them" in said and not {"Cy", "Di"} & set(sets.evaluation.retain.concepts)


def test_too_many_corrupt_pictures_stop_the_run(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"Ada": 20, "Bo": 30})
    (root / "Ada" / "bad.png").write_bytes(picture_bytes(5)[:200])
    with pytest.raises(DataError, match=r"data\.max_corrupt=0\.01"):
        folder(root, "Ada")
    sets = folder(root, "Ada", max_corrupt=0.05)
    assert any("Ada/bad.png" in n for n in sets.notes)


def test_webdataset_sets_by_keyword_without_caption_overlap(tmp_path: Path) -> None:
    named = [f"Taylor Swift on stage {i}" for i in range(20)] + ["tay at home"] * 4
    rest = [f"a dog number {i}" for i in range(80)] + ["#taylorswift"] * 3
    write_shard(tmp_path / "0.tar", captioned(named + rest))
    sets = shards(tmp_path, aliases=("Tay",))
    assert sizes_of(sets) == [10, 40, 5, 20, 5, 20]
    assert all("tay" in c.lower() for c in sets.forget.captions)
    assert not any(
        "tay" in c.lower() for n, p in six_sets(sets).items() if n.endswith("retain") for c in p.captions
    )
    assert any("24 of 107 captions" in n for n in sets.notes)
    assert sets.class_names == ("Taylor Swift",)
    assert len(sets.forget.load()) == 10
    again, other = shards(tmp_path, aliases=("Tay",)), shards(tmp_path, aliases=("Tay",), seed=3)
    assert sets.fingerprints() == again.fingerprints()
    assert sets.fingerprints()["forget"] != other.fingerprints()["forget"]


def test_webdataset_keyword_replaces_the_name(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "0.tar",
        captioned([f"the singer {i}" for i in range(16)] + [f"a dog {i}" for i in range(60)]),
    )
    sets = shards(tmp_path, keyword="singer")
    assert all("singer" in c for c in sets.forget.captions) and not any(
        "singer" in c for c in sets.retain.captions
    )
    with pytest.raises(DataError, match="as whole words"):
        shards(tmp_path)


def test_webdataset_as_retain_pool_takes_half(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", {"Ada": 16, "Bo": 100, "Cy": 100})
    write_shard(tmp_path / "r" / "0.tar", captioned([f"view {i}" for i in range(200)] + ["Ada here"], 5000))
    sets = folder(root, "Ada", retain_root=tmp_path / "r")
    counts = Counter(p.key.split("/")[0] for p in sets.retain.pictures)
    assert counts == {"folder": 30, "webdataset": 30}
    assert sets.class_names == ("Ada", "Bo", "Cy")
    assert len(sets.retain.load()) == 60


def test_balanced_takes_turns_and_exhausts() -> None:
    def group(name: str, count: int) -> list[Picture]:
        return [Picture(key=f"{name}{i}", concept=name, domain="object") for i in range(count)]

    groups = {"a": group("a", 2), "b": group("b", 50), "c": group("c", 50), "empty": []}
    drawn = balanced(groups, 20, rng_for(0, "x"))
    assert Counter(p.concept for p in drawn) == {"a": 2, "b": 9, "c": 9}
    assert len({p.key for p in balanced(groups, 999, rng_for(0, "x"))}) == 102
    assert drawn != balanced(groups, 20, rng_for(0, "y"))
