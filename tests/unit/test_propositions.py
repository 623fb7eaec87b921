"""The propositions as measurements: each must be able to fail, and finds what was planted."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import bits, make_sets, preset, run
from torch import Tensor

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.contract.components import Granularity, Towers, parameters, swapped
from razor_cli.engine.lab import Lab
from razor_cli.engine.search import Aim, Prompt
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.main import razor_command
from razor_cli.methods.razor_loop import Loop
from razor_cli.runs.rows import table_csv
from razor_cli.studies import propositions as p
from razor_cli.studies import propositions_run as driver
from razor_cli.tables.propositions import build, read_rows
from razor_cli.tables.readings import preset_settings

SETS = make_sets()
HEADS = (Granularity.HEAD_MLP, Towers.BOTH)
EASY = {
    "target_m1": 60.0,
    "target_m5": 0.0,
    "target_m4_drop": 100.0,
    "search_floor": 0.0,
    "search_m4_drop": 100.0,
}


def tensors(clip: Clip, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(v.shape, generator=generator) for n, v in parameters(clip).items()}


def outcomes(findings: list[p.Finding]) -> dict[str, p.Outcome]:
    return {f.at or f.claim: f.outcome for f in findings if f.outcome is not None}


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_scale_law_is_exact_over_all_components(clip: Clip, power: int, alpha: float) -> None:
    found = p.scale_law(
        clip.components(*HEADS),
        parameters(clip),
        tensors(clip, 1),
        tensors(clip, 2),
        alpha=alpha,
        epsilon=1e-8,
        power=power,
    )
    assert outcomes(found) == {"weights": p.Outcome.HOLDS, "g_f": p.Outcome.HOLDS, "g_r": p.Outcome.HOLDS}
    assert [f.claim.split("^")[1].split(",")[0] for f in found] == [str(-power), str(power), "0"]


def test_an_epsilon_that_is_felt_breaks_the_law_of_the_weights_only(clip: Clip) -> None:
    found = p.scale_law(
        clip.components(*HEADS),
        parameters(clip),
        tensors(clip, 1),
        tensors(clip, 2),
        alpha=0.5,
        epsilon=1.0,
        power=1,
    )
    assert outcomes(found) == {"weights": p.Outcome.FAILS, "g_f": p.Outcome.HOLDS, "g_r": p.Outcome.HOLDS}


def test_leaving_a_component_out_gives_back_its_bits_and_no_others(clip: Clip) -> None:
    first, second, other = clip.components(*HEADS)[:3]  # heads of one block share their tensors
    base = {n: parameters(clip)[n].clone() for n in {*first.params, *second.params}}
    edited = {n: v + 1 for n, v in base.items()}
    found = dict((c.name, v) for c, v in p.without_each(base, edited, [first, second]))
    assert all(
        torch.equal(a, b) for a, b in zip(first.views(found[first.name]), first.views(base), strict=True)
    )
    for untouched in (second, other):
        assert all(
            torch.equal(a, b)
            for a, b in zip(untouched.views(found[first.name]), untouched.views(edited), strict=True)
        )
    assert all(torch.equal(edited[n], base[n] + 1) for n in base)


def aim(m1: float) -> Aim:
    kept = {"m4_generic": 90.0, "util": 90.0}
    return Aim(
        base=kept,
        m1=m1,
        prompts=Prompt.BOTH,
        m4_drop=2,
        m5=98,
        floor_m5=0,
        floor_m4_drop=100,
        floor_others_drop=100,
    )


def metrics(m1: float) -> dict[str, float]:
    return {"m1": m1, "m1_generic": 0.0, "m4_generic": 90.0, "util": 89.0}


def test_minimality_holds_fails_and_stays_open() -> None:
    needed = p.minimality(aim(55), metrics(40), {"a": metrics(70), "b": metrics(60)}, "half")
    assert needed[0].outcome is p.Outcome.HOLDS and [f.value for f in needed[1:]] == [30, 20]
    spare = p.minimality(aim(55), metrics(40), {"a": metrics(70), "b": metrics(50)}, "half")
    assert spare[0].outcome is p.Outcome.FAILS and spare[0].value == 1 and spare[0].note == "redundant: b"
    assert p.minimality(aim(55), metrics(60), {"a": metrics(70)}, "half")[0].outcome is p.Outcome.OPEN
    assert p.minimality(aim(55), metrics(40), {}, "half")[0].outcome is p.Outcome.OPEN


def test_a_redundant_component_that_was_planted_is_found(clip: Clip) -> None:
    method = preset("razor", **EASY)
    edit = run(method, clip, SETS)
    assert edit.components
    known = {c.name: c for c in clip.components(*HEADS)}
    idle = next(c for c in reversed(known.values()) if c.name not in edit.components and c.tower == "text")
    planted = dict(edit.values)
    for name in idle.params:
        planted.setdefault(name, clip.stored[name].clone())
    changed = {n: v.clone() for n, v in planted.items()}
    for view in idle.views(changed):
        view.mul_(1.001)
    moved = [*(known[n] for n in edit.components), idle]
    before = bits(clip)
    found = driver.needed(clip, SETS, SETS.validation, method, replace(edit, values=changed), moved, "half")
    assert bits(clip) == before
    assert found[0].outcome is p.Outcome.FAILS and idle.name in found[0].note
    notes = {f.at: f.note for f in found[1:]}
    assert notes[idle.name].endswith("redundant") and len(notes) == len(moved)
    if len(edit.components) == 1:  # all of the edit
        assert notes[edit.components[0]] == "Target broken"


def test_forgetting_holds_fails_and_stays_open() -> None:
    low, high = torch.linspace(0.1, 0.2, 40), torch.linspace(0.6, 0.7, 40)
    start, threshold = p.forgetting(high, low, high)
    assert (start.outcome, threshold.outcome) == (p.Outcome.HOLDS, p.Outcome.HOLDS)
    assert start.value == pytest.approx(-0.5) and threshold.value == pytest.approx(-0.5)
    assert threshold.note.startswith("100 % of pairs") and threshold.note.endswith("before the edit 50 % did")
    start, threshold = p.forgetting(low, high, low)
    assert (start.outcome, threshold.outcome) == (p.Outcome.FAILS, p.Outcome.FAILS)
    start, threshold = p.forgetting(low, low.flip(0), low.flip(0))
    assert (start.outcome, threshold.outcome) == (p.Outcome.OPEN, p.Outcome.OPEN)


def planted(slope: float) -> list[p.RhoPoint]:
    noise = torch.linspace(-1e-4, 1e-4, 50)
    return [
        p.RhoPoint(rho=r, forget_change=torch.full((20,), 0.1), retain_change=slope * r * 0.1 + noise)
        for r in (0.25, 0.5, 0.75, 1)
    ]


@pytest.mark.parametrize(
    ("slope", "outcome"),
    [(2.0, p.Outcome.FAILS), (0.5, p.Outcome.HOLDS), (-1.0, p.Outcome.HOLDS), (1.0, p.Outcome.OPEN)],
)
def test_the_bound_on_the_retain_loss_and_its_slope(slope: float, outcome: p.Outcome) -> None:
    total = p.retention(planted(slope), "half")[0]
    assert total.outcome is outcome and total.value == pytest.approx(slope, abs=1e-3)
    assert (
        total.low is not None
        and total.high is not None
        and total.low <= slope + 1e-6
        and slope - 1e-6 <= total.high
    )


def test_a_line_through_two_points_has_no_interval() -> None:
    assert p.line([0, 1], [0, 1]) == (None, None, None) and p.line([1, 1, 1], [0, 1, 2]) == (None, None, None)


@pytest.mark.parametrize("normalize", ["none", "unit", "match_retain"])
@pytest.mark.parametrize("base", ["razor", "razor_paper"])
def test_the_blended_direction_is_the_methods_own(clip: Clip, base: str, normalize: str) -> None:
    method = preset(base, normalize=normalize)
    loop = Loop(method, clip, SETS, Lab(model=clip, sets=SETS))
    forget, retain = loop.lab.gradients(method.plan)
    extra = method.lambda_mismatch if method.forget_loss == "cosine" else 0.0
    for s in loop._score(loop.components, forget, retain):
        c, weight = s.component, method.lambda_forget * method.rho + extra
        found = p.blended(c.views(forget), c.views(retain), weight, method.lambda_retain, normalize)
        for mine, own in zip(found, loop.blend.direction(s, forget, retain, {}), strict=True):
            torch.testing.assert_close(mine, own, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("base", ["razor", "razor_paper"])
def test_a_larger_rho_adds_more_to_the_forget_loss(clip: Clip, base: str) -> None:
    method, lab = preset(base), Lab(model=clip, sets=SETS)
    forget, retain = lab.gradients(method.plan)
    chosen = driver.first_choice(clip, clip.components(*HEADS), method, forget, retain)
    before = bits(clip)
    points = driver.rho_sweep(
        clip, SETS, driver.Judged(SETS.forget, SETS.retain), method, chosen, forget, retain
    )
    assert bits(clip) == before
    rises = [float(x.forget_change.mean()) for x in points]
    assert rises == sorted(rises) and rises[-1] > max(0.0, rises[0])
    assert float(points[0].retain_change.mean()) < float(points[-1].retain_change.mean()) + 1e-3


@pytest.mark.parametrize("base", ["razor", "razor_paper"])
def test_the_losses_of_pairs_are_those_whose_gradients_the_method_takes(clip: Clip, base: str) -> None:
    method, judged = preset(base), driver.Judged(SETS.forget, SETS.retain)
    weights = parameters(clip)
    for which, gradient in enumerate(Lab(model=clip, sets=SETS).gradients(method.plan)):
        name = max(gradient, key=lambda n: float(gradient[n].norm()))
        step = 3e-3 / float(gradient[name].norm())
        means = []
        for sign in (1, -1):
            with swapped(clip, {name: weights[name] + sign * step * gradient[name]}):
                losses = driver.pair_losses(clip, SETS, judged, method)[which]
            assert losses.shape == ((len(SETS.forget), len(SETS.retain))[which],)
            means.append(float(losses.double().mean()))
        assert (means[0] - means[1]) / 2 == pytest.approx(
            step * float(gradient[name].square().sum()), rel=0.05
        )


def test_one_target_from_edit_to_table(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "load", lambda **_: clip)
    monkeypatch.setattr(driver, "sets_of", lambda _: SETS)
    monkeypatch.setattr(driver, "RHOS", (0.25, 0.5, 1.0))
    monkeypatch.setattr(driver, "SCALED", 2)
    monkeypatch.setattr(driver, "code_version", lambda *_: "c0de" * 4)
    words = ["judged_on=validation", "target=Ada", f"output_dir={tmp_path}", "method=razor"]
    words += ["method.grow_rounds=0", "method.search_steps=2", "method.trim_steps=0"]
    experiment, before = checked(read(words)), bits(clip)

    def stage(_: str) -> Any:
        return nullcontext(lambda _: None)

    path, computed = driver.measured(experiment, stage)
    assert computed and path.with_suffix(".json").is_file() and bits(clip) == before
    content = path.read_bytes()
    monkeypatch.setattr(driver, "of_target", None)  # nothing is measured again
    assert driver.measured(experiment, stage) == (path, False) and path.read_bytes() == content
    rows = read_rows(tmp_path)
    assert {r["proposition"] for r in rows} == {"P1", "P2", "P3", "P4"} and {r["id"] for r in rows} == {
        path.stem
    }
    document = build(rows)
    assert sum(len(panel.rows) for panel in document.panels[1:]) == sum(bool(r["outcome"]) for r in rows)
    assert {cell for panel in document.panels[1:] for row in panel.rows for cell in row[3:4]} <= set(
        p.Outcome
    )


def recorded(
    folder: Path, name: str, finished: str, model: str = "clip_tiny", stand_in: str = "true", **method: Any
) -> None:
    """Write one claim as the driver does."""
    row = dict.fromkeys(driver.COLUMNS, "") | {
        "id": name,
        "model": model,
        "stand_in": stand_in,
        "scenario": "identity",
        "target": "Ada Quill",
        "method": "razor",
        "seed": "0",
        "judged_on": "validation",
        "proposition": "P1",
        "claim": "needed",
        "outcome": "HOLDS",
    }
    (folder / "propositions").mkdir(exist_ok=True)
    (folder / "propositions" / f"{name}.csv").write_text(table_csv(driver.COLUMNS, [row]))
    origin = {"weights_hash": model * 4, "finished": finished}
    settings = {"method": preset_settings("razor") | method, "data": {"n_forget": 60}}
    text = json.dumps({"settings": settings, "provenance": origin}, default=str)
    (folder / "propositions" / f"{name}.json").write_text(text)


def test_recorded_claims_are_counted_once_by_model_and_settings(tmp_path: Path) -> None:
    recorded(tmp_path, "a", "2026-01-01")
    recorded(tmp_path, "b", "2026-01-02")  # the same, of a later version of the code
    recorded(tmp_path, "c", "2026-01-03", trim_steps=0)
    recorded(tmp_path, "d", "2026-01-04", model="clip_vitb32", stand_in="false")
    rows = read_rows(tmp_path)
    assert sorted((r["id"], r["method"]) for r in rows) == [
        ("b", "razor"),
        ("c", "razor (trim_steps=0)"),
        ("d", "razor"),
    ]
    counts = {
        p.title: [(r[2], r[3]) for r in p.rows] for p in build(rows).panels if p.title.startswith("How often")
    }
    assert counts == {
        "How often | clip_tiny STAND-IN": [("razor", "1"), ("razor (trim_steps=0)", "1")],
        "How often | clip_vitb32": [("razor", "1")],
    }


def test_only_razor_has_these_propositions(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="propositions are RAZOR's"):
        driver.measured(checked(read(["method=slug", f"output_dir={tmp_path}"])), nullcontext)  # type: ignore[arg-type]


def test_the_command_prints_what_is_recorded_and_checks_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert razor_command(["propositions", "--recorded", "--output-dir", str(tmp_path)]) == 0
    assert "Nothing is recorded: razor propositions" in capsys.readouterr().out
    folder = ["--output-dir", str(tmp_path)]
    assert (
        razor_command(["propositions", "method=razor", "target=Nobody At All", "scenario=identity", *folder])
        == 2
    )
    assert "Nobody At All" in capsys.readouterr().err
    assert razor_command(["propositions", "--recorded", "--format", "pdf", *folder]) == 2
