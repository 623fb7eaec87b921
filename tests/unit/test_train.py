"""The shared training loop: what it restores, keeps, rounds, resumes and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import Noise, bits, make_clip, make_sets, preset
from torch import Tensor
from tracing_worlds import traced

from razor_cli.contract.choices import Towers
from razor_cli.data.sets import Pairs
from razor_cli.dual.desk import Desk, Samples
from razor_cli.engine.choices import Keep, Optimizer, Precision, Schedule
from razor_cli.engine.lab import Lab
from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.search import Metrics
from razor_cli.engine.train import train
from razor_cli.engine.train_keep import Choice, TracingAim, aim_of, shortfall
from razor_cli.engine.train_settings import Trained, rate, trained_names
from razor_cli.engine.train_state import generator_of
from razor_cli.errors import ConfigError
from razor_cli.methods.ga import Ga
from razor_cli.methods.gaft import Gaft

EMPTY = Pairs((), {})


def edit_of(method: Any, sets: Any = None, **lab: Any) -> Any:
    model, sets = make_clip(), sets or make_sets()
    return method.edit(model, sets, Lab(model=model, sets=sets, **lab))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("changes", [{"lr": 0.0, "weight_decay": 0.0}, {"lr": 0.0}, {"epochs": 0}])
@pytest.mark.parametrize("name", ["ft", "ga", "gaft", "salun", "lotus"])
def test_without_a_rate_or_epochs_nothing_changes(name: str, changes: dict[str, Any]) -> None:
    edit = edit_of(preset(name, **changes))
    assert edit.values == {} and edit.components == []


@pytest.mark.parametrize("name", ["ga", "salun", "lotus"])
def test_nothing_to_forget_changes_nothing(name: str) -> None:
    assert edit_of(preset(name), replace(make_sets(), forget=EMPTY)).values == {}


@pytest.mark.parametrize(
    "field", ["lr", "batch", "momentum", "weight_decay", "epochs", "eps_opt", "warmup_steps", "target_m1"]
)
def test_out_of_range_settings_are_refused_by_their_full_key(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"method\.{field}: -1"):
        Trained(**{field: -1})
    with pytest.raises(ConfigError, match=r"method\.betas"):
        Trained(betas=[0.9, 1.0])


def test_excluded_parameters_and_the_other_tower_stay() -> None:
    edit = edit_of(Ga(lr=1e-3, epochs=1, train=Towers.VISION, exclude=["logit_scale", "ln_"], batch=4))
    assert edit.values and all("visual" in n and "ln_" not in n for n in edit.values)
    with pytest.raises(ConfigError, match=r"method\.exclude"):
        trained_names(make_clip(), Trained(exclude=["no_such_thing"]))


def test_logit_scale_trains_when_asked_and_stays_within_the_clamp() -> None:
    model = make_clip()
    assert "logit_scale" in trained_names(model, Trained(exclude=[]))
    edit = edit_of(
        Gaft(lr=0.5, epochs=1, exclude=[], keep=Keep.LAST, batch=8, optimizer=Optimizer.SGD, weight_decay=0.0)
    )
    value = edit.values.get("logit_scale", model.stored["logit_scale"])
    assert 0 <= float(value) <= 4.61


def test_schedules() -> None:
    cosine = [rate(Trained(lr=2.0, warmup_steps=2), i, 10) for i in range(10)]
    assert cosine[:3] == [1.0, 2.0, 2.0]  # the warm-up ends at the full rate
    assert all(a > b for a, b in pairwise(cosine[2:])) and 0 < cosine[-1] < 0.1
    assert cosine[6] == pytest.approx(1.0)  # half-way between the end of the warm-up and the end
    assert {rate(Trained(lr=2.0, schedule=Schedule.CONST), i, 10) for i in range(10)} == {2.0}
    by_epochs = [rate(Trained(lr=2.0, epochs=4, schedule=Schedule.COSINE_EPOCHS), i, 12) for i in range(12)]
    assert by_epochs[::3] == by_epochs[1::3] == by_epochs[2::3]  # constant within an epoch
    assert by_epochs[::3] == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])


def test_the_schedule_ends_with_the_methods_own_steps() -> None:
    edit = edit_of(Ga(lr=1e-4, epochs=5, batch=4))
    rates = [e.step_size for e in edit.log]
    assert (
        len(rates) == 5
        and rates[0] > rates[-1]
        and rates[-1] == pytest.approx(rate(Trained(lr=1e-4), 14, 15))
    )


class KilledError(Exception):
    pass


class Dying(Objective):
    """Another objective that is killed in the middle of an epoch."""

    def __init__(self, inner: Objective, number: int) -> None:
        self.inner, self.number = inner, number

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        steps = list(self.inner.epoch(number, generator))
        if number == self.number:
            steps[1] = Step(loss=self.die, pictures=1)
        return steps

    def die(self) -> Tensor:
        raise KilledError


def trained(settings: Gaft, folder: Path | None, kill: int | None = None) -> tuple[Any, Lab]:
    from razor_cli.methods.gaft import ThereAndBack

    model, sets = make_clip(), make_sets()
    lab = Lab(model=model, sets=sets, seed=3, resume_dir=folder)
    objective: Objective = ThereAndBack(Desk(model, sets, lab, settings), settings)
    before = bits(model)
    try:
        return train(model, sets, lab, settings, Dying(objective, kill) if kill else objective), lab
    finally:
        assert bits(model) == before
        assert all(p.grad is None and p.requires_grad for p in model.module.parameters())


@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("keep", [Keep.CLOSEST_TO_TARGET, Keep.LAST])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, optimizer: Optimizer, keep: Keep) -> None:
    settings = Gaft(
        lr=3e-4 if optimizer is Optimizer.ADAMW else 3e-2, epochs=3, batch=11, optimizer=optimizer, keep=keep
    )
    whole, lab_whole = trained(settings, None)
    with pytest.raises(KilledError):
        trained(settings, tmp_path, kill=3)
    assert len(list(tmp_path.iterdir())) == 1
    resumed, lab_resumed = trained(settings, tmp_path)
    assert "went on after epoch 2" in resumed.notes[0]
    assert same(whole.values, resumed.values) and whole.components == resumed.components
    assert [(e.step, e.note, e.after) for e in whole.log] == [(e.step, e.note, e.after) for e in resumed.log]
    assert lab_resumed.cost.backwards == lab_whole.cost.backwards
    assert list(tmp_path.iterdir()) == []  # removed when finished


@pytest.mark.parametrize(
    "name", ["salun", "lotus", "salun_tan", "npo_kl_tan", "task_vector_tan", "relabel_tan", "nhl_kl"]
)
def test_every_kind_of_objective_goes_on_to_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks, teachers, drawn labels and frozen references are built again, from the unedited weights."""
    from razor_cli.engine import train as loop

    method, sets = preset(name, epochs=3, lr=1e-4), traced() if name.endswith("_tan") else make_sets()
    whole = edit_of(method, sets, seed=3)
    epoch = loop._Run._epoch

    def killed(self: Any, number: int, steps: Sequence[Step]) -> None:
        if number == 3:
            raise KilledError
        epoch(self, number, steps)

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(loop._Run, "_epoch", killed)
        edit_of(method, sets, seed=3, resume_dir=tmp_path)
    resumed = edit_of(method, sets, seed=3, resume_dir=tmp_path)
    assert any("went on after epoch 2" in n for n in resumed.notes)
    assert same(whole.values, resumed.values)
    assert [(e.step, e.note, e.after) for e in whole.log] == [(e.step, e.note, e.after) for e in resumed.log]


def test_a_state_of_other_settings_or_a_damaged_one_is_not_taken_up(tmp_path: Path) -> None:
    settings = Gaft(lr=3e-4, epochs=2, batch=16)
    with pytest.raises(KilledError):
        trained(settings, tmp_path, kill=2)
    other, _ = trained(replace(settings, lr=1e-4), tmp_path)
    assert not any("went on" in n for n in other.notes)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    again, _ = trained(settings, tmp_path)
    assert not any("went on" in n for n in again.notes)
    assert same(again.values, trained(settings, None)[0].values)


def test_sampling_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int, number: int) -> list[int]:
        return torch.randperm(50, generator=generator_of(seed, number)).tolist()

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(s, n)) for s in range(3) for n in range(1, 4)}) == 9


class Exploding(Objective):
    """A loss that is finite in the first epoch and not afterwards."""

    def __init__(self, parameter: Tensor, first: float) -> None:
        self.parameter, self.first = parameter, first

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        factor = self.first if number == 1 else float("nan")
        return [Step(loss=lambda: factor * self.parameter.sum(), pictures=1)]


@pytest.mark.parametrize(("first", "kept"), [(1.0, 1), (float("inf"), 0)])
def test_a_diverging_epoch_is_refused_and_noted(first: float, kept: int) -> None:
    model, sets = make_clip(), make_sets()
    lab = Lab(model=model, sets=sets)
    edit = train(model, sets, lab, Trained(lr=1e-2, epochs=4), Exploding(model.module.visual.proj, first))
    assert (
        edit.components == ["visual.proj"] * kept
    )  # the only tensor with a gradient; zero gradients and decay moved no other
    assert edit.log[-1].action == "refuse" and len(edit.log) == kept + 1
    assert any("training ended in epoch" in n for n in edit.notes)


def test_values_are_those_that_were_scored() -> None:
    """The last epoch's metrics are those of the rounded values, not of the fp32 weights behind them."""
    from razor_cli.contract.components import swapped

    model, sets = make_clip(torch.bfloat16), make_sets()  # coarse: rounding is seen in the metrics
    lab = Lab(model=model, sets=sets)
    edit = preset("ga", lr=1e-3, epochs=2, keep="last").edit(model, sets, lab)
    with swapped(model, {n: v.float() for n, v in edit.values.items()}):
        assert lab.board.rescore() == edit.log[-1].after
    assert all(not torch.equal(v, model.stored[n]) for n, v in edit.values.items())


def test_fp32_files_keep_the_chosen_epoch_although_training_goes_on() -> None:
    def values(epochs: int) -> dict[str, Tensor]:
        model, sets = make_clip(torch.float32), make_sets()
        method = Ga(
            lr=1e-3,
            epochs=epochs,
            batch=12,
            schedule=Schedule.CONST,
            target_m1=100.0,
            target_m4_drop=100.0,
            target_m5=0.0,
        )
        return method.edit(model, sets, Lab(model=model, sets=sets)).values

    assert same(values(1), values(3))  # the first epoch meets this Target, so it is kept


def metrics(**changes: float) -> Metrics:
    found = {
        "m1": 50.0,
        "m1_generic": 50.0,
        "margin": -1.0,
        "margin_generic": -1.0,
        "m4_generic": 98.0,
        "m5": 99.0,
        "util": 90.0,
    }
    return found | changes


def test_shortfall_is_zero_exactly_on_target_and_grows_with_each_part() -> None:
    aim = aim_of(metrics(m4_generic=100.0), Trained())
    assert shortfall(metrics(), aim) == 0
    for worse in ({"m1": 60.0}, {"m1_generic": 60.0}, {"m4_generic": 97.0}, {"util": 87.0}):
        assert shortfall(metrics(**worse), aim) > 0
    measured = aim_of(metrics(m4_generic=100.0, util=90.0), Trained())
    assert shortfall(metrics(util=95.0, m5=95.0), measured) == 0  # a gain is no harm
    assert shortfall(metrics(util=85.0, m5=95.0), measured) == pytest.approx(3.0)
    assert shortfall(metrics(others=96.0), aim) == 0  # the unedited sets had no other concepts
    aim = aim_of(metrics(m4_generic=100.0, others=99.0), Trained())
    assert shortfall(metrics(others=96.0), aim) == 0
    assert shortfall(metrics(others=94.0), aim) == pytest.approx(2.0)
    assert shortfall(metrics(m1=100.0, margin=5.0), aim) > shortfall(metrics(m1=100.0, margin=4.0), aim)


def test_keep_rules_choose_their_epoch() -> None:
    seen = [
        metrics(m1=100.0, fa_top1=90.0, label_accuracy=10.0),
        metrics(fa_top1=40.0, label_accuracy=80.0),
        metrics(fa_top1=10.0, m5=20.0, label_accuracy=60.0),
        metrics(fa_top1=10.0, m5=10.0, label_accuracy=80.0),
    ]

    def kept(rule: Keep) -> int:
        choice = Choice(rule=rule, aim=aim_of(metrics(m4_generic=100.0), Trained()))
        for number, found in enumerate(seen, 1):
            choice.offer(number, found, {})
        return choice.epoch

    assert [kept(k) for k in Keep] == [
        2,
        4,
        3,
        4,
    ]  # closest, last, lowest forget, highest label accuracy (the later of equals)


UNEDITED = {"df_coarse": 86.20, "df_fine": 93.40, "dr_coarse": 50.88, "dr_fine": 65.55}  # Tan & Gong, Table 2
GA, GDIFF, NPO = ((1.0, 0.0, 7.8, 1.57), (69.6, 0.0, 40.54, 9.3), (88.0, 8.0, 49.33, 53.91))


def traced_metrics(row: tuple[float, ...]) -> Metrics:
    return metrics(m1=100.0, m5=0.0, margin=-1.0, margin_generic=-1.0) | dict(
        zip(UNEDITED, (row[0], row[1], row[2], row[3]), strict=True)
    )


def test_with_a_taxonomy_the_target_is_quality_and_utility() -> None:
    aim = TracingAim.of(UNEDITED, Trained(target_quality=80.0, target_utility=90.0))
    assert aim is not None
    assert (
        aim.shortfall(traced_metrics(NPO)) == 0
    )  # Q 91.43, U 93.07: M1 and M5, which are at their worst, do not count
    assert aim.shortfall(traced_metrics(GA)) == pytest.approx(90 - 6.30, abs=0.02)
    assert aim.shortfall(traced_metrics(GDIFF)) == pytest.approx(90 - 58.21, abs=0.02)
    assert aim.shortfall(UNEDITED) == pytest.approx(80)
    before, nearer = (
        UNEDITED | metrics(margin=m, margin_generic=-1.0) for m in (8.0, 5.0)
    )  # no picture has changed sides yet
    assert 80 < aim.shortfall(nearer) < aim.shortfall(before) < 81
    choice = Choice(rule=Keep.CLOSEST_TO_TARGET, aim=aim_of(metrics(), Trained()), tracing=aim)
    for number, row in enumerate((GA, GDIFF, NPO), 1):
        choice.offer(number, traced_metrics(row), {})
    assert choice.epoch == 3


def test_a_level_that_the_unedited_model_never_gets_right_leaves_the_target_to_m1() -> None:
    assert TracingAim.of(UNEDITED | {"dr_coarse": 0.0}, Trained()) is None
    assert TracingAim.of(metrics(), Trained()) is None


def test_highest_label_accuracy_needs_labels() -> None:
    with pytest.raises(ConfigError, match="assigns no labels"):
        edit_of(preset("ga", keep="highest_label_accuracy"))


def test_cost_counts_pictures() -> None:
    model, sets = make_clip(), make_sets()
    lab = Lab(model=model, sets=sets)
    scored = len(sets.validation.forget) + len(sets.validation.retain)
    preset("gaft", epochs=3, batch=8).edit(model, sets, lab)
    assert lab.cost.backwards == 3 * (len(sets.forget) + len(sets.retain))
    assert lab.cost.forwards == lab.cost.backwards + 4 * scored  # base and three epochs
    assert lab.cost.evaluations == 3 and lab.cost.seconds > 0


def test_batches_walk_once_through_the_set_and_leave_no_lone_pair() -> None:
    model, sets = make_clip(), make_sets()
    desk = Desk(model, sets, Lab(model=model, sets=sets), Trained())
    parts = desk.retain.shuffled(31, generator_of(0, 1))
    assert [len(p) for p in parts] == [32]
    assert sorted(torch.cat(desk.retain.shuffled(10, generator_of(0, 1))).tolist()) == list(range(32))
    assert Samples(desk, EMPTY).shuffled(4, generator_of(0, 1)) == []


def test_a_batch_holds_its_own_pictures_captions_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sets = make_clip(), make_sets()
    desk = Desk(model, sets, Lab(model=model, sets=sets), Trained())
    index = torch.tensor([7, 2, 30])
    drawn = desk.retain.take(index)
    pictures = [sets.retain.pictures[i] for i in index.tolist()]
    assert torch.equal(drawn.pixels, model.preprocess(Noise().load(pictures)))
    assert torch.equal(
        drawn.tokens[drawn.rows], model.tokenize([sets.retain.captions[i] for i in index.tolist()])
    )
    assert [sets.class_names[c] for c in drawn.labels.tolist()] == [p.concept for p in pictures]
    monkeypatch.setattr("razor_cli.dual.desk.KEPT_BYTES", 10)  # too large to keep: loaded for each batch
    assert torch.equal(Samples(desk, sets.retain).take(index).pixels, drawn.pixels)


def test_pictures_of_another_domain_get_a_class_of_their_own() -> None:
    sets = make_sets()
    foreign = replace(sets.retain.pictures[0], domain="emoji", concept="owl", key="owl/1")
    source = sets.retain.sources["person"]
    sets = replace(
        sets, retain=Pairs((foreign, *sets.retain.pictures[1:], foreign), {"person": source, "emoji": source})
    )
    model = make_clip()
    desk = Desk(model, sets, Lab(model=model, sets=sets), Trained())
    assert len(desk.joint) == len(sets.class_names) + 1
    assert desk.retain.labels[0] == -1 and desk.joint.labels[0] == desk.joint.labels[-1] == len(
        sets.class_names
    )
    index = torch.tensor([3, 0])
    logits, labels = desk.joint.logits(torch.randn(2, 16), index)
    assert logits.shape == (2, 7) and labels.tolist() == [desk.retain.labels[3], 6]


def test_bf16_computes_the_towers_coarsely_and_returns_fp32() -> None:
    model, sets = make_clip(), make_sets()
    lab = Lab(model=model, sets=sets)
    exact, coarse = (Desk(model, sets, lab, Trained(precision=p)) for p in (Precision.FP32, Precision.BF16))
    pixels = exact.forget.pixels(torch.arange(4))
    a, b = exact.encode_image(pixels), coarse.encode_image(pixels)
    assert a.dtype == b.dtype == torch.float32
    assert not torch.equal(a, b) and torch.allclose(a, b, atol=0.05)
    assert edit_of(preset("ga", precision="bf16", epochs=2)).values


def test_trained_methods_never_look_at_evaluation_pictures() -> None:
    from tiny_world import without

    sets = make_sets()
    forbidden = {*sets.evaluation.forget.keys, *sets.evaluation.retain.keys}
    guarded = without(sets, lambda source: source.forbidden.update(forbidden))
    for name in ("ft", "ga", "gaft", "salun", "lotus", "ssd"):
        changes = {} if name == "ssd" else {"epochs": 1}
        assert edit_of(preset(name, **changes), guarded).values is not None


def test_a_sample_of_the_retain_pictures_is_drawn_anew_for_each_epoch() -> None:
    model, sets = make_clip(), make_sets()
    lab = Lab(model=model, sets=sets)
    method = preset("ft", epochs=2, batch=4, retain_sample=6)
    seen = [
        torch.cat(Desk(model, sets, lab, method).retain.shuffled(4, generator_of(0, n), 6)).tolist()
        for n in (1, 2)
    ]
    assert all(len(s) == 6 == len(set(s)) for s in seen) and set(seen[0]) != set(seen[1])
    method.edit(model, sets, lab)
    assert lab.cost.backwards == 12
    with pytest.raises(ConfigError, match=r"method\.retain_sample"):
        preset("ft", retain_sample=0)
