"""Sets of several targets: what goes together, what went before, and that no edit sees what is judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asks import sets_from
from drawn_places import asked
from drawn_worlds import cells, protocol_of, sets_of

from razor_cli.config import command_line, compose
from razor_cli.data.ask import Ask
from razor_cli.data.disjoint import check_steps
from razor_cli.data.kinds.canvas_standin import CanvasStandIn
from razor_cli.data.kinds.generated import Generated
from razor_cli.data.kinds.standin import StandIn
from razor_cli.data.sampling import Sizes
from razor_cli.errors import ConfigError, RunError
from razor_cli.families.diffusion.scoring import Scorer

TWO = ("Taylor Swift", "Elon Musk")
FEW = Sizes(
    forget=6, retain=30, validation_forget=4, validation_retain=30, evaluation_forget=4, evaluation_retain=30
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path_factory.getbasetemp() / "rendered"))


def portraits(target: str, **more: Any) -> Any:
    return sets_from(StandIn, target, FEW, pictures="portraits", suites=(), **more)


def test_portraits_of_two_people_go_together_and_one_before_is_left_out() -> None:
    sets = portraits(TWO[0], targets=TWO)
    assert sets.target == "Taylor Swift + Elon Musk" and sets.forget_names == TWO
    assert Counter(sets.forget.concepts) == dict.fromkeys(TWO, 6) and set(
        sets.evaluation.forget.concepts
    ) == set(TWO)
    assert not set(TWO) & {*sets.retain.concepts, *sets.evaluation.retain.concepts, *sets.retain_names}
    second = portraits(TWO[1], gone=TWO[:1])
    assert second.forget_names == TWO[1:] and TWO[0] not in (*second.class_names, *second.retain.concepts)
    check_steps(replace(sets, steps=(portraits(TWO[0]), second)))
    seen = replace(second, retain=sets.evaluation.retain)
    with pytest.raises(RunError, match="edit 1 looks at"):
        check_steps(replace(sets, steps=(seen,)))


def test_steps_decide_the_fingerprints_and_stand_in_the_record() -> None:
    sets = portraits(TWO[0], targets=TWO)
    whole = replace(sets, steps=(portraits(TWO[0]),))
    assert whole.fingerprints().items() > sets.fingerprints().items()
    assert {"step_1_forget", "step_1_words"} <= whole.fingerprints().keys()
    assert {"step_1_forget", "step_1_retain"} <= whole.record().keys() - sets.record().keys()


@pytest.mark.parametrize("kind", [CanvasStandIn, Generated])
def test_two_styles_go_together_and_one_before_is_left_out(kind: Any) -> None:
    two = ("Noto", "Contrast")
    sets = kind().sets(asked("style", two[0], targets=two, stand_in=True))
    one = kind().sets(asked("style", two[0], stand_in=True))
    assert sets.forget_names == two and sets.target == "Noto + Contrast" and sets.spoken == two
    assert not set(two) & {*sets.near, *sets.retain_names}
    for part in (sets.validation, sets.evaluation):
        shown = Counter(s.shows("style") for s in part)
        assert abs(shown[two[0]] - shown[two[1]]) <= 1
    assert sets.sizes()["validation_forget"] == 2 * one.sizes()["validation_forget"]
    assert all(any(n in p for n in two) for p in sets.target_prompts)
    assert not any(n in p for n in two for p in sets.retain_prompts)
    second = kind().sets(asked("style", two[1], gone=two[:1], stand_in=True))
    assert two[0] not in second.class_names and not any(two[0] in p for p in second.retain_prompts)
    assert not any(s.shows("style") == two[0] for s in (*second.validation, *second.evaluation))
    check_steps(replace(sets, steps=(one, second)))


def test_ua_of_each_of_two_styles_stands_beside_ua_of_both() -> None:
    sets = sets_of("style", "noto", cells(), joint=("noto", "mono"))
    protocol = protocol_of(sets)
    said = {k: v.copy() for k, v in protocol.wanted.items()}
    lost = [i for i, s in enumerate(sets.evaluation) if s.shows("style") == "mono"][:3]
    said["style"][np.array(lost)] = 0
    now = Scorer(protocol=protocol, said=said, against={"base": protocol.wanted, "base_q": None})
    found = {(s.metric, s.variant): s.value for s in (*now.forgetting(), *now.gone())}
    assert (found["ua_name", "noto"], found["ua_name", "mono"], found["ua", "benchmark"]) == (0, 50, 25)
    alone = sets_of("style", "noto", cells())
    assert not list(replace(now, protocol=protocol_of(alone)).gone())


def checked(*words: str) -> Any:
    return compose.checked(command_line.read(["model=clip_tiny", *words]))


def test_command_lines_that_cannot_be_served_are_refused(tmp_path: Path) -> None:
    two = 'target=[Taylor Swift, "Elon Musk"]'
    experiment = checked("scenario=identity", two, "sequence=true", f"output_dir={tmp_path}")
    assert experiment.sequence and experiment.target == two.partition("=")[2]
    for words, told in (
        (
            ["scenario=identity", two, "sequence=true", "judged_on=validation"],
            "judged on evaluation",
        ),
        (["scenario=identity", two, "data.aliases=[Tay]"], "does not say which of several"),
        (["scenario=fine_grained", "target=[a, b]"], "data.forget"),
        (["scenario=identity", "data=folder", f"data.root={tmp_path}", two], "takes one"),
        (["scenario=identity", "sequence=true"], "needs several concepts"),
    ):
        with pytest.raises(ConfigError, match=told):
            checked(*words)


def test_asks_of_a_sequence_leave_out_what_went_before() -> None:
    ask = Ask(target="a", targets=("a", "b", "c"))
    assert [(x.target, x.targets, x.gone) for x in ask.in_turn()] == [
        ("a", (), ()),
        ("b", (), ("a",)),
        ("c", (), ("a", "b")),
    ]
    assert [(x.target, x.gone) for x in ask.of_each()] == [("a", ()), ("b", ()), ("c", ())]
