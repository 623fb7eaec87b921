"""The scoreboard of a step search on a model that draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_judges import Asked, Coder, use_coded, write_descriptions
from drawn_worlds import OBJECTS, OTHER, STYLES, cells, sets_of
from tiny_drawn import bits, family, make_sets

from razor_cli.contract.components import parameters
from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Metrics
from razor_cli.data.shots import DrawnSets, Shot
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.search import Aim
from razor_cli.families.diffusion.board import FULL, NO_JUDGE, TOO_FEW, DrawnBoard
from razor_cli.families.diffusion.judge_net import plain
from razor_cli.families.diffusion.judges import Held, Judge
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.settings import DrawnMetrics, JudgedBy
from razor_cli.families.diffusion.text_space import TextSpace

LABELS = {"style": STYLES, "object": OBJECTS}
SHOTS = cells(seeds=(3,), template=OTHER)
OWN, REST = 3, 9  # shots of the target, and others
NAME = "text_encoder.encoder.layers.1.mlp.fc1.weight"
MODEL = family(Kind.SD15)
SETS = sets_of(
    "style",
    "noto",
    cells(),
    SHOTS,
    near=("mono",),
    target_prompts=("cats image in noto style", "dogs image in noto style"),
    anchor_prompts=("cats image", "dogs image"),
)


def moved(share: float) -> dict[str, torch.Tensor]:
    """Return a matrix of the text encoder moved by a share of itself."""
    return {NAME: parameters(MODEL)[NAME] * (1 + share)}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Pictures that show the target until the encoder has moved; judges that read them."""
    found = use_coded(monkeypatch, LABELS)
    before = float(parameters(MODEL)[NAME][0, 0])

    def gone(shot: Shot) -> dict[str, int]:
        share = float(parameters(MODEL)[NAME][0, 0]) / before - 1
        if shot.shows("style") == "noto" and share > 0.15:
            spoilt = (
                share > 0.45 and shot.shows("object") == "dogs"
            )  # a bear instead, so nothing that was asked
            return {"style": 1, **({"object": 2} if spoilt else {})}
        return {"object": 2} if shot.shows("style") == "mono" and share > 0.45 else {}

    monkeypatch.setattr(type(MODEL), "pictures", lambda *_: Coder(SETS, LABELS, found, gone))
    return found


def board_of(tmp_path: Path, *, fast: bool = True, sets: DrawnSets = SETS, **settings: Any) -> DrawnBoard:
    folder = write_descriptions(tmp_path / "judges", LABELS)
    given = DrawnMetrics(**{"judges": folder, **settings})
    return DrawnBoard(MODEL, sets, given, Cost(), fast=fast)


def test_metrics_by_hand(asked: Asked, tmp_path: Path) -> None:
    board = board_of(tmp_path)
    assert board.base == pytest.approx(
        {
            "text_kept": 100,
            "text_gone": 100,
            "ira": 100,
            "cra": 100,
            "near": 100,
            "recognised": 100,
            "sure": board.base["sure"],
            "spoilt": 0,
        }
    )
    assert board.base["sure"] > 99
    some, much = board.trial(moved(0.2), []), board.trial(moved(0.5), [])
    assert some["recognised"] == 0 and some["sure"] < -99 and some["cra"] == pytest.approx(100)
    assert much["cra"] == pytest.approx(100 * (2 / 3 + 2 / 3 + 3 / 3) / 3)  # cats and dogs in mono are bears
    assert some["spoilt"] == 0 and much["recognised"] == 0 and much["spoilt"] == pytest.approx(100 / OWN)
    assert 0 <= much["text_kept"] < some["text_kept"] < 100


def test_goals_are_those_of_the_family(asked: Asked, tmp_path: Path) -> None:
    board = board_of(tmp_path)
    target = {"recognised": 5.0, "text_gone": 60.0, "ira_drop": 5.0, "text_kept": 90.0}
    aim = Aim.of(board, target, {"cra_drop": 2.0})
    assert [(x.metric, x.most, x.slope) for x in aim.forget] == [
        ("recognised", 5.0, "sure"),
        ("text_gone", 60.0, None),
    ]
    assert aim.keep == {"ira": 5.0, "text_kept": 10.0} and aim.floor == {"cra": 2.0}
    assert not aim.idle


def test_lost_in_text_space_draws_nothing(asked: Asked, tmp_path: Path) -> None:
    board = board_of(tmp_path)
    count, seen = len(asked.seeds), []

    def lost(metrics: Metrics) -> bool:
        seen.append(dict(metrics))
        return metrics["text_kept"] < 100

    found = board.trial(moved(0.3), [], lost=lost)
    assert len(asked.seeds) == count and board.cost.drawn == OWN + REST
    assert found["recognised"] == 0 and found["ira"] == 100 and len(seen) == 1


def test_lost_by_the_others_draws_no_target(asked: Asked, tmp_path: Path) -> None:
    board = board_of(tmp_path)
    found = board.trial(moved(0.5), [], lost=lambda m: m["cra"] < 95)
    assert board.cost.drawn == OWN + 2 * REST
    assert found["cra"] < 95 and found["recognised"] == 0


def test_only_what_is_wanted_is_drawn(asked: Asked, tmp_path: Path) -> None:
    board = board_of(tmp_path)
    assert "ira" not in board.trial(moved(0.2), [], wanted={"recognised"})
    assert board.cost.drawn == 2 * OWN + REST
    assert set(board.trial(moved(0.3), [], wanted={"text_gone"})) == {"text_kept", "text_gone"}
    assert board.cost.drawn == 2 * OWN + REST


def test_same_weights_give_the_same_metrics_and_no_picture(asked: Asked, tmp_path: Path) -> None:
    board = board_of(tmp_path)
    first = board.trial(moved(0.2), [])
    count = board.cost.drawn
    assert board.trial(moved(0.2), []) == first
    assert board.rescore() == board.base
    assert board.cost.drawn == count and len(asked.seeds) == count
    assert board.cost.evaluations == 2


def test_search_looks_at_no_more_pictures_than_it_may(asked: Asked, tmp_path: Path) -> None:
    """Then nothing counts as forgotten that nobody saw, and no smaller step passes for one that was seen."""
    board = board_of(tmp_path, search_pictures=2 * (OWN + REST))
    assert board.notes == []
    seen = board.trial(moved(0.2), [])
    assert seen["recognised"] == 0 and board.cost.drawn == 2 * (OWN + REST)
    unseen = board.trial(moved(0.3), [])
    assert board.notes == [FULL]
    assert unseen["recognised"] == 100 and unseen["text_gone"] != 100
    with torch.no_grad():
        live = parameters(MODEL)[NAME]
        kept = live.clone()
        try:
            live.mul_(1.2)
            assert board.commit([])["recognised"] == 0
            less = {NAME: kept * 1.1}
            assert board.trial(less, [])["text_gone"] > board.current["text_gone"]
            assert board.trial(less, [])["recognised"] == 100
            assert board.trial({NAME: kept * 1.2}, []) == board.current
        finally:
            live.copy_(kept)
    assert board.cost.drawn == len(asked.seeds) == 2 * (OWN + REST)


def test_search_without_pictures(asked: Asked, tmp_path: Path) -> None:
    for settings, note in (
        ({"search_pictures": 0}, NO_JUDGE),
        ({"search_pictures": OWN}, TOO_FEW),
        ({"judges": None, "judged_by": JudgedBy.ZERO_SHOT}, NO_JUDGE),
    ):
        board = board_of(tmp_path, **settings)
        assert set(board.base) == {"text_kept", "text_gone"} and board.notes == [note]
        assert board.cost.drawn == 0
    assert asked.seeds == []


def test_slow_engine_agrees_and_draws_again(asked: Asked, tmp_path: Path) -> None:
    found, drawn = {}, {}
    for fast in (True, False):
        asked.seeds.clear()
        board = board_of(tmp_path, fast=fast, search_pictures=4 * (OWN + REST))
        steps = [board.trial(moved(s), [], lost=lambda m: m["cra"] < 95) for s in (0.2, 0.5, 0.2, 0.1, 0.3)]
        found[fast] = [board.base, *steps, board.rescore()]
        drawn[fast] = (board.cost.drawn, len(asked.seeds))
    assert found[True] == found[False]
    assert drawn[True][0] == drawn[False][0] == drawn[True][1] < drawn[False][1]


@pytest.mark.parametrize("kind", list(Kind))
def test_pictures_of_a_pipeline(kind: Kind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Drawn and judged in earnest: weights come back to the bit, both engines agree, base is drawn once."""
    model, sets = family(kind), make_sets()
    sets = replace(sets, validation=sets.validation.head(4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = plain({k: len(v) for k, v in sets.labels.items()}).eval().requires_grad_(False)

    def load(folder: Path, name: str, role: str, device: str) -> Judge:
        assert role == "search"
        return Judge(
            kind=name,
            role=role,
            name=name,
            labels=tuple(sets.labels[name]),
            sha256="",
            side=64,
            rejects=True,
            logits=lambda pictures: net(pictures)[name],
            measured={"views": Held(accuracy=50, n=2)},
        )

    monkeypatch.setattr("razor_cli.families.diffusion.panel.load_judge", load)
    folder = write_descriptions(tmp_path / "judges", sets.labels)
    settings = DrawnMetrics(judges=folder, steps=2, batch=4)
    before = bits(model)
    name = next(n for n in parameters(model) if n.endswith("layers.1.mlp.fc1.weight"))
    values = {name: -3 * parameters(model)[name]}
    cache = TensorCache(tmp_path / "cache")
    boards = [DrawnBoard(model, sets, settings, Cost(), fast=f, cache=cache) for f in (True, False)]
    first, second = ([b.base, b.trial(values, []), b.trial(values, []), b.rescore()] for b in boards)
    assert first == second
    assert first[1] == first[2] != first[0] == first[3]
    assert all(torch.equal(v, before[n]) for n, v in bits(model).items())
    assert len(list((tmp_path / "cache" / "pictures").glob("*.safetensors"))) == 2 * len(sets.validation)


def test_text_space_of_names_and_anchors() -> None:
    """Nothing moved: all kept, nothing gone. The anchor in the target's place: no distance is left."""
    space = TextSpace(denoiser=MODEL.denoiser, sets=SETS)
    assert space.metrics() == pytest.approx({"text_kept": 100, "text_gone": 100})
    twice = replace(SETS, target_prompts=("cats",), anchor_prompts=("dogs",))
    space = TextSpace(denoiser=MODEL.denoiser, sets=twice)
    space.sets = replace(twice, target_prompts=("dogs",))
    assert space.metrics()["text_gone"] == pytest.approx(0, abs=1e-4)
    lone = TextSpace(denoiser=MODEL.denoiser, sets=replace(SETS, prompts={"noto": "noto"}))
    assert "text_kept" not in lone.metrics()
