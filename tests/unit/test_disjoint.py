"""Sets share no picture, judged by icons, trait vectors and photographs, never by what is
rendered from them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from asks import sets_from
from pictures import captioned, write_cifar_parquet, write_folder, write_shard

from razor_cli.data.disjoint import SEEN, check_disjoint, check_unseen, six_sets, trained_on
from razor_cli.data.kinds.cifar10 import Cifar10
from razor_cli.data.kinds.own import Folder, WebDataset
from razor_cli.data.kinds.standin import StandIn
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets, Judged
from razor_cli.data.sources.base import SPLITS
from razor_cli.data.sources.emoji import HELD_OUT_SET, SPLIT_SETS, TRAINED_SETS, packed
from razor_cli.data.sources.portraits import NAMES, PER_SPLIT, Portraits
from razor_cli.errors import RunError

TARGETS = [
    ("portraits", "Barack Obama", "person"),
    ("emoji", "owl", "emoji"),
    ("cifar10", "ship", "object"),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "prepared"))


def origins(sets: ConceptSets) -> dict[str, dict[str, set[tuple[str, ...]]]]:
    """Return per set and source what the pictures show: (name, trait vector), (icon set, concept), (part,
    row).
    """
    found: dict[str, dict[str, set[tuple[str, ...]]]] = {}
    for name, pairs in six_sets(sets).items():
        found[name] = {}
        for picture in pairs.pictures:
            source, *rest = picture.key.split("/", 2)
            found[name].setdefault(source, set()).add(tuple(rest))
    return found


def trained_vectors() -> set[tuple[str, str]]:
    """Return every (name, trait vector) that the stand-in's training program loads."""
    keys = [p.key for name in NAMES for p in Portraits().pictures(name, "train")]
    return {(k.split("/", 2)[1], k.split("/", 2)[2]) for k in keys}


@pytest.mark.parametrize(("pictures", "target", "domain"), TARGETS)
def test_embedded_sets_share_nothing_and_evaluation_is_new(
    pictures: str, target: str, domain: str, tmp_path: Path
) -> None:
    cifar = write_cifar_parquet(tmp_path / "c", train=1000, test=300)
    kind = Cifar10 if pictures == "cifar10" else StandIn
    sets = sets_from(kind, target, pictures=pictures, domain=domain, cifar_root=cifar)
    found = origins(sets)
    for (first, a), (second, b) in combinations(found.items(), 2):
        for source in a.keys() & b.keys():
            assert not a[source] & b[source], (first, second, source)
    for name in ("evaluation_forget", "evaluation_retain"):
        assert not found[name].get("portraits", set()) & trained_vectors()
        assert {icon_set for icon_set, _ in found[name].get("emoji", set())} <= {HELD_OUT_SET}
        assert {part for part, _ in found[name].get("cifar10", set())} <= {"test"}
    assert found["evaluation_retain"].keys() == {"portraits", "emoji", "cifar10"}
    assert all(int(row) < 900 for part, row in found["retain"]["cifar10"])
    assert all(int(row) >= 900 for part, row in found["validation_retain"]["cifar10"])


def test_held_out_icons_are_other_drawings() -> None:
    icons = packed()["icons"]
    assert HELD_OUT_SET not in TRAINED_SETS and set(icons) == {*TRAINED_SETS, HELD_OUT_SET}
    for first, second in combinations(SPLITS, 2):
        assert not set(SPLIT_SETS[first]) & set(SPLIT_SETS[second])
    drawings = {name: {icon["body"] for icon in icons[name].values()} for name in icons}
    for first, second in combinations(icons, 2):
        assert not drawings[first] & drawings[second], (first, second)


def test_trait_vectors_of_a_name_are_all_different() -> None:
    for name in NAMES:
        keys = [p.key for split in SPLITS for p in Portraits().pictures(name, split)]
        assert len(set(keys)) == len(keys) == sum(PER_SPLIT.values())


def test_what_counts_as_trained_on() -> None:
    portraits = Portraits()
    assert trained_on(portraits.pictures("Lady Gaga", "train")[-1].key)
    assert not trained_on(portraits.pictures("Lady Gaga", "validation")[0].key)
    assert not trained_on(portraits.pictures("Lady Gaga", "evaluation")[0].key)
    assert trained_on("emoji/noto/owl") and not trained_on(f"emoji/{HELD_OUT_SET}/owl")
    assert trained_on("cifar10/train/49999") and not trained_on("cifar10/test/0")


def test_only_the_suite_that_says_so_shows_seen_icons(tmp_path: Path) -> None:
    sets = sets_from(StandIn, "Tom Cruise", cifar_root=write_cifar_parquet(tmp_path / "c"))
    seen = {s.name: any(trained_on(k) for k in s.pairs.keys) for s in sets.suites}
    assert seen == {SEEN: True, "emoji_held_out": False, "cifar10": False}
    trained_views = {(p.key, p.view) for p in sets.retain.pictures}
    suite = next(s for s in sets.suites if s.name == SEEN)
    assert not trained_views & {(p.key, p.view) for p in suite.pairs.pictures}


@pytest.mark.parametrize("kind", [Folder, WebDataset])
def test_own_pictures_share_no_content_even_with_repeats(
    kind: type[Folder | WebDataset], tmp_path: Path
) -> None:
    if kind is Folder:
        root = write_folder(tmp_path / "d", {"Ada": 30, "Bo": 60})
        for n, file in enumerate(sorted((root / "Ada").iterdir())):
            (root / "Ada" / f"again{n}.png").write_bytes(file.read_bytes())
            (root / "Bo" / f"again{n}.png").write_bytes(file.read_bytes())
        count = 90
    else:
        samples = captioned([f"Ada {i}" for i in range(30)] + [f"a dog {i}" for i in range(60)])
        repeats = [{"jpg": s["jpg"], "txt": f"{s['txt']} again"} for s in samples]
        swapped = [{"jpg": samples[i]["jpg"], "txt": f"a cat {i}"} for i in range(30)]
        root = write_shard(tmp_path / "d" / "0.tar", [*samples, *repeats, *swapped]).parent
        count = 90
    sets = sets_from(kind, "Ada", root=root, sizes=Sizes(evaluation_retain=999))
    pixels = {name: {i.tobytes() for i in pairs.load()} for name, pairs in six_sets(sets).items()}
    for (first, a), (second, b) in combinations(pixels.items(), 2):
        assert not a & b, (first, second)
    assert sum(map(len, pixels.values())) <= count
    assert all(k.startswith(kind.kind) for pairs in six_sets(sets).values() for k in pairs.keys)


def test_one_file_in_a_folder_and_a_shard_is_one_picture(tmp_path: Path) -> None:
    samples = captioned([f"view {i}" for i in range(80)])
    (tmp_path / "d" / "Ada").mkdir(parents=True)
    for i in range(16):
        (tmp_path / "d" / "Ada" / f"{i}.jpg").write_bytes(bytes(samples[i]["jpg"]))  # type: ignore[call-overload]
    write_shard(tmp_path / "r" / "0.tar", samples)
    sets = sets_from(Folder, "Ada", root=tmp_path / "d", retain_root=tmp_path / "r")
    hashes = {name: {k.split("/")[1] for k in pairs.keys} for name, pairs in six_sets(sets).items()}
    assert not any(a & b for a, b in combinations(hashes.values(), 2))
    assert any("16 pictures that occur twice" in n for n in sets.notes)


def test_the_checks_can_fail() -> None:
    sets = sets_from(StandIn, "Kanye West")
    check_disjoint(sets)
    check_unseen(sets)
    leaked = replace(sets, evaluation=Judged(sets.evaluation.forget, sets.retain))
    with pytest.raises(RunError, match="retain and evaluation_retain share"):
        check_disjoint(leaked)
    with pytest.raises(RunError, match="evaluation_retain holds"):
        check_unseen(leaked)
    held_out = next(s for s in sets.suites if s.name != SEEN)
    with pytest.raises(RunError, match="suite emoji_held_out"):
        check_unseen(replace(sets, suites=(replace(held_out, pairs=sets.retain),)))


@pytest.mark.skipif(
    "RAZOR_CIFAR10" not in os.environ, reason="RAZOR_CIFAR10 does not name a folder with CIFAR-10"
)
def test_real_photographs_are_other_files() -> None:
    root = Path(os.environ["RAZOR_CIFAR10"])
    sets = sets_from(Cifar10, "cat", domain="object", cifar_root=root)
    photographs = {}
    for name, pairs in six_sets(sets).items():
        objects = [p for p in pairs.pictures if p.domain == "object"]
        photographs[name] = {i.tobytes() for i in pairs.sources["object"].load(objects)}
    assert all(photographs.values())
    for (first, a), (second, b) in combinations(photographs.items(), 2):
        assert not a & b, (first, second)
