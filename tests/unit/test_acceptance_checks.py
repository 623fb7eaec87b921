"""Each check of an acceptance can fail, and the whole of it says what random weights lack."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from razor_cli.acceptance.checks import Check, Report, Request, Status
from razor_cli.acceptance.clip import edit, patch, weights, zero_shot
from razor_cli.acceptance.clip.groups import accept
from razor_cli.acceptance.clip.known import Checkpoint, Norm, known_checkpoint
from razor_cli.acceptance.clip.subject import Subject
from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit
from razor_cli.data.kinds.own import Folder
from razor_cli.data.sets import ConceptSets
from razor_cli.dual import named_losses
from razor_cli.engine.changes import Weights
from razor_cli.engine.lab import Lab
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.methods.razor import Razor


def statuses(checks: list[Check] | tuple[Check, ...]) -> dict[str, str]:
    return {c.name: c.status.value for c in checks}


def quiet() -> Console:
    return Console(file=io.StringIO())


def no_words(_: str) -> None:
    return None


@pytest.fixture
def subject(clip: Clip, sets: ConceptSets, tmp_path: Path) -> Subject:
    """The taught tiny model, of which nothing is published."""
    request = Request(preset="clip_tiny", model=ClipSpec(), data=Folder())
    return Subject(
        request=request,
        model=clip,
        architecture=None,
        checkpoint=None,
        claim="nobody says",
        sets=sets,
        photographs=None,
        folder=tmp_path,
    )


@pytest.fixture(autouse=True)
def no_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "data"))


# ------------------------------------------------------------------ weights


def checkpoint(**changes: Any) -> Checkpoint:
    found = known_checkpoint("clip_tiny", "embedded")
    assert found is not None
    return found.model_copy(update=changes)


def test_weights_without_published_figures_are_counted_but_not_judged(subject: Subject) -> None:
    found = {c.name: c for c in weights.checks(subject, no_words)}
    assert {found[n].status for n in ("towers", "parameters", "activation function", "logit scale")} == {
        Status.SKIPPED
    }
    assert (
        found["quantized tensors"].status
        is found["LayerNorms at their initial 1 and 0"].status
        is Status.PASS
    )
    assert all(c.why and c.fix for c in found.values() if c.status is Status.SKIPPED)


def test_wrong_activation_scale_and_damage_are_found(subject: Subject) -> None:
    claimed = replace(subject, checkpoint=checkpoint(quick_gelu=True), architecture="clip_tiny")
    next(iter(subject.model.module.parameters())).data.view(-1)[0] = float("nan")
    found = {c.name: c for c in weights.checks(claimed, no_words)}
    for name in ("towers", "parameters", "components (heads and MLPs)", "activation function", "logit scale"):
        assert found[name].status is Status.FAIL, name
    assert found["tensors with NaN or infinity"].found == "1"
    assert "add -quickgelu" in found["activation function"].fix


def test_a_published_norm_is_of_the_rows_it_names(subject: Subject) -> None:
    width = subject.model.layouts[0].width
    value = parameters(subject.model)[f"{subject.model.layouts[0].block(1)}attn.in_proj_weight"][
        2 * width :
    ].norm()
    right = Norm(tower="vision", layer=1, part="v", norm=float(value), source="here")
    for norm, status in ((right, Status.PASS), (right.model_copy(update={"part": "k"}), Status.FAIL)):
        claimed = replace(subject, checkpoint=checkpoint(norms=(norm,)))
        assert next(iter(weights._norms(claimed))).status is status


# ------------------------------------------------------------------ edits


def test_small_edits_of_a_sound_model_pass_and_leave_no_trace(subject: Subject) -> None:
    before = {n: v.clone() for n, v in parameters(subject.model).items()}
    found = edit.checks(subject, no_words)
    assert {c.name: c.why for c in found if c.status is not Status.PASS} == {}
    assert len(found) == 9
    assert all(torch.equal(v, before[n]) for n, v in parameters(subject.model).items())


def test_a_gradient_of_the_wrong_sign_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    right: Callable[[Tensor, Tensor], Tensor] = named_losses.forget_cosine
    monkeypatch.setattr(named_losses, "forget_cosine", lambda images, texts: -right(images, texts))
    found = statuses(edit.checks(subject, no_words))
    wrong = {
        "gradient predicts the change",
        "RAZOR step forgets",
        "RAZOR step reversed",
        "SLUG step forgets",
        "SLUG step reversed",
    }
    assert {n for n, s in found.items() if s == "fail"} == wrong


def test_a_gradient_of_the_wrong_size_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    right: Callable[[Tensor, Tensor], Tensor] = named_losses.forget_cosine
    monkeypatch.setattr(named_losses, "forget_cosine", lambda images, texts: 2 * right(images, texts))
    failed = [n for n, s in statuses(edit.checks(subject, no_words)).items() if s == "fail"]
    assert failed == ["gradient predicts the change"]


def test_an_edit_that_leaks_or_leaves_traces_is_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Razor.edit

    def leaking(self: Razor, lab: Lab) -> Edit:
        edit, model = right(self, lab), lab.family
        stray = parameters(model)["text_projection"]
        more = {"text_projection": (stray * 1.001).to(model.storage_dtype("text_projection"))}
        stray[0, 0] += 0.25
        return replace(edit, change=Weights(values=edit.values | more))

    monkeypatch.setattr(Razor, "edit", leaking)
    found = statuses(edit.checks(subject, no_words))
    assert found["RAZOR touches its components only"] == found["weights restored"] == "fail"


def test_a_patch_that_does_not_go_back_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patch.checks(subject, no_words)[0].status is Status.PASS
    right = patch.read_state

    def damaged(path: Path) -> dict[str, Tensor]:
        state = right(path)
        if path.name == "back.pt":
            state["text_projection"] = state["text_projection"] + 1
        return state

    for file in subject.folder.iterdir():
        file.unlink()
    monkeypatch.setattr(patch, "read_state", damaged)
    check = patch.checks(subject, no_words)[0]
    assert check.status is Status.FAIL and "not the base" in check.why


def test_a_full_disk_skips_the_patch_with_the_reason(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(patch.shutil, "disk_usage", lambda _: usage)
    check = patch.checks(subject, no_words)[0]
    assert (
        check.status is Status.SKIPPED
        and "output_dir=DIR" in check.fix
        and not list(subject.folder.iterdir())
    )


# ------------------------------------------------------------------ the whole of it


def accepted(tmp_path: Path, **changes: Any) -> Report:
    return accept(
        Request(preset="clip_tiny", model=ClipSpec(), data=Folder(), output_dir=tmp_path / "out", **changes),
        quiet(),
    )


def test_the_stand_in_is_accepted_and_what_needs_photographs_is_skipped(tmp_path: Path) -> None:
    report = accepted(tmp_path, overrides=("model.device=cpu",))
    assert report.passed and {c.name: c.why for c in report.checks if c.status is Status.FAIL} == {}
    skipped = [c for c in report.checks if c.status is Status.SKIPPED and "CIFAR-10" in c.why]
    assert len(skipped) == 4 and "razor data prepare cifar10" in skipped[0].fix
    assert "razor doctor --acceptance clip_tiny model.device=cpu data.cifar_root=DIR" in skipped[0].fix
    assert [p.name for p in (tmp_path / "out" / "doctor").iterdir()] == ["doctor.json"]  # the copies are gone
    recorded = json.loads((tmp_path / "out" / "doctor" / "doctor.json").read_text())
    assert (
        recorded["passed"] is True
        and recorded["counts"]["skipped"] == 5
        and recorded["checkpoint"] == "clip_tiny/embedded"
    )


def test_random_weights_fail_where_training_shows_and_pass_where_structure_does(tmp_path: Path) -> None:
    report = accepted(tmp_path, random_weights=True)
    found = statuses(report.checks)
    failed = {n for n, s in found.items() if s == "fail"}
    assert {"LayerNorms at their initial 1 and 0", "text attention norms", "logit scale"} <= failed
    assert failed <= {
        "LayerNorms at their initial 1 and 0",
        "text attention norms",
        "logit scale",
        "own caption beats shuffled ones",
    }
    structural = (
        "towers",
        "parameters",
        "quantized tensors",
        "activation function",
        "weights restored",
        "patch applied and reverted",
    )
    assert {found[n] for n in (*structural, "RAZOR step forgets", "SLUG step reversed")} == {"pass"}
    assert not report.passed and all(c.why and c.fix for c in report.checks if c.status is Status.FAIL)


def test_a_group_that_breaks_down_is_a_failed_check_and_the_others_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[Check]:
        raise RuntimeError("out of memory\nsecond line")

    monkeypatch.setattr(edit, "checks", broken)
    monkeypatch.setattr(zero_shot, "embedding_checks", lambda *_: [])
    report = accepted(tmp_path)
    row = next(c for c in report.checks if c.name == "small edits")
    assert row.status is Status.FAIL and "out of memory" in row.found and "second line" in row.why
    assert statuses(report.checks)["patch applied and reverted"] == "pass"


def test_random_weights_need_an_architecture_by_name(tmp_path: Path) -> None:
    model = ClipSpec(name="hf", stand_in=False, library=Library.HF, weights="somewhere")
    with pytest.raises(ConfigError, match="architecture by name"):
        accept(
            Request(
                preset="hf_clip", model=model, data=Folder(), output_dir=tmp_path / "out", random_weights=True
            ),
            quiet(),
        )
    assert not (tmp_path / "out").exists()


def test_a_check_that_did_not_pass_must_say_why() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Check(name="x", status=Status.SKIPPED)
