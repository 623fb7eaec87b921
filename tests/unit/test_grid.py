"""Grids: what the command line does to blocks, which jobs come out, and that all of them are checked before
one starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pictures import write_folder

from razor_cli.config.conf_files import conf_dir, groups
from razor_cli.errors import ConfigError, DataError
from razor_cli.grid import points as grid
from razor_cli.grid.blocks import Asked, Block, chosen_blocks, narrowed, points, read

BLOCKS: list[Block] = [
    {
        "scenario": ["class"],
        "data": ["cifar10"],
        "target": ["dog", "ship"],
        "method": ["razor", "slug"],
        "seed": [0],
    },
    {"scenario": ["identity"], "target": ["Taylor Swift"], "method": ["razor"], "seed": [0, 1]},
]
FILE = """# @package _global_
defaults:
  - override /quantization: none
grid:
  - {scenario: [identity], target: [Taylor Swift, Elon Musk], method: [none, random]}
  - {scenario: object, target: owl, method: [none], data.aliases: [[hoot, uhu]]}
"""


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    """Return a folder of a user's with an experiment called mine."""
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text(FILE)
    (tmp_path / "conf/experiment/plain.yaml").write_text("# @package _global_\nseed: 3\n")
    (tmp_path / "conf/experiment/heir.yaml").write_text("# @package _global_\ndefaults: [mine]\nseed: 3\n")
    return tmp_path / "conf"


def asked(extra: Path, *words: str) -> Asked:
    found = chosen_blocks(["experiment=mine", *words], str(extra))
    assert found is not None
    return read(["experiment=mine", *words], *found, str(extra))


def all_points(given: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return points(narrowed([dict(b) for b in BLOCKS], given))


def test_blocks_are_multiplied_out_in_order_and_each_point_stands_once() -> None:
    found = all_points({})
    assert [tuple(p.values()) for p in found[:3]] == [
        ("class", "cifar10", "dog", "razor", 0),
        ("class", "cifar10", "dog", "slug", 0),
        ("class", "cifar10", "ship", "razor", 0),
    ]
    assert len(found) == 6 and "data" not in found[4]
    assert len(points([BLOCKS[0], BLOCKS[0]])) == 4
    assert points([{"method": []}]) == [] and points([{}]) == [{}]


def test_command_line_replaces_a_key_in_every_block() -> None:
    found = all_points({"seed": [5, 6], "method": ["ssd"]})
    assert {(p["method"], p["seed"]) for p in found} == {("ssd", 5), ("ssd", 6)} and len(found) == 6


def test_a_key_of_one_block_stays_with_it_and_a_new_key_multiplies_all() -> None:
    assert [p.get("data") for p in all_points({"data": ["folder"]})] == ["folder"] * 4 + [None] * 2
    found = all_points({"method.rho": [0.1, 0.2]})
    assert len(found) == 12 and {p["method.rho"] for p in found[8:]} == {0.1, 0.2}


def test_scenario_and_target_choose_among_the_blocks() -> None:
    assert {p["scenario"] for p in all_points({"scenario": ["identity"]})} == {"identity"}
    assert len(all_points({"scenario": ["identity", "class"]})) == 6
    assert [p["target"] for p in all_points({"target": ["ship"]})] == ["ship"] * 2
    new = all_points({"scenario": ["identity"], "target": ["Elon Musk"]})
    assert [(p["target"], p["seed"]) for p in new] == [("Elon Musk", 0), ("Elon Musk", 1)]


def test_targets_keeps_the_first_of_every_block_that_is_left(extra: Path) -> None:
    def kept(*words: str) -> list[list[Any]]:
        return [block["target"] for block in asked(extra, *words).blocks if "target" in block]

    whole = kept()
    assert max(map(len, whole)) > 1
    assert kept("targets=1") == [names[:1] for names in whole] and kept("targets=99") == whole
    last = whole[0][-1]
    assert [last] in kept("targets=1", f"target={last}")  # chosen first, then cut
    for wrong in ("0", "-1", "x", ""):
        with pytest.raises(ConfigError, match="targets: how many"):
            kept(f"targets={wrong}")


def test_listed_methods_choose_and_one_that_no_block_lists_stands_in_everywhere() -> None:
    blocks = [{"method": ["razor", "slug"], "seed": [0, 1]}, {"method": ["ft"], "seed": [0]}]

    def kept(*methods: str) -> list[tuple[str, int]]:
        return [
            (p["method"], p["seed"])
            for p in points(narrowed([dict(b) for b in blocks], {"method": list(methods)}))
        ]

    assert kept("ft") == [("ft", 0)]
    assert kept("slug", "ft") == [("slug", 0), ("slug", 1), ("ft", 0)]
    assert kept("ga") == [("ga", 0), ("ga", 1)]
    assert kept("ga", "ft") == [("ga", 0), ("ga", 1), ("ft", 0), ("ft", 1)]


def test_what_could_mean_several_scenarios_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)target=Elon Musk: no block.*scenario=class or scenario=identity"
    ):
        all_points({"target": ["Elon Musk"]})
    with pytest.raises(
        ConfigError,
        match=r"(?s)scenario=clas: no block.*allowed: class, identity.*did you mean scenario=class",
    ):
        all_points({"scenario": ["clas"]})


def test_grid_is_found_in_files_of_ones_own_and_in_what_they_build_on(extra: Path) -> None:
    name, blocks = chosen_blocks(["seed=1", "experiment=heir"], str(extra)) or ("", [])
    assert (
        name == "heir"
        and blocks[1]["scenario"] == ["object"]
        and blocks[1]["data.aliases"] == [["hoot", "uhu"]]
    )
    for words in (
        ["experiment=plain"],
        ["experiment=mine", "grid=[]"],
        ["experiment=nothere"],
        ["target=A"],
        ["experiment=tiny"],
    ):
        assert chosen_blocks(words, str(extra)) is None


def test_malformed_grid_is_refused(extra: Path) -> None:
    (extra / "experiment/mine.yaml").write_text("grid: {method: [none]}\n")
    with pytest.raises(ConfigError, match="grid of experiment=mine must be a list of blocks"):
        chosen_blocks(["experiment=mine"], str(extra))


def test_jobs_are_the_experiments_that_the_command_line_describes(extra: Path) -> None:
    jobs, refused = grid.check_all(
        asked(extra, "seed=3,4", "model.device=cpu", "data.n_forget=20", "output_dir=a b")
    )
    assert refused == [] and len(jobs) == 10
    first, last = jobs[0].experiment, jobs[-1].experiment
    assert (first.target, first.method.name, first.seed, first.data.n_forget) == (
        "Taylor Swift",
        "none",
        3,
        20,
    )
    assert (last.scenario.name, last.target, last.seed, last.data.aliases) == (
        "object",
        "owl",
        4,
        ["hoot", "uhu"],
    )
    assert {j.experiment.quantization.schemes[0] for j in jobs} == {"none"} and str(first.output_dir) == "a b"
    assert [j.number for j in jobs] == list(range(1, 11)) and first.grid == []
    assert jobs[0].pictures["forget"] == 20
    assert last.overrides == {
        "experiment": "mine",
        "scenario": "object",
        "target": "owl",
        "method": "none",
        "data.aliases": ["hoot", "uhu"],
        "seed": 4,
        "model.device": "cpu",
        "data.n_forget": 20,
    }


def test_command_of_a_job_runs_exactly_that_job(extra: Path) -> None:
    import shlex

    jobs, _ = grid.check_all(asked(extra, "seed=3,4", "data.n_forget=20", "jobs=2"))
    for job in (jobs[0], jobs[-1]):
        words = shlex.split(job.command)[1:]
        assert chosen_blocks(words, str(extra)) is None
        again = grid.check_all(Asked(name="", blocks=[{}], words=words, extra=str(extra)))[0][0].experiment
        assert vars(again) | {"jobs": 1} == vars(job.experiment) | {"jobs": 1}


def test_a_data_setting_goes_to_the_kinds_that_have_it_and_a_line_says_so(
    extra: Path, tmp_path: Path
) -> None:
    write_folder(tmp_path / "photos", {"Ada": 1, "Bo": 1})
    own = "  - {scenario: [identity], data: [folder], target: [Ada], method: [none]}\n"
    (extra / "experiment/mine.yaml").write_text(FILE + own)
    root = f"data.root={tmp_path / 'photos'}"
    jobs, refused = grid.check_all(asked(extra, root, "data.forget=[owl]", "data.n_forget=20"))
    assert [r.point["method"] for r in refused] == ["none", "random", "none", "random", "none"]  # forget
    assert all("data.forget names concepts" in str(r.error) for r in refused) and len(jobs) == 1
    jobs, refused = grid.check_all(asked(extra, root))
    assert refused == [] and [root in j.command for j in jobs] == [False] * 5 + [True]
    assert jobs[-1].experiment.data.root == tmp_path / "photos"
    assert grid.left_out(jobs) == [f"{root}: left out of 5 jobs, as data=standin has no such setting"]
    _, refused = grid.check_all(asked(extra, root, "data.ood_root=X"))
    assert len(refused) == 6 and all("data.ood_root: there is no such" in str(r.error) for r in refused)
    _, refused = grid.check_all(asked(extra, root, "data=standin"))
    assert len(refused) == 6 and all("data.root: there is no such setting" in str(r.error) for r in refused)


def test_every_reason_stands_once_with_the_way_around_it(
    extra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "nothing prepared"))
    photographs = "  - {scenario: [class], data: [cifar10], target: [dog, cat], method: [none, random]}\n"
    (extra / "experiment/mine.yaml").write_text(FILE + photographs)
    found = asked(extra)
    jobs, refused = grid.check_all(found)
    assert (len(jobs), len(refused)) == (5, 4)
    text = str(grid.refusal(found, jobs, refused))
    assert text.startswith("4 of 9 jobs of experiment=mine cannot run, so none was started")
    assert (
        text.count("data.cifar_root is needed") == 1
        and "4 jobs, the first: scenario=class data=cifar10 target=dog" in text
    )
    assert "or leave them out: scenario=identity,object" in text
    assert all(r.point["scenario"] == "class" for r in refused)
    assert grid.check_all(asked(extra, "scenario=identity,object"))[1] == []


def test_wrong_words_are_refused_together_before_any_job_is_composed(extra: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        asked(extra, "method=none,ramdom", "seed", "quantization=non")
    text = str(caught.value)
    assert "3 problems" in text and "did you mean method=random" in text and "seed: not a setting" in text


def test_target_that_no_block_lists_belongs_to_the_scenario_that_knows_it(extra: Path) -> None:
    def jobs(target: str) -> set[tuple[str, str]]:
        words = ["experiment=mine", f'target="{target}"', "method=none"]
        blocks = chosen_blocks(words, str(extra)) or ("", [])
        _, found, refused = grid.settled(words, *blocks, str(extra))
        assert not refused
        return {(j.experiment.scenario.name, j.experiment.target) for j in found}

    assert jobs("Boris Tamm") == {("identity", "Boris Tamm")}
    assert jobs("pizza") == {("object", "pizza")}
    with pytest.raises(ConfigError, match="Nobody: no block of this grid lists it, and it could belong"):
        jobs("Nobody")


def test_unknown_target_is_refused_before_anything_runs(extra: Path) -> None:
    _, refused = grid.check_all(asked(extra, "scenario=identity", 'target="Tailor Swift"', "method=none"))
    (only,) = refused
    assert isinstance(only.error, DataError) and "Taylor Swift" in str(only.error)


def test_leaving_out_is_offered_only_if_one_word_does_it(extra: Path) -> None:
    jobs, refused = grid.check_all(asked(extra, "scenario=identity,object", "data.n_forget=0,20"))
    assert jobs and refused and grid.leaving_out(jobs, refused) == ""


EXPERIMENTS = [n for n in groups([conf_dir()])["experiment"] if chosen_blocks([f"experiment={n}"])]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_choice_in_a_shipped_grid_exists(name: str) -> None:
    found = chosen_blocks([f"experiment={name}"])
    assert found is not None
    options = groups([conf_dir()])
    for block in found[1]:
        for key, values in block.items():
            assert key not in options or set(values) <= set(options[key]), key


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_shipped_grids_pass_the_check(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job of every block; of blocks that flip settings of methods, one of every method."""
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(grid, "_pictures", lambda *_: {})  # CIFAR-10 is not here
    found = chosen_blocks([f"experiment={name}"])
    assert found is not None
    kept = [
        {k: v if k == "method" and any("." in x for x in b) else v[:1] for k, v in b.items()}
        for b in found[1]
    ]
    about = ("scenario", "data", "target", "seed")
    # flips are the same in every scenario
    once = {repr({k: v for k, v in b.items() if k not in about}): b for b in kept}
    jobs, refused = grid.check_all(Asked(name=name, blocks=list(once.values()), words=[f"experiment={name}"]))
    assert [r.error.message() for r in refused] == []
    assert jobs
