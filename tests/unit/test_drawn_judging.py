"""Who judges a model that draws, and what a model without a paired CLIP cannot have: told before anything is
loaded.
"""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
from sd_folders import SD3, SD15, folder_of
from tiny_sd import paired_clip, tiny_sd15

import razor_cli
from razor_cli.config import compose
from razor_cli.config.command_line import read
from razor_cli.contract.family import BOARD, DENOISER, DUAL
from razor_cli.dual.choices import FORGET_LOSSES
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion import memory, spec
from razor_cli.families.diffusion.settings import DrawnMetrics, JudgedBy
from razor_cli.run import perform
from razor_cli.screen import Screen

NO_CLIP = "model.companion=null"
ASKED = ("model=sd15", "scenario=style", "target=Van Gogh", "data=generated")
SMALL = (
    "control=false",
    "quantization=none",
    "method=none",
    "metrics.steps=1",
    "data.steps=1",
    "metrics.fid=none",
)
SIZES = {"forget": 2, "retain": 4, "validation_forget": 2, "validation_retain": 2, "unseen": 2}


def checked(folder: Path, *words: str, device: str = "cuda") -> Any:
    """Return a checked run; for a GPU, so that it does not hang on the memory of this machine."""
    return compose.checked(read([*ASKED, f"model.weights={folder}", f"model.device={device}", *words]))


def model(*offers: str, stand_in: bool = False) -> Any:
    return SimpleNamespace(name="m", offers=frozenset(offers), stand_in=stand_in)


@pytest.mark.parametrize(
    ("stand_in", "given", "expected"),
    [
        (True, {}, JudgedBy.CLASSIFIERS),
        (False, {}, JudgedBy.ZERO_SHOT),
        (False, {"judges": Path(__file__).parent}, JudgedBy.CLASSIFIERS),
        (False, {"judged_by": JudgedBy.CLASSIFIERS}, JudgedBy.CLASSIFIERS),
        (True, {"judged_by": JudgedBy.ZERO_SHOT}, JudgedBy.ZERO_SHOT),
    ],
)
def test_auto_never_lets_classifiers_of_emoji_judge_a_real_model(
    stand_in: bool, given: dict[str, Any], expected: JudgedBy
) -> None:
    assert DrawnMetrics(**given).fitted(model(DUAL, stand_in=stand_in)).judged_by is expected


def test_a_run_that_nobody_could_judge_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    with pytest.raises(ConfigError) as refused:
        checked(folder, NO_CLIP)
    said = refused.value.message()
    for part in ("metrics.judged_by=zero_shot", "model.companion=DIR", "metrics.judges=DIR"):
        assert part in said
    assert checked(folder, NO_CLIP, f"metrics.judges={tmp_path}").metrics.judged_by is JudgedBy.CLASSIFIERS
    assert not list(DrawnMetrics(judged_by=JudgedBy.ZERO_SHOT).problems(model(DUAL, BOARD, DENOISER)))


def test_losses_of_the_paired_clip_are_refused_where_there_is_none(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    with pytest.raises(ConfigError) as refused:
        checked(folder, NO_CLIP, "method=slug", f"metrics.judges={tmp_path}")
    said = refused.value.message()
    assert "method.forget_loss=cosine does not serve model=sd15" in said and "concept_head, anchor" in said
    assert "method.retain_loss=retain_nce does not serve model=sd15" in said and "retain, drift" in said
    assert said.count("model.companion=DIR") == 2
    others = ("method=slug", "method.forget_loss=anchor", "method.retain_loss=retain")
    assert checked(folder, NO_CLIP, *others, f"metrics.judges={tmp_path}").method.forget_loss == "anchor"


@pytest.mark.parametrize("loss", FORGET_LOSSES)
def test_each_paired_forget_loss_is_refused_also_in_a_retry(tmp_path: Path, loss: str) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    for words in ((f"method.forget_loss={loss}",), (f"method.retries=[{{forget_loss: {loss}}}]",)):
        with pytest.raises(ConfigError, match=f"forget_loss={loss} does not serve"):
            checked(folder, NO_CLIP, *words, f"metrics.judges={tmp_path}")


def test_a_pipeline_in_memory_is_edited_without_a_judge_and_not_examined(tmp_path: Path) -> None:
    folder = tiny_sd15(tmp_path / "sd")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    asked: dict[str, Any] = {f"data__n_{name}": count for name, count in SIZES.items()}
    asked |= {"data__steps": 1, "scenario": "style", "data": "generated", "method": "random"}
    assert razor_cli.unlearn(pipe, "Cubism", **asked).edit.values
    with pytest.raises(ConfigError, match="nobody could say what it draws"):
        razor_cli.unlearn(pipe, "Cubism", scores=True, **asked)


def test_a_real_model_is_judged_by_its_clip_without_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    folder = tiny_sd15(tmp_path / "sd")
    paired_clip(folder, tmp_path / "sd_clip")
    sizes = [f"data.n_{name}={n}" for name, n in SIZES.items()]
    sizes += ["data.n_evaluation_forget=4", "data.n_evaluation_retain=8", f"output_dir={tmp_path / 'out'}"]
    screen = io.StringIO()
    run, computed = perform(checked(folder, *SMALL, *sizes, device="cpu"), Screen(file=screen, width=200))
    assert computed and "memory of sd15: about" in screen.getvalue()
    judge = "zero_shot:sd_clip"
    verdict = run.record.verdict
    assert verdict is not None and verdict.judge == judge
    assert all(f"by {judge}" in line and "the unedited model" in line for line in verdict.reasons)
    assert any("(cosine 1.000 or more)" in note for note in run.record.notes)
    assert {r.score.variant.partition("/")[0] for r in run.scores if r.score.metric in ("ua", "ira")} == {
        judge
    }


def test_what_a_model_takes_is_told_with_what_takes_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    billions = {"text_encoder_3": 4_700_000_000, "transformer": 2_000_000_000}
    monkeypatch.setattr(memory, "numbers_in", lambda part: billions.get(part.name, 100_000_000))
    monkeypatch.setattr(spec, "without_gpu", lambda: True)
    folder = folder_of(tmp_path / "m", SD3)
    given = spec.DiffusionSpec(name="mine", stand_in=False, weights=str(folder), batch=2)
    monkeypatch.setattr(spec, "free_memory", lambda: 40 * 2**30)
    note = given.memory_note(DrawnMetrics(batch=4))
    assert note.startswith("memory of mine: about ") and "in float32: weights 26.1 GB" in note
    assert "drawing 4 pictures at once" in note and "40.0 GB are free" in note
    for knob in (
        "model.dtype=bfloat16",
        "model.batch=1 model.checkpointing=true",
        "model.t5=off",
        "metrics.batch=1",
    ):
        assert knob in note
    monkeypatch.setattr(spec, "free_memory", lambda: 400 * 2**30)
    assert "Less:" not in given.memory_note(DrawnMetrics())
    need = given._need(given._read(folder)[0])
    tight = given.memory_note(DrawnMetrics(batch=4096), need.drawing(512))
    assert "which does not hold it. Less: metrics.batch=512 fits" in tight
    monkeypatch.setattr(spec, "free_memory", lambda: 8 * 2**30)
    (problem,) = given.problems()  # device=auto, and no GPU here
    assert "needs more memory than this machine has free" in problem.what
    with pytest.raises(ConfigError, match="needs more memory"):
        given.open()


def test_a_machine_has_no_gpu_where_no_driver_has_a_device(tmp_path: Path) -> None:
    assert memory.without_gpu(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not memory.without_gpu(tmp_path) and not memory.without_gpu(tmp_path / "none")


def test_more_pictures_at_once_need_more_and_a_paired_clip_is_no_part_of_it(tmp_path: Path) -> None:
    for kind in (SD15, SD3):
        folder = folder_of(tmp_path / str(id(kind)), kind)
        files = spec.DiffusionSpec(name="m", stand_in=False, weights=str(folder))._files()
        need = memory.needed(files, "float32", batch=1, checkpointing=False)
        half = memory.needed(files, "bfloat16", batch=1, checkpointing=False)
        assert need.drawing(1) < need.drawing(16) and half.drawing(16) < need.drawing(16)
        assert (
            2 * 2**30 < need.drawing(16) - need.weights < 24 * 2**30
        )  # of full size, as far as it is counted


def test_operations_of_a_pass_are_counted_within_a_factor_of_two(tmp_path: Path) -> None:
    # torch's own counter: 1.8e8 for a picture of sd_tiny; 8e11 is published of Stable Diffusion 1.5 at 512²
    stand_in = Path(memory.__file__).parent / "standins" / "sd_tiny"
    files = spec.DiffusionSpec(name="m", stand_in=True, weights=str(stand_in))._files()
    assert 0.9e8 < 2 * memory.numbers_in(files.parts["unet"]) * memory._uses(files) < 3.6e8
    full = spec.DiffusionSpec(name="m", stand_in=False, weights=str(folder_of(tmp_path / "f", SD15)))._files()
    assert 4e11 < 2 * 860e6 * memory._uses(full) < 1.6e12
