"""FID by features of a network that is named, CLIPScore, and the paired CLIP as a judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_worlds import OBJECTS, cells, sets_of
from tiny_drawn import family
from torchmetrics.image.fid import FrechetInceptionDistance

from razor_cli.contract.components import parameters, swapped
from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.diffusion.companion import likeness, needed, zero_shot
from razor_cli.families.diffusion.exam import DrawnExam, companion_of
from razor_cli.families.diffusion.fid import _Given, frechet, inception, too_few
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.settings import DrawnMetrics, Features, JudgedBy

MODEL = family(Kind.SD15)
WIDTH = 6


def features(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Return features of made-up pictures, correlated and far from zero."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, WIDTH)) @ np.random.default_rng(1).normal(size=(WIDTH, WIDTH))
    return torch.from_numpy(mixed + 50 + shift).float()


def test_distance_of_a_set_from_itself_is_nothing() -> None:
    first = features(40, 2)
    assert frechet(first, first) < 1e-6
    assert frechet(first, first[torch.randperm(40, generator=torch.Generator().manual_seed(0))]) < 1e-6


def test_distance_by_its_formula() -> None:
    """Means apart and covariances as numpy has them: |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)."""
    first, second = features(40, 2).double().numpy(), features(55, 3, shift=0.5).double().numpy()
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    between = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    wanted = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * between
    assert frechet(torch.from_numpy(first), torch.from_numpy(second)) == pytest.approx(wanted, rel=1e-9)


def test_distance_does_not_depend_on_batches() -> None:
    first, second = features(60, 2), features(60, 3)
    metric = FrechetInceptionDistance(feature=_Given(WIDTH)).set_dtype(torch.float64)
    for rows in first.split(7):
        metric.update(rows.double(), real=True)
    for rows in second.split(11):
        metric.update(rows.double(), real=False)
    assert float(metric.compute()) == pytest.approx(frechet(first, second), rel=1e-9)


def test_fewer_pictures_than_features_are_refused() -> None:
    assert "at least as many pictures" in too_few(features(WIDTH - 1, 1), features(40, 1))
    assert too_few(features(WIDTH, 1), features(40, 1)) == ""
    with pytest.raises(ValueError, match="of 6 features"):
        frechet(features(40, 1), features(WIDTH - 1, 1))


def test_exam_records_the_distance_with_the_network_or_why_there_is_none() -> None:
    scores = [DrawnExam._fid("net/base", features(n, 1), features(40, 2)) for n in (40, 3)]
    assert scores[0].value is not None and scores[0].value > 0 and scores[0].n == 40
    assert scores[0].variant == "net/base" and scores[0].direction == "down"
    assert scores[1].value is None and "there are 3" in scores[1].reason


def test_file_that_holds_no_inception_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"'other\.pth' holds no inception_v3"):
        inception(path)


def test_zero_shot_judge_names_itself_and_answers_by_the_nearest_text() -> None:
    companion = companion_of(MODEL)
    assert companion is not None
    sets = sets_of("style", "noto", cells())
    judge = zero_shot(companion, "style", sets)
    assert judge.name == "zero_shot:text_encoder" and judge.labels == sets.labels["style"]
    pictures = torch.randint(0, 256, (5, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    texts = companion.texts([sets.prompts[n] for n in sets.labels["style"]])
    nearest = (companion.images(pictures) @ texts.T).argmax(dim=1)
    assert judge.predict(pictures.float() / 255).labels.tolist() == nearest.tolist()
    assert judge.index("mono") == sets.labels["style"].index("mono")
    with pytest.raises(ConfigError, match="none of the names"):
        judge.index("Rembrandt")
    other = replace(sets, prompts={n: f"{p} !" for n, p in sets.prompts.items()})
    assert zero_shot(companion, "style", other).sha256 != judge.sha256
    assert zero_shot(companion, "object", sets).labels == OBJECTS


def test_scores_of_a_zero_shot_judge_are_never_plain_ua() -> None:
    sets = sets_of("style", "noto", cells(seeds=(1,)), near=("mono",))
    settings = DrawnMetrics(judged_by=JudgedBy.ZERO_SHOT, steps=1, fid=Features.NONE, clip_score=False)
    exam = DrawnExam(family=MODEL, sets=sets, settings=settings)
    (scores,) = exam.scores({("base", "none"): exam.measure(None)}, seed=0).values()
    judged = [s for s in scores if s.metric not in ("judge_acc", "fid", "clip_score")]
    assert len(judged) > 10 and all(s.variant.startswith("zero_shot:text_encoder/") for s in judged)
    (style,) = [s for s in scores if (s.metric, s.variant) == ("judge_acc", "style")]
    assert style.value is None and "not measured" in style.reason
    assert "zero_shot:text_encoder" in exam.notes[0]
    assert settings.judge_hashes(sets) == {}


def test_zero_shot_without_a_paired_clip_is_refused() -> None:
    with pytest.raises(ConfigError, match="judged_by=zero_shot: the model has no CLIP beside it"):
        needed(None)


def test_clip_score_by_its_formula_and_by_the_unedited_texts() -> None:
    companion = companion_of(MODEL)
    assert companion is not None
    pictures = torch.randint(0, 256, (4, 3, 64, 64), generator=torch.Generator().manual_seed(1)).byte()
    texts = companion.texts([f"a {o} image" for o in (*OBJECTS, "noto")])
    cosines = (companion.images(pictures) * texts).sum(1)
    found = likeness(companion, pictures, texts)
    assert found.tolist() == pytest.approx((100 * cosines.clamp(min=0)).tolist())
    name = "text_encoder.encoder.layers.1.mlp.fc1.weight"
    with swapped(MODEL, {name: -parameters(MODEL)[name]}):
        assert torch.equal(likeness(companion, pictures, texts), found)
        assert not torch.equal(companion.texts(["a cats image"]), texts[:1])


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"steps": 0}, r"metrics\.steps is out of range"),
        ({"guidance": -1.0}, r"metrics\.guidance"),
        ({"side": 60}, r"metrics\.side"),
        ({"search_pictures": -1}, r"metrics\.search_pictures"),
        ({"fid": Features.INCEPTION}, r"metrics\.fid=inception and metrics\.fid_weights go together"),
        ({"judges": "nowhere"}, r"metrics\.judges: no such folder"),
    ],
)
def test_settings_are_refused_by_their_keys(setting: dict[str, object], match: str) -> None:
    given = {k: Path(v) if k == "judges" else v for k, v in setting.items()}  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=match):
        DrawnMetrics(**given)  # type: ignore[arg-type]
