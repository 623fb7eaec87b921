"""The evaluation of a model that draws: who is asked what, what is kept, and what stands in a
run's folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_judges import NOTHING, Asked, Coder, Rule, use_coded, write_descriptions
from drawn_worlds import OBJECTS, OTHER, PEOPLE, STYLES, cells, people, sets_of
from PIL import Image
from tiny_drawn import family, make_sets, pairs

from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.cost import Cost
from razor_cli.data.shots import DrawnSets, Shot, Shots
from razor_cli.engine.cache import TensorCache
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.board import DrawnBoard
from razor_cli.families.diffusion.canvas_judges import describe
from razor_cli.families.diffusion.exam import DrawnExam
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.settings import DrawnMetrics, Features
from razor_cli.metrics.score import Score

LABELS = {"style": STYLES, "object": OBJECTS, "identity": PEOPLE}
BASE, EDIT, EDIT8 = ("base", "none"), ("edit", "none"), ("edit", "int8")
VALIDATION = cells(seeds=(3,), template=OTHER)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Judges that read what a Coder painted, and what they are asked."""
    return use_coded(monkeypatch, LABELS)


@pytest.fixture
def judges(tmp_path: Path) -> Path:
    """A folder with the descriptions of classifiers."""
    return write_descriptions(tmp_path / "judges", LABELS)


def exam_of(sets: DrawnSets, judges: Path, asked: Asked, **settings: Any) -> DrawnExam:
    """Return an exam that looks at painted pictures."""
    given = DrawnMetrics(judges=judges, **{"fid": "none", "clip_score": False, **settings})
    exam = DrawnExam(family=family(Kind.SD15), sets=sets, settings=given)
    exam.store = Coder(sets, LABELS, asked)  # type: ignore[assignment]
    return exam


def measured(exam: DrawnExam, rules: Mapping[tuple[str, str], Rule]) -> dict[Any, dict[Any, Score]]:
    """Return the scores of states by metric and variant, each painted by its rule."""
    found = {}
    for key, rule in rules.items():
        exam.store.rule = rule  # type: ignore[attr-defined]
        found[key] = exam.measure(None, keep=key[1] == "none")
    scored = exam.scores(found, seed=0)
    return {key: {(s.metric, s.variant): s for s in scores} for key, scores in scored.items()}


def forgets(shot: Shot) -> dict[str, int]:
    """Paint the style noto as mono, once without its object."""
    if shot.shows("style") != "noto":
        return {}
    return {"style": 1} | ({"object": NOTHING} if shot.shows("object") == "cats" else {})


def as_asked(_: Shot) -> dict[str, int]:
    """Paint what was asked for."""
    return {}


def test_scores_of_known_pictures(judges: Path, asked: Asked) -> None:
    exam = exam_of(sets_of("style", "noto", cells(seeds=(1, 5, 9)), near=("mono",)), judges, asked)
    found = measured(exam, {BASE: as_asked, ("base", "int8"): as_asked, EDIT: forgets, EDIT8: as_asked})
    edit, back = found[EDIT], found[EDIT8]
    assert edit["ua", "benchmark"].value == 100
    assert edit["ua_valid", "benchmark"].value == pytest.approx(100 * 2 / 3)
    assert edit["ua_drop", "benchmark/base"].value == pytest.approx(-100)
    assert edit["ira", "benchmark"].value == edit["cra", "benchmark"].value == pytest.approx(100)
    assert edit["cra", "benchmark/all"].value == pytest.approx(100 * np.mean([3 / 4, 1, 1]))
    assert back["rec", "benchmark"].value == 1 and back["ua_drop", "benchmark/base_q"].value == 0
    assert found[BASE]["judge_acc", "style"].value == pytest.approx(97.5)
    assert not any(metric == "judge_acc" for metric, _ in edit)
    assert all(s.n >= 0 for s in edit.values())
    assert "coded/style/exam" in exam.notes[0] and "steps" in exam.notes[1]


def test_exam_asks_no_judge_of_searches_and_draws_no_seed_of_theirs(judges: Path, asked: Asked) -> None:
    sets = sets_of("style", "noto", cells(), VALIDATION)
    measured(exam_of(sets, judges, asked), {BASE: as_asked, EDIT: forgets})
    assert set(asked.roles) == {"exam"}
    assert set(asked.seeds) == {s.seed for s in sets.evaluation}


def test_board_asks_no_judge_of_the_exam_and_draws_no_seed_of_its(
    judges: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = sets_of("style", "noto", cells(), VALIDATION)
    model = family(Kind.SD15)
    monkeypatch.setattr(type(model), "pictures", lambda *_: Coder(sets, LABELS, asked))
    board = DrawnBoard(model, sets, DrawnMetrics(judges=judges), Cost(), fast=True)
    name = "text_encoder.encoder.layers.0.mlp.fc1.weight"
    board.trial({name: parameters(model)[name] * 1.1}, [])
    assert set(asked.roles) == {"search"}
    assert set(asked.seeds) == {s.seed for s in VALIDATION}
    assert len(asked.seeds) == 2 * len(VALIDATION)


def test_judge_that_does_not_know_a_name_is_refused(judges: Path) -> None:
    """Before a weight is read, with what it knows."""
    sets = sets_of("style", "noto", [*cells(), Shot(prompt="p", seed=7, labels=(("style", "notto"),))])
    settings = DrawnMetrics(judges=judges)
    with pytest.raises(ConfigError, match="does not know the style 'notto'") as error:
        settings.judge_hashes(sets)
    assert "did you mean noto" in str(error.value)
    known = settings.judge_hashes(sets_of("style", "noto", cells(), VALIDATION))
    assert known == {role: sha256(role.encode()).hexdigest() for role in ("exam", "search")}
    unknown = Shots([Shot(prompt="p", seed=1, labels=(("character", "Zed"),))])
    with pytest.raises(ConfigError, match="knows no kind 'character'"):
        settings.judge_hashes(replace(sets, evaluation=unknown))


def test_missing_description_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"exam\.json with the names") as error:
        DrawnMetrics(judges=tmp_path).judge_hashes(sets_of("style", "noto", cells()))
    assert "razor data judge --checkpoint=FILE" in str(error.value)


@pytest.mark.parametrize("written", ["", "[]", "{}", '{"kinds": 3}', '{"kinds": {"style": {}}}'])
def test_description_of_something_else_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "exam.json").write_text(written)
    with pytest.raises(ConfigError, match="no description of a judge for exam that can be read"):
        DrawnMetrics(judges=tmp_path).judge_hashes(sets_of("style", "noto", cells()))


def test_judges_of_our_own_command_have_a_checksum_each(tmp_path: Path) -> None:
    def write(kind: str, content: str) -> None:
        file, held = tmp_path / f"{kind}.safetensors", content.encode()
        file.write_bytes(held)
        entry = {"file": file.name, "sha256": hashlib.sha256(held).hexdigest(), "measured": {}}
        describe(tmp_path, "exam", kind, {"labels": LABELS[kind], **entry})

    for kind in ("style", "object"):
        write(kind, kind)
    settings, sets = DrawnMetrics(judges=tmp_path), sets_of("style", "noto", cells())
    first = settings.judge_hashes(sets)
    write("object", "another")
    assert set(first) == {"exam"} and first != settings.judge_hashes(sets)


def test_a_judge_that_guides_the_search_does_not_judge_the_edit(tmp_path: Path) -> None:
    folder = write_descriptions(tmp_path, LABELS)
    sets = replace(sets_of("style", "noto", cells()), validation=Shots(cells(seeds=(3,))))
    assert set(DrawnMetrics(judges=folder).judge_hashes(sets)) == {"exam", "search"}
    for ending in ("json", "safetensors"):
        (folder / f"search.{ending}").write_bytes((folder / f"exam.{ending}").read_bytes())
    with pytest.raises(ConfigError, match="the same classifier of kind") as refused:
        DrawnMetrics(judges=folder).judge_hashes(sets)
    assert refused.value.fix is not None and "metrics.search_pictures=0" in refused.value.fix
    assert set(DrawnMetrics(judges=folder, search_pictures=0).judge_hashes(sets)) == {"exam"}


def test_features_of_a_file_are_known_by_what_it_holds(judges: Path, tmp_path: Path) -> None:
    file, found = tmp_path / "inception.pth", []
    for content in (b"one", b"another"):
        file.write_bytes(content)
        settings = DrawnMetrics(judges=judges, fid=Features.INCEPTION, fid_weights=file)
        found.append(settings.judge_hashes(sets_of("style", "noto", cells()))["fid"])
    assert found[0] != found[1]


@pytest.mark.parametrize("said", ["[]", "{}", '{"kinds": {"style": {}}}'])
def test_what_is_no_description_of_a_judge_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "exam.json").write_text(said)
    with pytest.raises(ConfigError, match="has no description of a judge"):
        DrawnMetrics(judges=tmp_path).judge_hashes(sets_of("style", "noto", cells()))


def test_answers_of_a_known_state_come_from_the_cache(judges: Path, asked: Asked, tmp_path: Path) -> None:
    sets = sets_of("style", "noto", cells())
    exam = exam_of(sets, judges, asked)
    exam.cache = TensorCache(tmp_path / "cache")
    first = exam.measure({"weights": "a"}, keep=True)
    count = len(asked.seeds)
    again = exam.measure({"weights": "a"}, keep=True)
    assert len(asked.seeds) == count
    assert all(torch.equal(v, again.tensors()[k]) for k, v in first.tensors().items())
    exam.measure({"weights": "b"}, keep=True)
    exam.measure(None)
    assert len(asked.seeds) == 3 * count


def test_grid_shows_the_same_prompts_before_and_after(judges: Path, asked: Asked, tmp_path: Path) -> None:
    shots = [*people(), *cells()]
    sets = sets_of("style", "noto", shots, near=("mono",))
    exam = exam_of(sets, judges, asked, shown=2)
    rows = {s: [c.row for c in exam.shown if c.section == s] for s in ("target", "near", "others")}
    assert [len(r) for r in rows.values()] == [2, 2, 2]
    assert {sets.evaluation[r].shows("style") for r in rows["target"]} == {"noto"}
    assert {sets.evaluation[r].shows("object") for r in rows["target"]} < set(OBJECTS)
    assert {sets.evaluation[r].shows("style") for r in rows["near"]} == {"mono"}
    found = {}
    for key, rule in {BASE: as_asked, ("control", "none"): as_asked, EDIT: forgets}.items():
        exam.store.rule = rule  # type: ignore[attr-defined]
        found[key] = exam.measure(None, keep=True)
    exam.draw(tmp_path, found)
    first = (tmp_path / "pictures.png").read_bytes()
    with Image.open(tmp_path / "pictures.png") as image:
        assert min(image.size) > 500
    exam.draw(tmp_path, found)
    assert (tmp_path / "pictures.png").read_bytes() == first


def test_exam_of_a_loaded_pipeline(judges: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole way, with pictures that a tiny pipeline draws: stored once, equal again, other after a
    change.
    """
    sets = replace(make_sets(), retain=pairs(("Mono", "Cubism"), 4))
    use_coded(monkeypatch, {k: [*v, *map(str, range(256))] for k, v in sets.labels.items()})
    folder = write_descriptions(tmp_path / "mine", sets.labels)
    model, drawn = family(Kind.SD15), list[int]()
    real = type(model.denoiser).call_with

    def spied(self: Any, contexts: Any, seeds: Any, *more: Any) -> dict[str, Any]:
        drawn.extend(seeds)
        return real(self, contexts, seeds, *more)

    monkeypatch.setattr(type(model.denoiser), "call_with", spied)
    settings = DrawnMetrics(judges=folder, steps=2, batch=4)
    exam = DrawnExam(family=model, sets=sets, settings=settings, cache=TensorCache(tmp_path / "cache"))
    base = exam.measure(None, keep=True)
    assert len(drawn) == len(sets.evaluation)
    assert torch.equal(exam.measure(None, keep=True).pictures, base.pictures)  # type: ignore[arg-type]
    assert len(drawn) == len(sets.evaluation)
    name = "text_encoder.encoder.layers.1.mlp.fc1.weight"
    with swapped(model, {name: -parameters(model)[name]}):
        edit = exam.measure(None, keep=True)
    assert len(drawn) == 2 * len(sets.evaluation)
    assert not torch.equal(edit.pictures, base.pictures)  # type: ignore[arg-type]
    scores = {(s.metric, s.variant): s for s in exam.scores({BASE: base, EDIT: edit}, seed=0)[EDIT]}
    (clip,) = [s for (m, _), s in scores.items() if m == "clip_score"]
    assert clip.value is not None and 0 <= clip.value <= 100 and clip.n == 6
    assert "needs at least as many pictures" in scores["fid", "paired:text_encoder/base"].reason
