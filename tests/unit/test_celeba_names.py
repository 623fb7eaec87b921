"""A name of CelebA that is forgotten with its own photographs: cut into disjoint files, the frequent names
kept, what is refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from asks import sets_from
from benchmark_files import FEW, write_celeba

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.data.celeba_sets import borders
from razor_cli.data.kinds.celeba import CelebANames
from razor_cli.data.sampling import content
from razor_cli.data.sets import ConceptSets
from razor_cli.errors import ConfigError, DataError
from razor_cli.metrics.stats import wilson

COUNTS = {"Ada_Quill": 24, "Ada_Q.": 4, "Bo_Diaz": 16, "Cy_Van_Dam": 12, "Di_O'Neil": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_celeba(tmp_path_factory.mktemp("celeba"), COUNTS)


def sets_of(root: Path, target: str = "Ada Quill", **more: object) -> ConceptSets:
    return sets_from(CelebANames, target, FEW, celeba_root=root, **more)


def six(sets: ConceptSets) -> dict[str, set[str]]:
    """Return the contents of every set."""
    parts = {
        "forget": sets.forget,
        "retain": sets.retain,
        "validation_forget": sets.validation.forget,
        "validation_retain": sets.validation.retain,
        "evaluation_forget": sets.evaluation.forget,
        "evaluation_retain": sets.evaluation.retain,
    }
    return {name: {content(key) for key in pairs.keys} for name, pairs in parts.items()}


def test_files_of_a_name_are_cut_in_two_quarters_and_a_half(root: Path) -> None:
    sets = sets_of(root)
    found = six(sets)
    assert {n: len(f) for n, f in found.items() if n.endswith("forget")} == {
        "forget": 6,
        "validation_forget": 4,  # of 6
        "evaluation_forget": 6,  # of 12
    }
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    assert set(sets.evaluation.forget.concepts) == {"Ada Quill"}
    assert sets.class_names[0] == "Ada Quill" and "Bo Diaz" in sets.class_names
    assert set(sets.retain.concepts) <= set(sets.class_names[1:])
    assert len(sets.evaluation.forget.load()) == 6


def test_another_seed_draws_others_from_the_same_parts(root: Path) -> None:
    first, second = (sets_of(root, seed=s) for s in (0, 1))
    assert first.evaluation.forget.keys != second.evaluation.forget.keys
    held = six(first)["evaluation_forget"] | six(second)["evaluation_forget"]
    assert len(held) > 6 and not held & (six(first)["forget"] | six(second)["forget"])


@pytest.mark.parametrize(
    ("count", "parts"), [(3, (1, 1, 1)), (12, (3, 3, 6)), (30, (8, 7, 15)), (35, (9, 9, 17))]
)
def test_half_is_judged(count: int, parts: tuple[int, int, int]) -> None:
    first, second = borders(count)
    assert (first, second - first, count - second) == parts
    assert count < 30 or (wilson(0, 5 * parts[2]).high or 1) <= 0.05


def test_an_alias_shows_the_target_and_is_not_kept(root: Path) -> None:
    plain, aliased = sets_of(root), sets_of(root, aliases=["Ada Q."])
    assert "Ada Q." in plain.class_names and "Ada Q." not in aliased.class_names
    assert "celeba: 28 photographs of the target" in aliased.notes
    assert set(aliased.forget.concepts) == {"Ada Quill"}


def test_what_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)data\.celeba_root: target='Ada Quil' is not.*nearest: Ada Qui"):
        sets_of(root, "Ada Quil")
    with pytest.raises(DataError, match=r"(?s)too few photographs of target='Di O'Neil'.*1 usable"):
        sets_of(root, "Di O'Neil")
    with pytest.raises(DataError, match=r"(?s)data\.celeba_root: no list of identities"):
        sets_of(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=celeba"], r"(?s)data\.celeba_root is needed by data=celeba.*data\.celeba_root=DIR"),
        (["data=celeba", "data.celeba_root={}/no"], r"data\.celeba_root: no such file"),
        (
            ["scenario=class", "data=celeba", "data.celeba_root={}"],
            r"(?s)data=celeba shows persons.*scenario=identity",
        ),
        (["data=celeba", "data.celeba_root={}", "data.aliases=[Taylor Swift]"], "repeats the target"),
        (["data=celeba", "data.celeba_root={}", "data.n_suite=3"], "there is no such setting"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(read([w.format(tmp_path) for w in words]))
