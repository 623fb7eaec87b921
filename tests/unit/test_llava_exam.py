"""The evaluation of a model that answers: what is asked, of which pictures, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from question_files import coded, gqa_tsv, mmbench_row, mme_parquet, write_tsv
from taught_llava import PROMPTS, taught
from tiny_llava import opened
from tiny_world import Noise, make_sets

from razor_cli.config.quantization import Quantization
from razor_cli.contract.components import parameters
from razor_cli.data.embedded import EmbeddedRequest, embedded_sets
from razor_cli.data.halves import on_validation
from razor_cli.data.sampling import Sizes, content
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.changes import Weights
from razor_cli.engine.evaluation import Evaluator
from razor_cli.errors import ConfigError
from razor_cli.families.llava.answers import CHOICES, CLAIMS, FACTS, LOOKS, OTHERS, OWN, Answers
from razor_cli.families.llava.audit import COLUMNS
from razor_cli.families.llava.benchmarks.shaped import Drawn
from razor_cli.families.llava.exam import AskedExam
from razor_cli.families.llava.fa import FaMode
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.language import language_digest
from razor_cli.families.llava.settings import AskedMetrics, Options
from razor_cli.metrics.score import Score

SETTINGS = AskedMetrics(
    fa_prompts=list(PROMPTS),
    mmbench_wording=Options.TAUGHT_TEXT,
    max_new_tokens=8,
    mme_pictures=0,
    gqa_questions=0,
    mmbench_questions=0,
    binding_images=3,
    near=2,
    shown=1,
)
TOWER = "model.vision_tower.encoder.layers.0.mlp.fc1.weight"
FEW = Sizes(
    forget=8,
    retain=60,
    validation_forget=8,
    validation_retain=60,
    evaluation_forget=4,
    evaluation_retain=60,
    suite=4,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Llava:
    return opened(taught(tmp_path_factory.mktemp("exam") / "plain"))


def exam_of(model: Llava, sets: ConceptSets | None = None, **changes: Any) -> AskedExam:
    cache = changes.pop("cache", None)
    settings = replace(SETTINGS, **changes)
    return AskedExam(family=model, sets=sets or make_sets(), settings=settings, cache=cache)


def portraits(*, held_back: bool = False) -> ConceptSets:
    asked = EmbeddedRequest(
        pictures="portraits", target="Taylor Swift", domain="person", sizes=FEW, suites=()
    )
    sets = embedded_sets(asked)
    return on_validation(sets) if held_back else sets


def by_name(scores: list[Score]) -> dict[tuple[str, str], Score]:
    return {(s.metric, s.variant): s for s in scores}


def ruined(model: Llava) -> Weights:
    value = parameters(model)[TOWER].detach()
    noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
    return Weights(values={TOWER: value + 40 * value.norm() * noise / noise.norm()})


def test_a_ruined_tower_tells_fewer_names_and_the_drop_is_paired(model: Llava) -> None:
    exam = exam_of(model)
    base = exam.measure(None)
    with ruined(model).held(model):
        after = exam.measure(None)
    found = exam.scores({("base", "none"): base, ("edit", "none"): after}, 0)
    first, then = by_name(found["base", "none"]), by_name(found["edit", "none"])
    known = first["fa", "multi/full"]
    assert known.value is not None and known.value > 80 and known.n == 2 * 12
    assert first["fa_first", "paper/full"].n == 12
    fa, drop = then["fa", "multi/full"], then["fa_drop", "multi/full/base"]
    assert fa.value is not None and fa.value < known.value
    assert drop.value == pytest.approx(known.value - fa.value)
    assert drop.ci_low is not None and drop.ci_high is not None and drop.value is not None
    assert drop.ci_low < drop.value < drop.ci_high and drop.n == fa.n
    kept, lost = then["retain_fa", "multi/full"], then["retain_fa_drop", "multi/full/base"]
    had = first["retain_fa", "multi/full"].value or 0
    assert had > 80 and kept.n == 2 * 2 * 5
    assert lost.value == pytest.approx(had - (kept.value or 0)) and (lost.value or 0) > 0
    same = first["fa_drop", "multi/full/base"]
    assert same.value == same.ci_low == same.ci_high == 0
    shares = [s.value or 0 for (m, _), s in then.items() if m == "misses"]
    assert sum(shares) == pytest.approx(100)
    assert (then["near", "multi/full"].n, len(exam.near)) == (2 * 2 * 4, 2)


def test_the_null_edit_answers_as_the_base(model: Llava) -> None:
    exam = exam_of(model)
    base, again = exam.measure(None), exam.measure(None)
    assert base == again


def test_pictures_of_edits_and_searches_are_asked_nothing(model: Llava) -> None:
    source = Noise()
    sets = make_sets(source)
    source.forbidden = {*sets.forget.keys, *sets.retain.keys}
    exam = exam_of(model, sets)
    validation = {*sets.validation.forget.keys, *sets.validation.retain.keys}
    assert set(source.loaded) <= validation  # which names are near, and nothing else
    source.forbidden |= validation
    exam.measure(None, keep=True)
    shown = [k for k in source.loaded if k not in validation]
    assert len(shown) == len(set(shown)) > 12  # each once


def test_drawn_sets_are_apart_from_what_edits_look_at(model: Llava) -> None:
    model.stand_in = True
    try:
        for held_back in (False, True):
            sets = portraits(held_back=held_back)
            exam = exam_of(model, sets, fa_min_base=0, mme_pictures=2, gqa_questions=18, mmbench_questions=9)
            parts = [sets.forget, sets.retain, sets.validation.forget, sets.validation.retain]
            looked_at = {f"{content(p.key)}#{p.view}" for part in parts for p in part.pictures}
            for asked in exam.asked:
                assert asked.metric.endswith("_shaped") and isinstance(asked.questions.album, Drawn)
                drawn = asked.questions.album.pictures.values()
                assert not looked_at & {f"{content(p.key)}#{p.view}" for p in drawn}
                faces = {p.key for p in drawn if p.key.startswith("portraits/")}
                of_evaluation = {p.key for n in sets.class_names for p in _faces(n)}
                assert not faces & of_evaluation if held_back else faces <= of_evaluation
                assert faces or asked.metric != "mme_shaped"
    finally:
        model.stand_in = False


def _faces(name: str) -> list[Any]:
    from razor_cli.data.sources.portraits import Portraits

    return Portraits().pictures(name, "evaluation")


def test_without_published_sets_a_real_model_is_asked_none(model: Llava) -> None:
    assert exam_of(model, mme_pictures=4).asked == []


def test_persons_are_asked_for_by_choice_by_name_and_by_their_looks(model: Llava) -> None:
    exam = exam_of(model, portraits(), fa_min_base=0)
    items = exam.items
    assert {i.category for i in items[CHOICES]} == {"target", "others"}
    for item in items[CHOICES]:
        names = [text for _, text in item.options]
        assert len(set(names)) == 4 and "Taylor Swift" in names
        right = dict(item.options)[item.answer]
        assert (right == "Taylor Swift") is (item.category == "target")
    claims = [(i.category, i.answer, "Taylor Swift" in i.question) for i in items[CLAIMS]]
    assert set(claims) == {
        ("target", "yes", True),
        ("others", "yes", False),
        ("others", "no", True),
    }
    assert items[LOOKS] and {i.level for i in items[LOOKS]} <= {"hair", "clothes", "beard"}
    assert {(i.category, i.picture) for i in items[FACTS]} == {("target", ""), ("others", "")}


def test_facts_are_asked_once_for_each_language_model(model: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    exam, asked = exam_of(model, portraits(), fa_min_base=0), list[int]()

    def words(questions: list[str], _: int) -> list[str]:
        asked.append(len(questions))
        return ["yes"] * len(questions)

    monkeypatch.setattr(exam.asking, "words", words)
    before = language_digest(model.module)
    exam.measure(None)
    with ruined(model).held(model):
        assert language_digest(model.module) == before
        exam.measure(None)
    assert asked == [len(exam.items[FACTS])]
    name = next(n for n in parameters(model) if "language_model" in n and "q_proj" in n)
    with Weights(values={name: parameters(model)[name].detach() * 1.01}).held(model):
        assert language_digest(model.module) != before
        exam.measure(None)
    assert len(asked) == 2 and language_digest(model.module) == before


def test_a_target_that_the_base_does_not_know_ends_the_run(model: Llava, tmp_path: Path) -> None:
    exam = exam_of(opened(tmp_path / "plain"))
    with pytest.raises(ConfigError, match="target='Ada': the model does not know this name") as caught:
        exam.measure(None)
    assert caught.value.exit_code == 2 and "evaluation pictures" in str(caught.value)
    assert exam_of(opened(tmp_path / "plain"), fa_min_base=0).measure(None).told[OWN]


def test_only_the_first_state_must_know_the_target(model: Llava) -> None:
    exam = exam_of(model)
    exam.measure(None)
    with Weights(values={TOWER: parameters(model)[TOWER].detach() * 0}).held(model):
        exam.measure(None)


def test_answers_of_known_weights_come_from_the_cache(model: Llava, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    first = exam_of(model, cache=cache).measure({"weights": "base"}, keep=True)
    second = exam_of(model, cache=cache)
    second.asking = None  # type: ignore[assignment]
    assert second.measure({"weights": "base"}, keep=True) == first
    other = exam_of(model, cache=cache, max_new_tokens=4)
    assert other._key({}, True) != second._key({}, True)
    assert Answers.of(first.tensors()) == first


def test_every_answer_is_kept_and_shown(model: Llava, tmp_path: Path) -> None:
    exam = exam_of(model, portraits(), fa_min_base=0)
    base = exam.measure(None, keep=True)
    found = {("base", "none"): base, ("edit", "none"): base, ("edit", "int8"): exam.measure(None)}
    exam.draw(tmp_path, found)
    table = pq.read_table(tmp_path / "answers.parquet")
    assert tuple(table.column_names) == COLUMNS
    rows = table.to_pylist()
    asked = sum(map(len, base.told.values())) + sum(map(len, base.records.values()))
    assert sum(r["state"] == "base" for r in rows) == asked
    names = [r for r in rows if r["part"] == "names of target" and r["state"] == "base"]
    assert [r["right"] for r in names] == [t.hit for t in base.told[OWN]]
    assert {r["right_answer"] for r in names} == {"Taylor Swift"} and all(r["answer"] for r in names)
    assert not [p for p in tmp_path.iterdir() if p.name not in ("answers.parquet", "answers.png")]
    with Image.open(tmp_path / "answers.png") as image:
        assert image.width > 600 and image.height > 300


def test_notes_say_how_names_are_asked_for(model: Llava) -> None:
    notes = exam_of(model).notes
    assert "names: multi/full, 2 questions for each picture" in notes
    assert "answers: greedy, 64 at once" in notes and any(n.startswith("nearest names") for n in notes)
    paper = exam_of(model, fa_mode=FaMode.PAPER)
    told = paper.measure(None).told
    assert len(told[OWN]) == 12 and {t.question for t in told[OTHERS]} == {PROMPTS[0]}


def test_published_sets_are_asked_from_their_folders(model: Llava, tmp_path: Path) -> None:
    mmbench = tmp_path / "mmbench"
    for folder in (mmbench, tmp_path / "gqa"):
        folder.mkdir()
    write_tsv(mmbench / "dev.tsv", [mmbench_row(7, coded("a"), ["a cat", "a dog"], "A")])
    folders: dict[str, Any] = {
        "mme": mme_parquet(tmp_path / "mme"),
        "gqa": gqa_tsv(tmp_path / "gqa").parent,
        "mmbench": mmbench,
    }
    exam = exam_of(model, mmbench_wording=Options.LETTER, **folders)
    base = exam.measure(None)
    found = by_name(exam.scores({("base", "none"): base}, 0)["base", "none"])
    assert {a.metric for a in exam.asked} == set(folders) <= {m for m, _ in found}
    assert not [m for m, _ in found if m.endswith("_shaped")]
    assert {v.split("/")[0] for m, v in found if m == "mme"} == {"prefix4", "words"}
    assert found["mme", "prefix4/existence"].n == 2 and found["mme", "prefix4/existence/acc"].unit == "%"
    assert found["gqa", "lower_strip/accuracy"].n == 2 and found["mmbench", "letter/score"].n == 1
    lost = found["answers_loss", "yes_no"]
    assert lost.value is None and "no questions of count" in lost.reason
    assert any(n.startswith("questions: MME 6, GQA 2, MMBench") for n in exam.notes)


@pytest.mark.parametrize("scheme", ["int8", "int4", "bnb_int8", "nf4", "fp4", "bnb_int8 modules"])
def test_every_quantization_is_examined_and_leaves_every_bit(model: Llava, scheme: str) -> None:
    scheme, _, modules = scheme.partition(" ")
    settings = Quantization(schemes=[scheme], bnb_modules=bool(modules))
    settings.check_available()
    exam, before = exam_of(model), {n: v.clone() for n, v in parameters(model).items()}
    evaluator = Evaluator(family=model, exam=exam, settings=settings)
    changes = {"base": Weights(), "edit": ruined(model)}
    found = dict(evaluator.states(changes, ["none", scheme]))
    assert all(torch.equal(v, before[n]) for n, v in parameters(model).items())
    scores = {key: by_name(s) for key, s in exam.scores(found, 0).items()}
    known, quantized = (scores["base", s]["fa", "multi/full"].value or 0 for s in ("none", scheme))
    assert quantized > known - 30
    edit = scores["edit", scheme]
    assert edit["fa_drop", "multi/full/base_q"].value is not None
    assert (
        edit["rec", "fa/multi/full"].value is not None or "undefined" in edit["rec", "fa/multi/full"].reason
    )
    assert "undefined" not in scores["edit", "none"]["rec", "fa/multi/full"].reason
