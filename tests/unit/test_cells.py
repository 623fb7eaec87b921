"""One object in one style as the target of a model that draws: neither the object nor the style goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_places import asked
from drawn_worlds import OBJECTS, STYLES, cells, protocol_of, sets_of

from razor_cli.data.kinds.canvas_standin import CanvasStandIn
from razor_cli.data.kinds.generated import Generated
from razor_cli.data.shots import DrawnSets, Shot
from razor_cli.data.wording import CELL, canvas_words
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.protocol import REJECT
from razor_cli.families.diffusion.scoring import Scorer

TARGET = "Noto/Cats"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path_factory.getbasetemp() / "rendered"))


def test_a_shot_shows_a_cell_where_it_shows_an_object_in_a_style() -> None:
    both = Shot(prompt="p", seed=1, labels=(("style", "Noto"), ("object", "Cats")))
    assert both.shows(CELL) == TARGET and both.shows("style") == "Noto"
    assert replace(both, labels=(("object", "Cats"),)).shows(CELL) is None


def test_sets_of_a_cell_keep_its_object_and_its_style() -> None:
    sets = CanvasStandIn().sets(asked(CELL, "noto/cats", stand_in=True))
    assert sets.target == TARGET == sets.class_names[0] and len(set(sets.class_names)) == 96
    assert set(sets.forget.concepts) == {TARGET} and TARGET not in sets.retain.concepts
    assert [n.partition("/")[::2][i] for n, i in zip(sets.near, (1, 0), strict=True)] == ["Cats", "Noto"]
    shown = [s.shows(CELL) for s in (*sets.validation, *sets.evaluation)]
    assert TARGET in shown and {n for n in shown if n and "Cats" in n} > {TARGET}
    words = canvas_words()
    named = words.only(CELL, TARGET)
    assert sets.target_prompts == (named,) and sets.prompts[TARGET] == named
    assert sets.anchors == (words.only(CELL, sets.near[0]),) and named not in sets.retain_prompts
    assert any("Cats" in p for p in sets.retain_prompts) and any("Noto" in p for p in sets.retain_prompts)
    plain = CanvasStandIn(anchor=None).sets(asked(CELL, TARGET, stand_in=True))
    assert plain.anchors == (words.generic[CELL],)


def test_cells_are_asked_of_data_that_lists_them() -> None:
    with pytest.raises(ConfigError, match="no such cell"):
        CanvasStandIn().sets(asked(CELL, "Cats", stand_in=True))
    found = list(Generated().problems(asked(CELL, TARGET, stand_in=True)))
    assert "nobody lists its objects in styles" in str(found[0])


def of_cells() -> DrawnSets:
    sets = sets_of("style", "noto", cells())
    names = tuple(f"{s}/{o}" for s in STYLES for o in OBJECTS)
    return replace(sets, axis=CELL, target="noto/cats", labels={**sets.labels, CELL: names})


def test_a_cell_is_unlearned_where_either_judge_misses_it_and_validly_where_one_does_not() -> None:
    sets = of_cells()
    protocol = protocol_of(sets)
    own = [i for i, s in enumerate(sets.evaluation) if s.shows(CELL) == "noto/cats"]
    said = {kind: places.copy() for kind, places in protocol.wanted.items()}
    said["style"][own[0]] = 1  # cats in another style
    said["style"][own[1]], said["object"][own[1]] = REJECT, REJECT
    other = next(i for i, s in enumerate(sets.evaluation) if s.shows(CELL) == "mono/dogs")
    said["object"][other] = 0
    now = Scorer(protocol=protocol, said=said, against={"base": protocol.wanted, "base_q": None})
    found = {(s.metric, s.variant): s.value for s in (*now.forgetting(), *now.keeping(), *now.names())}
    assert len(own) == 2 and protocol.own.sum() == 2
    assert (found["ua", "benchmark"], found["ua_valid", "benchmark"]) == (100, 50)
    assert (found["rejects", "benchmark"], found["rejects", "benchmark/others"]) == (50, 0)
    cells_kept = len(STYLES) * len(OBJECTS) - 1
    assert found["ira", "benchmark"] == pytest.approx(100 * (cells_kept - 0.5) / cells_kept)
    assert found["ira_name", "mono/dogs"] == 50 and found["ira_worst", "mono/dogs"] == 50
    assert found["cra", "benchmark"] is not None and found["cra", "benchmark"] < 100
    assert np.array_equal(protocol.unlearned(protocol.wanted), np.zeros(len(sets.evaluation), dtype=bool))
