"""What every method must do that serves models that draw, on a tiny model of each kind. Each yaml in
conf/method is found; nobody keeps a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset, preset_names, shipped
from safetensors.torch import load_file, save_file
from tiny_drawn import bits, family, make_sets

from razor_cli.config.conf_files import file_of
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import WEIGHTS
from razor_cli.engine.train_settings import Optimised
from razor_cli.families.diffusion.board import DrawnBoard
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.settings import DrawnMetrics
from razor_cli.families.diffusion.spec import DiffusionSpec

FAMILY = DiffusionSpec.family
QUICK: dict[str, Any] = {
    "epochs": 1,
    "steps": 2,
    "batch": 2,
    "sampler_steps": 3,
    "lr": 1e-3,
    "pictures": 4,
    "ti_steps": 2,
}
OTHER_KINDS = ("_canvas_object",)  # ends of presets for another kind of target than a style


def serving() -> list[str]:
    """Return the presets whose class needs no more than models that draw offer, and that know their goals."""
    found = []
    for name, option in preset_names(DiffusionSpec.offers, FAMILY).items():
        asks = "${family}" in file_of("method", option).read_text()
        answered = file_of("method", f"{option}/{FAMILY}").is_file() or "optional" in _text(option)
        if not asks or answered:
            method = preset(name, _family=FAMILY)
            goals = {g: n for k in ("target", "floor") for g, n in getattr(method, k, {}).items()}
            if all(n is None or g in DiffusionSpec.goals for g, n in goals.items()):
                found.append(name)
    return sorted(found)


def _text(option: str) -> str:
    return file_of("method", option).read_text()


PRESETS = serving()
every_preset = pytest.mark.parametrize("name", PRESETS)
every_kind = pytest.mark.parametrize("kind", list(Kind), ids=str)


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let what pictures would tell follow from contexts: no judge knows what random models draw."""

    def metrics(self: DrawnBoard, wanted: Any = None, lost: Any = None) -> dict[str, float]:
        found = self.text.metrics()
        gone, kept = found["text_gone"], found["text_kept"]
        seen = {"recognised": 0.0 if gone < 97 else 100.0, "sure": gone, "ira": kept, "cra": kept}
        return found | seen

    monkeypatch.setattr(DrawnBoard, "_metrics", metrics)
    yield


def method_of(name: str) -> Any:
    """Return a preset as it is, of a training a short one."""
    found = preset(name, _family=FAMILY)
    quick = {k: v for k, v in QUICK.items() if isinstance(found, Optimised) and hasattr(found, k)}
    return preset(name, _family=FAMILY, **quick)


def sets_of(name: str) -> Any:
    """Return the sets of a style, for a preset of another kind of target called otherwise."""
    from dataclasses import replace

    sets = make_sets()
    return replace(sets, axis="object", labels={**sets.labels}) if name.endswith(OTHER_KINDS) else sets


def edit_of(name: str, kind: Kind, seed: int = 0) -> Edit:
    lab = lab_of(family(kind), sets=sets_of(name), settings=DrawnMetrics(search_pictures=0), seed=seed)
    edit: Edit = method_of(name).edit(lab)
    return edit


@cache
def first(name: str, kind: Kind) -> tuple[Edit, bool]:
    """Return an edit, computed once, and whether it left the model's weights as they were."""
    model = family(kind)
    before = bits(model)
    edit = edit_of(name, kind)
    return edit, same(before, bits(model))


def test_methods_are_found() -> None:
    known = {"none", "random", "razor", "razor_paper", "slug", "slug_code", "uce", "esd"}
    assert known | {"ca", "fmn", "seot", "spm"} <= set(PRESETS)
    assert not {"ga_paper", "ssd_paper"} & set(PRESETS)


@every_preset
def test_it_builds_for_models_that_draw_and_names_losses_that_they_have(name: str) -> None:
    method = preset(name, _family=FAMILY)
    assert method.name == name and shipped(name, FAMILY)["_target_"].startswith("razor_cli.methods.")
    assert getattr(method, "forget_loss", None) in {None, *DiffusionSpec.losses}
    assert getattr(method, "retain_loss", None) in {None, *DiffusionSpec.retain_losses}
    for key in ("target", "floor", "guide"):
        wanted = getattr(method, key, {})
        assert {g for g, n in wanted.items() if n is not None} <= set(DiffusionSpec.goals)


@every_kind
@every_preset
def test_exactly_what_it_names_changes_and_the_model_is_as_before(name: str, kind: Kind) -> None:
    edit, restored = first(name, kind)
    assert restored
    model = family(kind)
    live, known = parameters(model), {c.name: c for c in model.tensors()}
    assert edit.null is (name == "none")
    if edit.change.kind != WEIGHTS:
        assert not edit.components and not set(edit.values) & set(live)
        assert all(bool(v.isfinite().all()) for v in edit.values.values())
        return
    every = {c.name: c for c in _components(model)} | known
    assert set(edit.values) == {p for n in edit.components for p in every[n].params}
    for n, value in edit.values.items():
        assert value.dtype == model.storage_dtype(n) and bool(value.isfinite().all())
    moved = {n for n, v in edit.values.items() if not torch.equal(v.to(live[n]), live[n])}
    assert bool(moved) is not (edit.null or stepless(name, edit))


def _components(model: Diffusion) -> list[Any]:
    from razor_cli.contract.choices import Granularity, Towers

    return [c for g in Granularity for c in model.components(g, Towers.BOTH, True)]


def stepless(name: str, edit: Edit) -> bool:
    """Tell whether a search refused every step: random encoders may have none that keeps its floors."""
    actions = {e.action.removeprefix("dropped ") for e in edit.log}
    found = not edit.values and name.startswith(("razor", "slug")) and "apply" not in actions
    assert not (found and name in {"razor", "razor_paper"})  # these have to find one
    return found


@every_kind
@every_preset
def test_it_has_an_effect_on_the_target(name: str, kind: Kind) -> None:
    edit, _ = first(name, kind)
    why = family(kind).without_effect(edit.change, make_sets())
    assert (why is None) is not (name == "none" or stepless(name, edit))


@every_preset
def test_the_same_seed_gives_the_same_edit(name: str) -> None:
    edit, _ = first(name, Kind.SD15)
    again = edit_of(name, Kind.SD15)
    assert same(edit.values, again.values) and edit.components == again.components
    assert edit.cost.seconds > 0 or name == "none"
    assert edit.also.keys() == again.also.keys()


@every_preset
def test_what_is_stored_draws_the_same(name: str, tmp_path: Path) -> None:
    edit, _ = first(name, Kind.SD15)
    if edit.change.kind != WEIGHTS:
        pytest.skip("no weights are stored")
    model = family(Kind.SD15)
    save_file(edit.values, tmp_path / "edit.safetensors")
    loaded = load_file(tmp_path / "edit.safetensors")
    answers = []
    for values in (edit.values, loaded):
        with swapped(model, values), torch.no_grad():
            answers.append(model.denoiser.encode(make_sets().target_prompts).tokens.clone())
    assert torch.equal(*answers)
