"""Several targets in one run: together, one after another, or each by itself and then put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tiny_llava import opened
from tiny_world import OTHERS, TARGET, Noise, bits, make_clip, make_sets, pairs

from razor_cli.config.overrides import split
from razor_cli.config.quantization import Quantization
from razor_cli.config.several import check_targets, targets_of
from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.family import ADAPTER, RUNTIME
from razor_cli.data.sets import ConceptSets, Judged, class_prompts
from razor_cli.engine.changes import AtRunTimeTogether, Weights, then
from razor_cli.engine.evaluation import Evaluator
from razor_cli.engine.lab import Lab
from razor_cli.engine.turns import Turns
from razor_cli.errors import ConfigError, RunError, UnknownTargetError
from razor_cli.families.llava.settings import AskedMetrics, Options
from razor_cli.report.layout import Turns as TurnsPart
from razor_cli.report.layout import layout_of
from razor_cli.report.turned import turned
from razor_cli.runs.rows import ScoreRow, on_the_way, state_order

A, B = TARGET, OTHERS[0]
REST = OTHERS[1:]


def both() -> ConceptSets:
    """Return the sets of Ada and Ben together, with those of each edit in turn."""
    source = Noise()
    names = (A, B, *REST)

    def judged(split: str) -> Judged:
        rest = [REST[i % len(REST)] for i in range(16)]
        # pictures to judge come in another order than the targets of the request
        own = [B, A] if split == "evaluation" else [A, B]
        return Judged(forget=pairs(source, own * 4, split), retain=pairs(source, rest, split))

    sets = replace(
        make_sets(source),
        target=f"{A} + {B}",
        joint=(A, B),
        forget=judged("train").forget,
        retain=judged("train").retain,
        validation=judged("validation"),
        evaluation=judged("evaluation"),
        class_names=names,
        prompts=class_prompts(names, "person"),
    )
    second = replace(make_sets(source, REST), target=B, prompts=class_prompts((B, *REST), "person"))
    return replace(sets, steps=(make_sets(source), replace(second, class_names=(B, *REST))))


@dataclass(frozen=True, kw_only=True)
class Adds:
    """Adds one to the tensor that belongs to a target, in the model as it finds it."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stochastic: ClassVar[bool] = False

    name: str = "adds"
    where: Mapping[str, str]
    calls: list[str] = field(default_factory=list)
    unknown: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()

    def edit(self, lab: Lab) -> Edit:
        target = lab.sets.target
        self.calls.append(target)
        if target in self.unknown:
            raise UnknownTargetError(f"{target} is not known")
        tensor = self.where[target]
        new = parameters(lab.family)[tensor] + (0 if target in self.idle else 1)
        lab.cost.forwards = 5
        return Edit(
            change=Weights(values={tensor: new.to(lab.family.storage_dtype(tensor))}),
            components=[tensor],
            log=[Event(step=0, action="apply", component=tensor, before={"m1": 1.5})],
            cost=lab.cost,
            notes=[f"found {target}"],
        )


def one_tensor(family: Any, count: int) -> list[str]:
    """Return names of vectors that may change."""
    return [c.name for c in family.tensors() if parameters(family)[c.name].ndim == 1][:count]


def turns_of(family: Any, method: Adds, folder: Path) -> Turns:
    return Turns(method=method, lab=Lab(family=family, sets=both()), folder=folder)


@pytest.fixture
def clip() -> Any:
    return make_clip(torch.float32)


def test_a_list_names_several_targets_and_a_name_is_one() -> None:
    assert targets_of("Taylor Swift") == ("Taylor Swift",)
    assert targets_of("[Taylor Swift,Elon Musk ]") == ("Taylor Swift", "Elon Musk")
    assert targets_of('["Downey, Robert", Conan O\'Brien]') == ("Downey, Robert", "Conan O'Brien")
    assert split("Ada, [Ben, Cleo],[Dan],[a]b", listed=True) == ["Ada", "[Ben, Cleo]", "[Dan]", "[a]b"]
    check_targets("[a, b]", sequence=True, compose=False)
    for text, more, told in (
        ("[a, A]", {}, "names a concept twice"),
        ("[a, ]", {}, "is empty"),
        ("a", {"sequence": True}, "sequence=true needs several"),
        ("[a]", {"compose": True}, "compose=true needs several"),
        ("[a, b]", {"compose": True, "sequence": True}, "exclude each other"),
    ):
        with pytest.raises(ConfigError, match=told):
            check_targets(text, **{"sequence": False, "compose": False} | more)


def test_each_edit_begins_where_the_one_before_ended(clip: Any, tmp_path: Path) -> None:
    before, (name,) = bits(clip), one_tensor(clip, 1)
    method = Adds(where={A: name, B: name})
    edit = turns_of(clip, method, tmp_path).edit(apart=False)
    assert bits(clip) == before and method.calls == [A, B]
    assert torch.equal(edit.values[name], clip.stored[name] + 1 + 1)
    assert list(edit.states) == ["step_1"]
    assert torch.equal(edit.states["step_1"].tensors()[name], clip.stored[name] + 1)
    assert edit.components == [name] and edit.cost.forwards == 10
    assert [(e.step, e.action, e.note) for e in edit.log if e.action == "target"] == [
        (0, "target", "1 of 2: Ada"),
        (2, "target", "2 of 2: Ben"),
    ]
    assert edit.notes == ["1 of 2: Ada: found Ada", "2 of 2: Ben: found Ben"]


def test_edits_that_were_done_are_taken_up_again_unless_they_are_damaged(clip: Any, tmp_path: Path) -> None:
    (name,) = one_tensor(clip, 1)
    first = turns_of(clip, Adds(where={A: name, B: name}), tmp_path).edit(apart=False)
    again = Adds(where={A: name, B: name})
    found = turns_of(clip, again, tmp_path).edit(apart=False)
    assert again.calls == [] and torch.equal(found.values[name], first.values[name])
    assert (found.log, found.cost, found.notes) == (first.log, first.cost, first.notes)
    (tmp_path / "2.safetensors").write_bytes(b"x" * 99)
    turns_of(clip, again, tmp_path).edit(apart=False)
    assert again.calls == [B]


def test_patches_of_different_tensors_compose_and_of_the_same_are_refused(clip: Any, tmp_path: Path) -> None:
    one, two = one_tensor(clip, 2)
    edit = turns_of(clip, Adds(where={A: one, B: two}), tmp_path / "a").edit(apart=True)
    assert {n: float((v - clip.stored[n]).mean()) for n, v in edit.values.items()} == {one: 1, two: 1}
    assert list(edit.states) == ["step_1", "alone_2"] and set(edit.states["alone_2"].tensors()) == {two}
    method = Adds(where={A: one, B: one})
    with pytest.raises(RunError, match="Ada and Ben do not compose") as refused:
        turns_of(clip, method, tmp_path / "b").edit(apart=True)
    assert one in str(refused.value) and "sequence=true" in str(refused.value)


def test_a_later_target_that_is_gone_already_changes_nothing_and_a_first_one_fails(
    clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = one_tensor(clip, 1)

    def unmoved(self: Any, change: Any, sets: Any) -> str | None:
        same = (torch.equal(v, parameters(self)[n]) for n, v in change.tensors().items())
        return "no weight differs" if all(same) else None

    monkeypatch.setattr(type(clip), "without_effect", unmoved)
    where = {A: name, B: name}
    for i, more in enumerate(({"idle": (B,)}, {"unknown": (B,)})):
        edit = turns_of(clip, Adds(where=where, **more), tmp_path / str(i)).edit(apart=False)
        assert torch.equal(edit.values[name], clip.stored[name] + 1)
        assert any("2 of 2: Ben" in n and ("no effect" in n or "not known" in n) for n in edit.notes)
    with pytest.raises(RunError, match="no effect"):
        turns_of(clip, Adds(where=where, idle=(A,)), tmp_path / "2").edit(apart=False)
    with pytest.raises(UnknownTargetError):
        turns_of(clip, Adds(where=where, unknown=(A,)), tmp_path / "3").edit(apart=False)


@dataclass(frozen=True)
class Acts:
    kind: ClassVar[str] = RUNTIME
    name: str
    seen: list[str]

    @contextmanager
    def held(self, family: Any) -> Iterator[None]:
        self.seen.append(self.name)
        yield
        self.seen.remove(self.name)

    def random_like(self, family: Any, seed: int) -> str:
        return "none"

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


def test_changes_at_run_time_are_held_together_and_others_do_not_mix(clip: Any) -> None:
    seen: list[str] = []
    found = then(then(Weights(), Acts("a", seen)), then(Acts("b", seen), Weights()))
    assert isinstance(found, AtRunTimeTogether) and found.tensors() == {}
    with found.held(clip):
        assert seen == ["a", "b"]
    assert seen == [] and isinstance(found.random_like(clip, 0), str)
    assert isinstance(then(found, Acts("c", seen)), AtRunTimeTogether)
    with pytest.raises(ConfigError, match="cannot be put together"):
        then(Weights(values={"x": torch.zeros(1)}), Acts("a", seen))


class Adapter(Acts):
    kind: ClassVar[str] = ADAPTER


class Adapts(Adds):
    def edit(self, lab: Lab) -> Edit:
        self.calls.append(lab.sets.target)
        return Edit(change=Adapter("a", []))


def test_adapters_are_refused_after_the_first(clip: Any, tmp_path: Path) -> None:
    method = Adapts(where={})
    with pytest.raises(ConfigError, match="cannot be put together"):
        turns_of(clip, method, tmp_path).edit(apart=False)
    assert method.calls == [A]


def test_states_on_the_way_stand_before_the_edit() -> None:
    states = ["base", "control", "step_1", "step_2", "alone_2", "edit", "oracle"]
    assert [on_the_way(s) for s in states] == [0, 0, 1, 2, 2, 0, 0] and on_the_way("step_x") == 0
    assert sorted(states, key=state_order) == states


def rows_of(family: Any, exam: Any, edit: Edit) -> list[ScoreRow]:
    """Measure all states of an edit, those on the way in full precision alone."""
    evaluator = Evaluator(family=family, exam=exam, settings=Quantization(schemes=["none", "int8"]))
    changes = {"base": Weights(), **edit.states, "edit": edit.change}
    found = dict(evaluator.states(changes, ["none", "int8"], list(edit.states)))
    assert [k for k in found if k[1] == "int8"] == [("base", "int8"), ("edit", "int8")]
    return [
        ScoreRow(state=state, quantization=width, score=score)
        for (state, width), scores in exam.scores(found, 0).items()
        for score in scores
    ]


def part_of(family: str) -> TurnsPart:
    layout = layout_of(family)
    assert layout is not None
    return next(p for p in layout.parts if isinstance(p, TurnsPart))


def test_a_clip_tells_m1_of_each_target_after_each_step(clip: Any, tmp_path: Path) -> None:
    (name,) = one_tensor(clip, 1)
    edit = turns_of(clip, Adds(where={A: name, B: name}), tmp_path).edit(apart=False)
    from razor_cli.families.clip.settings import Metrics

    rows = rows_of(clip, clip.exam(both(), Metrics(), None, lambda _: None), edit)
    found = turned(part_of("clip"), rows, f"{A} + {B}")
    assert found is not None and found.targets == (A, B) and list(found.lines) == ["base", "step_1", "edit"]
    assert [found.label(s) for s in found.lines] == ["base", "1: Ada", "edit"] and not found.apart
    joint = next(
        r.score for r in rows if (r.state, r.score.metric, r.score.variant) == ("base", "m1", "dual/generic")
    )
    own = [s.value for s in found.lines["base"][:2] if s is not None and s.value is not None]
    assert joint.value == pytest.approx(sum(own) / 2) and len(own) == 2
    assert [name for name, *_ in found.costs()] == [A, *found.heads]


def test_a_llava_tells_fa_of_each_target_after_each_step(tmp_path: Path) -> None:
    family = opened(tmp_path / "plain", min_alignment=0.0)
    bench: Any = family
    names = [c.name for c in family.tensors() if "layers.0" in c.name and c.name.endswith("bias")][:1]
    edit = turns_of(bench, Adds(where={A: names[0], B: names[0]}), tmp_path / "kept").edit(apart=False)
    settings = AskedMetrics(
        fa_min_base=0,
        fa_prompts=["Who is it?", "Name?"],
        fa_images=2,
        retain_images=1,
        mmbench_wording=Options.TAUGHT_TEXT,
        max_new_tokens=2,
        mme_pictures=0,
        gqa_questions=0,
        mmbench_questions=0,
        binding_images=1,
        near=0,
        knowledge=False,
    )
    exam = family.exam(both(), settings, None, lambda _: None)
    found = turned(part_of("llava"), rows_of(bench, exam, edit), f"{A} + {B}")
    assert found is not None and found.targets == (A, B) and list(found.lines) == ["base", "step_1", "edit"]
