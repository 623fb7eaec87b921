"""What every method must do. Each yaml in conf/method is found and run; nobody keeps a list."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from presets import preset, preset_names
from tiny_world import all_components, bits, changed, leaked, make_clip, make_sets, run
from torch import Tensor

from razor_cli.config.conf_files import settings_of
from razor_cli.config.quantization import Quantization
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import BOARD
from razor_cli.contract.method import Method
from razor_cli.dual.board import DualBoard
from razor_cli.engine.changes import Weights
from razor_cli.engine.evaluation import Evaluator
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import Training
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.settings import Metrics
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.weights.patch import apply, read_patch, revert, undo_path_for, write_patch

PRESETS = sorted(preset_names(ClipSpec.offers))
every_preset = pytest.mark.parametrize("name", PRESETS)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """An edit, and what there was of process and model before and after it."""

    edit: Edit
    before: dict[str, Any]
    after: dict[str, Any]


def state_of(model: Clip) -> dict[str, Any]:
    """Return what an edit must leave as it is."""
    modules = list(model.module.modules())
    return {
        "torch": torch.random.get_rng_state().tolist(),
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "gradients": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "bits": bits(model),
        "requires": [p.requires_grad for p in model.module.parameters()],
        "grads": [p.grad for p in model.module.parameters()],
        "training": [m.training for m in modules],
        "hooks": [("forward" in vars(m), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules],
    }


@cache
def observed(name: str) -> Observed:
    """Return the edit of a preset as its yaml has it, with seed 0; computed once."""
    model, sets = make_clip(), make_sets()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    before = state_of(model)
    edit = run(preset(name), model, sets)
    return Observed(edit=edit, before=before, after=state_of(model))


def edit_of(name: str) -> Edit:
    return observed(name).edit


def short(name: str) -> Method:
    """Return a preset that does not train for long: two epochs, of several batches each, as others would."""
    long = isinstance(preset(name), Training)
    return preset(name, **({"epochs": 2, "batch": 6, "keep": "last"} if long else {}))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and torch.equal(a[n], b[n]) for n in a)


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with those of a mapping as `target.m1`."""
    inner = {f"{k}.{n}": v for k, vs in settings.items() if isinstance(vs, dict) for n, v in vs.items()}
    return settings | inner


def test_methods_are_found() -> None:
    assert {"none", "random", "razor", "slug"} <= set(PRESETS)


@every_preset
def test_builds_from_its_yaml_and_is_named_like_it(name: str) -> None:
    method = preset(name)
    assert method.name == name
    assert method.needs <= ClipSpec.offers and isinstance(method.stochastic, bool)


@every_preset
def test_unknown_and_mistyped_settings_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"method\.no_such_setting"):
        preset(name, no_such_setting=1)
    for key, value in flat(settings_of("method", preset_names()[name])).items():
        if isinstance(value, (bool, int, float)):
            with pytest.raises(ConfigError, match=rf"method\.{key}"):
                preset(name, **{key: "many"})


@cache
def short_edit_of(name: str) -> Edit:
    return run(short(name), make_clip(), make_sets()) if short(name) != preset(name) else edit_of(name)


@every_preset
def test_same_seed_gives_the_same_edit_even_after_another_method_ran(name: str) -> None:
    first, model, sets = short_edit_of(name), make_clip(), make_sets()
    run(preset("random" if name != "random" else "razor"), model, sets)
    again = run(short(name), model, sets)
    assert same(first.values, again.values)
    assert first.components == again.components
    assert [(e.action, e.component, e.step_size) for e in first.log] == [
        (e.action, e.component, e.step_size) for e in again.log
    ]


@every_preset
def test_another_seed_matters_exactly_to_stochastic_methods(name: str) -> None:
    method = short(name)
    other = run(method, make_clip(), make_sets(), seed=1)
    assert same(short_edit_of(name).values, other.values) is not method.stochastic


@every_preset
def test_only_owned_slices_of_the_listed_components_change(name: str) -> None:
    edit, model = edit_of(name), make_clip()
    known = all_components(model)
    components = [known[c] for c in edit.components]
    assert set(edit.values) == {p for c in components for p in c.params}
    assert leaked(edit, model) == []
    for component in components:  # each listed component really moved
        assert not torch.equal(component.vector(edit.values), component.vector(model.stored)), component.name


@every_preset
def test_the_edit_moves_something_or_says_why_not(name: str) -> None:
    edit = edit_of(name)
    assert bool(changed(edit, make_clip())) is bool(edit.components)
    assert not (edit.null and edit.components)
    assert edit.components or edit.notes
    # alpha=5 selects nothing where more than a fifth of all pictures is to be forgotten
    assert edit.components or edit.null or name == "ssd_paper"


@every_preset
def test_values_are_in_the_storage_dtype_and_finite(name: str) -> None:
    model = make_clip()
    for n, value in edit_of(name).values.items():
        assert value.dtype == model.stored[n].dtype == torch.float16
        assert bool(torch.isfinite(value).all())


@every_preset
def test_process_state_and_model_are_untouched(name: str) -> None:
    seen = observed(name)
    assert [k for k, v in seen.after.items() if v != seen.before[k]] == []
    assert seen.after["gradients"] is True and seen.after["dtype"] is torch.float32
    assert not any(seen.after["training"]) and seen.after["grads"] == [None] * len(seen.after["grads"])
    assert set(seen.after["hooks"]) == {(False, 0, 0)}


@every_preset
def test_model_is_restored_when_a_trial_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sets = make_clip(), make_sets()
    before, real, calls = bits(model), DualBoard.trial, []

    def fragile(self: DualBoard, *args: Any, **keywords: Any) -> Any:
        calls.append(1)
        if len(calls) > 9:  # razor has applied a component by then
            raise KeyboardInterrupt
        return real(self, *args, **keywords)

    def fatal(self: DualBoard) -> Any:  # what trained methods score their first epoch with
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(DualBoard, "trial", fragile)
    monkeypatch.setattr(DualBoard, "rescore", fatal)
    lab = Lab(family=model, sets=sets)
    if BOARD not in preset(name).needs:
        preset(name).edit(lab)
        assert not calls
    else:
        with pytest.raises(KeyboardInterrupt):
            preset(name).edit(lab)
    assert bits(model) == before
    assert torch.is_grad_enabled()


@every_preset
def test_patch_holds_exactly_the_changed_tensors_and_can_be_undone(name: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    edit, model = edit_of(name), make_clip()
    header = write_patch(tmp_path / "p.safetensors", edit.values, model.stored, method=name, target="Ada")
    assert set(header.tensors) == changed(edit, model)
    _, tensors = read_patch(tmp_path / "p.safetensors")
    assert same(tensors, {n: edit.values[n] for n in changed(edit, model)})
    if edit.null:
        return
    save_file(dict(model.stored), tmp_path / "base.safetensors")
    apply(tmp_path / "p.safetensors", tmp_path / "base.safetensors", tmp_path / "out.safetensors")
    assert same(load_file(tmp_path / "out.safetensors"), {**model.stored, **edit.values})
    undo = undo_path_for(tmp_path / "out.safetensors")
    revert(tmp_path / "out.safetensors", tmp_path / "back.safetensors", undo_path=undo)
    assert same(load_file(tmp_path / "back.safetensors"), dict(model.stored))


def test_none_leaves_every_evaluation_score_equal_to_the_base() -> None:
    model, sets = make_clip(), make_sets()
    edit = edit_of("none")
    assert edit.values == {} and edit.components == []
    settings = Quantization(schemes=["none", "int8"])
    exam = model.exam(sets, Metrics(), None, lambda _: None)
    evaluator = Evaluator(family=model, exam=exam, settings=settings)
    found = dict(evaluator.states({"base": Weights(), "edit": edit.change}))
    scores = exam.scores(found, 0)
    for scheme in settings.schemes:
        base, now = (
            {(s.metric, s.variant): s.value for s in scores[(state, scheme)]} for state in ("base", "edit")
        )
        shared = [k for k in base if base[k] is not None]
        assert len(shared) > 10
        assert {k: base[k] for k in shared} == {k: now[k] for k in shared}
