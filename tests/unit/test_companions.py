"""Other models beside a run: how it gets at them, what they may not decide, and how the report shows them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_world
import torch
from fake_runs import as_format, fake_run
from metric_worlds import one, scaled
from rich.console import Console
from safetensors.torch import save_file

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.quantization import Quantization
from razor_cli.contract.components import parameters
from razor_cli.contract.family import Change
from razor_cli.contract.place import Key
from razor_cli.data.embedded import EmbeddedRequest, embedded_sets
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.changes import Weights
from razor_cli.engine.evaluation import Evaluator
from razor_cli.errors import WeightsError
from razor_cli.families.clip.companions import load_companions
from razor_cli.families.clip.exam import Answers, ClipExam
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.load import load
from razor_cli.families.clip.reference import reference
from razor_cli.families.clip.settings import Metrics
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.families.clip.standins import stand_in_folder
from razor_cli.main import run_command
from razor_cli.report.terminal import print_report
from razor_cli.runs.records import Identity
from razor_cli.runs.rows import scores_csv
from razor_cli.weights.beside import CompanionFiles

SHORT = stand_in_folder("clip_tiny_short")


def other_weights(path: Path, seed: int, without: str | None = None) -> Path:
    """Write weights of the tiny model with some noise."""
    g = torch.Generator().manual_seed(seed)
    state = {
        n: v + 0.05 * torch.randn(v.shape, generator=g) if v.ndim > 1 else v
        for n, v in tiny_world.taught_state().items()
    }
    save_file({n: v.half().contiguous() for n, v in state.items() if n != without}, path)
    return path


def exam_of(model: Clip, sets: ConceptSets, cache: TensorCache | None = None) -> ClipExam:
    return model.exam(sets, Metrics(bootstrap_draws=100), cache, lambda _: None)


def measured(
    model: Clip, exam: ClipExam, changes: Mapping[str, Change], schemes: list[str], **more: Any
) -> dict[Key, Answers]:
    """Return the answers of every state under every scheme."""
    evaluator = Evaluator(family=model, exam=exam, settings=Quantization(schemes=["int8"]), **more)
    return dict(evaluator.states(changes, schemes))


def test_other_models_are_states_of_their_own_and_decide_nothing_about_the_edit(tmp_path: Path) -> None:
    model, sets = tiny_world.make_clip(), tiny_world.make_sets()
    files = {
        s: str(other_weights(tmp_path / f"{s}.safetensors", i)) for i, s in enumerate(("oracle", "reseeded"))
    }
    beside = CompanionFiles(oracle={sets.target: files["oracle"]}, reseeded=files["reseeded"])
    found = load_companions(model, sets.target, beside)
    assert set(found.states) == {"oracle", "reseeded"} and found.notes == ()
    name, before = "visual.transformer.resblocks.0.mlp.c_fc.weight", tiny_world.bits(model)
    own = {"base": Weights(), "edit": Weights(values={name: parameters(model)[name] + 0.1})}
    plain = measured(model, exam_of(model, sets), own, ["none", "int8"])
    exam = exam_of(model, sets, TensorCache(tmp_path / "cache"))
    for _ in range(2):  # the second time from the cache
        states = measured(model, exam, own | dict(found.states), ["none", "int8"], hashes=found.hashes)
        cosines = {key: answers.reference.retain_cosine for key, answers in states.items()}
        for key, answers in plain.items():  # not even what is quantized
            assert torch.equal(answers.reference.retain_cosine, cosines[key]), key
        assert not torch.equal(cosines["oracle", "none"], cosines["reseeded", "none"])
        assert not torch.equal(cosines["oracle", "none"], cosines["oracle", "int8"])
    assert tiny_world.bits(model) == before
    scores = exam.scores(states, 0)
    assert one(scores["oracle", "none"], "oracle_jsd", "forget").value == 0
    assert (
        one(scores["oracle", "int8"], "oracle_jsd", "forget").value > 0
    )  # quantization alone, as a yardstick
    for state in ("base", "edit", "reseeded"):
        for name in ("forget", "retain"):
            assert one(scores[state, "none"], "oracle_jsd", name).value > 0
        assert one(scores[state, "none"], "privleak", "loss").value is not None
    assert one(scores["reseeded", "none"], "base_jsd", "forget").value > 0


def test_an_oracle_of_another_target_is_not_used(tmp_path: Path) -> None:
    model, file = tiny_world.make_clip(), str(other_weights(tmp_path / "o.safetensors", 1))
    none = load_companions(model, "Ada", CompanionFiles(oracle={"Ben": file}))
    assert not none.states and not none.hashes
    assert "retrained without Ben; this run forgets Ada" in none.notes[0]
    spelled = load_companions(model, "ada", CompanionFiles(oracle={"Ada": file}))
    assert set(spelled.states) == {"oracle"} and not spelled.notes
    taken = load_companions(model, "Ada", CompanionFiles(oracle=file))
    assert "taken to be retrained without Ada" in taken.notes[0] and set(taken.hashes) == {"oracle"}
    inside = CompanionFiles(oracle={"Ada": "o.safetensors"}, folder=tmp_path)
    assert load_companions(model, "Ada", inside).hashes == taken.hashes
    assert load_companions(model, "Ada", CompanionFiles()).states == {}


def test_settings_know_the_hashes_of_other_models_without_loading_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    one, two = (str(other_weights(tmp_path / f"{s}.safetensors", i)) for i, s in enumerate("ab"))
    spec = ClipSpec(oracle={"Ada": one}, reseeded=two)
    found = load_companions(tiny_world.make_clip(), "Ada", spec.files)
    assert spec.beside("Ada") == found.hashes and len(set(found.hashes.values())) == 2
    assert set(spec.beside("Ben")) == {"reseeded"} and ClipSpec().beside("Ada") == {}


def test_weights_that_are_missing_or_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = tiny_world.make_clip()
    with pytest.raises(WeightsError, match=r"model\.oracle: no such file"):
        load_companions(model, "Ada", CompanionFiles(oracle=str(tmp_path / "none.safetensors")))
    short = other_weights(tmp_path / "short.safetensors", 1, without="text_projection")
    with pytest.raises(
        WeightsError, match=r"(?s)model\.reseeded='short.safetensors'.*missing: text_projection"
    ):
        load_companions(model, "Ada", CompanionFiles(reseeded=str(short)))


def test_settings_take_a_file_or_a_mapping() -> None:
    short = checked(read(["model=clip_tiny_short"])).model
    assert (
        short.oracle == {"Taylor Swift": "oracle_taylor_swift.safetensors"}
        and short.reseeded == "reseeded.safetensors"
    )
    assert checked(read(["model.oracle=some.safetensors"])).model.oracle == "some.safetensors"
    assert checked(read(["model=clip_tiny_short", "model.oracle=null"])).model.oracle is None


def test_a_model_that_does_not_fit_is_found_before_the_edit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "o.safetensors")
    words = [f"model.oracle={tmp_path}/o.safetensors", f"output_dir={tmp_path}/out"]
    assert run_command(["experiment=tiny", *words]) == 2
    said = "".join(capsys.readouterr())
    assert "model.oracle='o.safetensors': the tensors do not fit" in said and "forgetting" not in said


@pytest.mark.skipif(
    (SHORT / "clip_tiny_short.safetensors").is_file(), reason="the weights of clip_tiny_short are here"
)
def test_absent_stand_in_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command(["model=clip_tiny_short", "experiment=tiny", f"output_dir={tmp_path}"]) == 2
    said = "".join(capsys.readouterr())
    assert "clip_tiny_short.safetensors" in said and "not in this copy" in said and "model=clip_tiny" in said


@pytest.mark.skipif(
    not (SHORT / "clip_tiny_short.safetensors").is_file(),
    reason="the weights of clip_tiny_short are not here",
)
def test_embedded_oracle_never_learned_the_target_and_knows_the_rest() -> None:
    model = load(name="short", library="stand_in", architecture="clip_tiny_short", weights=None, device="cpu")
    sizes = Sizes(
        forget=12,
        retain=24,
        validation_forget=4,
        validation_retain=24,
        evaluation_forget=24,
        evaluation_retain=48,
    )
    asked = EmbeddedRequest(
        pictures="portraits", target="Taylor Swift", domain="person", suites=(), sizes=sizes
    )
    sets = embedded_sets(asked)
    chosen: dict[str, Any] = {
        "oracle": {"Taylor Swift": "oracle_taylor_swift.safetensors"},
        "reseeded": "reseeded.safetensors",
    }
    found = load_companions(model, sets.target, CompanionFiles(**chosen, folder=SHORT))
    exam = exam_of(model, sets)
    states = measured(model, exam, {"base": Weights(), **found.states}, ["none"])
    scores = {state: own for (state, _), own in exam.scores(states, 0).items()}
    for state in ("base", "reseeded"):
        assert one(scores[state], "fa_top1", "all_classes").value > 75
    assert one(scores["oracle"], "fa_top1", "all_classes").value < 25
    assert one(scores["oracle"], "others_acc", "macro").value > 75
    assert (
        one(scores["base"], "oracle_jsd", "forget").value
        > one(scores["reseeded"], "base_jsd", "forget").value
    )


# Report


def report_of(folder: Path, states: tuple[str, ...]) -> str:
    """Print a run whose scores are those of small worlds."""
    run = fake_run(folder)
    found = {(s, "none"): Answers(reference=reference(scaled(i))) for i, s in enumerate(states)}
    exam = exam_of(tiny_world.make_clip(), tiny_world.make_sets())
    identity = Identity(**{k: getattr(run.record, k) for k in Identity.model_fields})
    text = scores_csv(identity, exam.scores(found, 0))
    (run.folder / "scores.csv").write_text(text, encoding="utf-8")
    out = io.StringIO()
    print_report(Console(file=out, width=160), as_format(run, run.record.format))  # vouched for as it is now
    return out.getvalue()


def test_report_shows_the_block_only_beside_other_models(tmp_path: Path) -> None:
    text = report_of(tmp_path / "a", ("base", "edit", "oracle", "reseeded"))
    block = text[text.index("Beside a model retrained without the target") :]
    block = block[: block.index("What the edit did")]
    for row in ("edit vs oracle", "base vs oracle", "reseeded vs oracle", "reseeded vs base"):
        assert row in block
    assert "PrivLeak" in block and "control" not in block and max(map(len, text.splitlines())) <= 160
    assert not any(line.startswith("reseeded ") for line in text[: text.index("Beside")].splitlines())
    assert any(line.startswith("oracle ") for line in text[: text.index("Beside")].splitlines())
    assert "Beside" not in report_of(tmp_path / "b", ("base", "edit"))
    bases = report_of(tmp_path / "c", ("base", "edit", "reseeded"))
    assert "Beside a base of another seed" in bases and "edit vs base" in bases and "oracle" not in bases
