"""What every method must do. Each yaml in conf/method is found and run; nobody keeps a list."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_world import (
    all_components,
    bits,
    changed,
    leaked,
    make_clip,
    make_sets,
    preset,
    preset_names,
    run,
)
from torch import Tensor

from razor_cli.config.conf_files import settings_of
from razor_cli.config.quantization import Quantization
from razor_cli.contract.edit import Edit
from razor_cli.dual.board import Board
from razor_cli.engine.evaluation import Evaluator, score_all
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import Training
from razor_cli.errors import ConfigError
from razor_cli.families.clip.suite import Metrics
from razor_cli.weights.patch import apply, read_patch, revert, undo_path_for, write_patch

PRESETS = sorted(preset_names())
every_preset = pytest.mark.parametrize("name", PRESETS)
_edits: dict[str, Edit] = {}


def edit_of(name: str) -> Edit:
    """Return the edit of a preset as its yaml has it, with seed 0; computed once."""
    if name not in _edits:
        _edits[name] = run(preset(name), make_clip(), make_sets())
    return _edits[name]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and torch.equal(a[n], b[n]) for n in a)


def test_methods_are_found() -> None:
    assert {"none", "random", "razor", "slug"} <= set(PRESETS)


@every_preset
def test_builds_from_its_yaml_and_is_named_like_it(name: str) -> None:
    method = preset(name)
    assert method.name == name
    assert method.families and isinstance(method.stochastic, bool)


@every_preset
def test_unknown_and_mistyped_settings_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"method\.no_such_setting"):
        preset(name, no_such_setting=1)
    for key, value in settings_of("method", preset_names()[name]).items():
        if isinstance(value, (bool, int, float)):
            with pytest.raises(ConfigError, match=rf"method\.{key}"):
                preset(name, **{key: "many"})


@every_preset
def test_same_seed_gives_the_same_edit_even_after_another_method_ran(name: str) -> None:
    first, model, sets = edit_of(name), make_clip(), make_sets()
    run(preset("random" if name != "random" else "razor"), model, sets)
    again = run(preset(name), model, sets)
    assert same(first.values, again.values)
    assert first.components == again.components
    assert [(e.action, e.component, e.step_size) for e in first.log] == [
        (e.action, e.component, e.step_size) for e in again.log
    ]


@every_preset
def test_another_seed_matters_exactly_to_stochastic_methods(name: str) -> None:
    method = preset(name)
    if isinstance(method, Training):  # one batch that holds every picture leaves nothing to draw
        method = preset(name, batch=4)
    first, other = (run(method, make_clip(), make_sets(), seed=seed) for seed in (0, 1))
    assert same(first.values, other.values) is not method.stochastic


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
def test_the_edit_moves_something_unless_it_is_none(name: str) -> None:
    still = {
        "none",
        "ssd_paper",
    }  # ssd_paper: alpha=5 selects nothing where more than a fifth of all pictures is to be forgotten
    assert bool(changed(edit_of(name), make_clip())) is (name not in still)


@every_preset
def test_values_are_in_the_storage_dtype_and_finite(name: str) -> None:
    model = make_clip()
    for n, value in edit_of(name).values.items():
        assert value.dtype == model.stored[n].dtype == torch.float16
        assert bool(torch.isfinite(value).all())


@every_preset
def test_process_state_and_model_are_untouched(name: str) -> None:
    model, sets = make_clip(), make_sets()
    before = bits(model)
    grads = [p.requires_grad for p in model.module.parameters()]
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    state: list[Any] = [
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
    ]
    run(preset(name), model, sets)
    now: list[Any] = [
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
    ]
    assert now == state
    assert torch.is_grad_enabled() and torch.get_default_dtype() is torch.float32
    assert bits(model) == before
    assert [p.requires_grad for p in model.module.parameters()] == grads
    assert all(p.grad is None for p in model.module.parameters())
    assert not model.module.training
    assert not any("forward" in vars(m) or m._forward_hooks for m in model.module.modules())


@every_preset
def test_model_is_restored_when_a_trial_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sets = make_clip(), make_sets()
    before, real, calls = bits(model), Board.trial, []

    def fragile(self: Board, *args: Any, **keywords: Any) -> Any:
        calls.append(1)
        if len(calls) > 9:  # razor has applied a component by then
            raise KeyboardInterrupt
        return real(self, *args, **keywords)

    def fatal(self: Board) -> Any:  # what trained methods score their first epoch with
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Board, "trial", fragile)
    monkeypatch.setattr(Board, "rescore", fatal)
    lab = Lab(model=model, sets=sets)
    if name in {"none", "random"}:
        preset(name).edit(model, sets, lab)
        assert not calls
    else:
        with pytest.raises(KeyboardInterrupt):
            preset(name).edit(model, sets, lab)
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
    if name == "none":
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
    evaluator = Evaluator(model=model, sets=sets, members=sets.forget)
    settings = Quantization(schemes=["none", "int8"])
    found = dict(evaluator.states({"base": {}, "edit": edit.values}, settings.schemes, settings))
    scores = score_all(found, Metrics(), 0)
    for scheme in settings.schemes:
        base, now = (
            {(s.metric, s.variant): s.value for s in scores[(state, scheme)]} for state in ("base", "edit")
        )
        shared = [k for k in base if base[k] is not None]
        assert len(shared) > 10
        assert {k: base[k] for k in shared} == {k: now[k] for k in shared}
