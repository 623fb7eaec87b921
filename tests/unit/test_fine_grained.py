"""Runs on an embedded taxonomy: which pictures stand where, what the labels are traced with, gradients of
joint targets.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from presets import preset
from tiny_world import OTHERS, TARGET, Noise, make_clip, make_sets, pairs, run
from torch import Tensor

from razor_cli.data.choices import CoarseText
from razor_cli.data.fine_grained import FineRequest, fine_confidence, fine_sets
from razor_cli.data.halves import on_validation
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.data.sources.emoji import HELD_OUT_SET
from razor_cli.dual.difficulty import class_confidence
from razor_cli.dual.gallery import Gallery
from razor_cli.dual.gradients import trainable
from razor_cli.dual.losses import concept_cross_entropy, concept_margin, concept_uniform
from razor_cli.engine.lab import GradientPlan, Lab
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.reference import reference

JOINT = ("owl", "bear", "pizza")


def ask(tmp_path: Path, **changes: Any) -> FineRequest:
    sizes = Sizes(
        forget=6,
        retain=64,
        validation_forget=4,
        validation_retain=40,
        evaluation_forget=4,
        evaluation_retain=60,
        suite=20,
    )
    fields: dict[str, Any] = {
        "pictures": "emoji",
        "domain": "emoji",
        "target": "ten emoji",
        "forget": JOINT,
        "called": "ten emoji",
        "coarse_text": CoarseText.MEMBERS,
        "sizes": sizes,
        "suites": ("portraits", "cifar10"),
        "cifar": None,
        "cache": tmp_path,
        "seed": 0,
        "confidence": lambda pictures, prompts: dict.fromkeys(prompts, 0.5),
    }
    return FineRequest(**(fields | changes))


def icon_sets(pictures: Pairs) -> set[str]:
    return {k.split("/")[1] for k in pictures.keys if k.startswith("emoji/")}


def test_pictures_of_several_concepts_stand_apart_by_icon_set(tmp_path: Path) -> None:
    sets = fine_sets(ask(tmp_path))
    assert sets.forget_names == JOINT and sets.class_names[:3] == JOINT and len(sets.class_names) == 100
    assert sets.target == "owl, bear, pizza"
    for part, each in ((sets.forget, 6), (sets.validation.forget, 4), (sets.evaluation.forget, 4)):
        assert Counter(part.concepts) == dict.fromkeys(JOINT, each)  # sizes count for each concept
    for part in (sets.retain, sets.validation.retain, sets.evaluation.retain):
        assert not set(part.concepts) & set(JOINT)
    assert icon_sets(sets.evaluation.forget) == icon_sets(sets.evaluation.retain) == {"twemoji"}
    assert sets.ood is not None
    assert icon_sets(sets.ood.judged.forget) == icon_sets(sets.ood.judged.retain) == {HELD_OUT_SET}
    edited = icon_sets(sets.forget) | icon_sets(sets.retain) | icon_sets(sets.validation.forget)
    assert not edited & {"twemoji", HELD_OUT_SET}
    assert not {"ood_forget", "ood_retain"} - sets.fingerprints().keys()
    assert [s.name for s in sets.suites] == ["portraits"]


def test_portraits_are_shifted_by_glasses(tmp_path: Path) -> None:
    asked = ask(
        tmp_path, pictures="portraits", domain="person", forget=("Tom Cruise", "Lady Gaga"), suites=("emoji",)
    )
    sets = fine_sets(asked)
    assert sets.ood is not None and [s.name for s in sets.suites] == ["emoji_held_out"]
    shifted = sets.ood.judged.forget
    plain = {k.rsplit("/", 1)[0] for k in shifted.keys}
    assert all(len(k.split("/")) == 8 for k in shifted.keys) and all(len(k.split("/")) == 7 for k in plain)
    first = shifted.load(0, 1)[0]
    bare = Pairs(
        (replace(shifted.pictures[0], key=shifted.keys[0].rsplit("/", 1)[0]),), shifted.sources
    ).load()[0]
    assert first.tobytes() != bare.tobytes()
    with pytest.raises(ConfigError, match=r"scenario\.domain"):
        fine_sets(replace(asked, domain="emoji"))


def test_a_level_is_found_on_validation_pictures_only(tmp_path: Path) -> None:
    seen: list[str] = []

    def measure(pictures: Pairs, prompts: Any) -> dict[str, float]:
        seen.extend(pictures.keys)
        return {n: i / 100 for i, n in enumerate(sorted(prompts))}

    sets = fine_sets(ask(tmp_path, target="difficult", forget=(), confidence=measure))
    assert sets.target == "difficult" and len(sets.forget_names) == 10
    assert sets.forget_names[0] == sorted(sets.class_names)[-1]
    assert {k.split("/")[1] for k in seen} == {"noto-v1", "emojione-monotone"}
    assert len(set(seen)) == 200  # every concept is looked at


def test_settings_are_chosen_with_all_concepts_on_both_sides(tmp_path: Path) -> None:
    sets = fine_sets(ask(tmp_path, sizes=Sizes(validation_forget=24, retain=64)))
    halved = on_validation(sets)
    assert halved.ood is None and halved.suites == ()
    for judged in (halved.validation, halved.evaluation):
        assert set(judged.forget.concepts) == set(JOINT)
    assert not set(halved.validation.forget.keys) & set(halved.evaluation.forget.keys)
    before = set(sets.validation.forget.keys)
    assert set(halved.validation.forget.keys) | set(halved.evaluation.forget.keys) == before


def test_traced_pictures_meet_their_own_labels(tmp_path: Path) -> None:
    """Embed every picture and every text at the axis of its concept: fine accuracy is then 100, coarse by
    members too.
    """
    sets = fine_sets(ask(tmp_path))
    gallery = Gallery(sets=sets, judged=sets.evaluation, suites=True)
    axis = {n: i for i, n in enumerate(sorted(sets.class_names))}
    concepts = [p.concept for part in gallery.parts() for p in part.pictures]
    images = F.one_hot(torch.tensor([axis.get(c, 100) for c in concepts]), 101).float()
    assert sets.taxonomy is not None
    spoken = {p: axis[n] for n, prompts in sets.taxonomy.fine_prompts.items() for p in prompts}
    texts = F.one_hot(torch.tensor([spoken.get(t, 100) for t in gallery.texts]), 101).float()
    found = reference(gallery.features(images, texts)).traced
    assert set(found) == {"in", "ood"}
    for hits in found.values():
        assert {m: float(h.mean()) for m, h in hits.items()} == dict.fromkeys(hits, 1.0)
    assert len(found["in"]["df_fine"]) == 12 and len(found["ood"]["dr_fine"]) == 60
    owl, lion = axis["owl"], axis["lion"]
    images[[i for i, c in enumerate(concepts) if c == "owl"]] = F.one_hot(
        torch.tensor(lion), 101
    ).float()  # owls seen as lions
    wrong = reference(gallery.features(images, texts)).traced["in"]
    assert float(wrong["df_fine"].mean()) == pytest.approx(2 / 3) and float(wrong["df_coarse"].mean()) == 1.0
    assert (
        owl != lion and Gallery(sets=sets, judged=sets.validation, suites=False).levels == {}
    )  # a search pays nothing


def test_confidence_is_the_mean_probability_of_the_right_class(clip: Clip) -> None:
    names = (TARGET, *OTHERS[:2])
    prompts = {n: (f"a photo of {n}.",) for n in names}
    shown = pairs(Noise(), [names[0], names[0], names[1]], "evaluation")
    found = class_confidence(clip, shown, prompts)
    with torch.no_grad():
        texts = clip.encode_text(clip.tokenize([p[0] for p in prompts.values()]))
        sure = torch.softmax(clip.scale * clip.encode_image(clip.preprocess(shown.load())) @ texts.T, dim=1)
    assert found[names[0]] == pytest.approx(float(sure[:2, 0].mean()), rel=1e-4)
    assert found[names[1]] == pytest.approx(float(sure[2, 1]), rel=1e-4)
    assert found[names[2]] == 0.0
    assert (
        fine_confidence(ask(Path(), confidence=lambda pictures, p: {"n": float(len(pictures))}))["n"] == 1200
    )


def joint_sets() -> ConceptSets:
    """Ada and Ben go together; the others stay."""
    sets, source = make_sets(others=OTHERS[1:]), Noise()
    gone = (TARGET, OTHERS[0])

    def both(split: str) -> Pairs:
        return pairs(source, [gone[i % 3 // 2] for i in range(12)], split)  # two of Ada to one of Ben

    all_names = (*gone, *OTHERS[1:])
    return replace(
        sets,
        target="both",
        joint=gone,
        class_names=all_names,
        prompts={n: f"a photo of {n}." for n in all_names},
        forget=both("train"),
        validation=replace(sets.validation, forget=both("validation")),
        evaluation=replace(sets.evaluation, forget=both("evaluation")),
    )


HEADS = [
    ("concept_ce", concept_cross_entropy),
    ("concept_uniform", concept_uniform),
    ("concept_margin", concept_margin),
]


@pytest.mark.parametrize(("name", "head"), HEADS)
def test_gradient_of_joint_targets_is_that_of_labels_per_picture(clip32: Clip, name: str, head: Any) -> None:
    sets = joint_sets()
    lab = Lab(family=clip32, sets=sets)
    found, _ = lab.gradients(GradientPlan(forget_loss=name), at_base=False)
    labels = torch.tensor([sets.forget_names.index(c) for c in sets.forget.concepts])
    params = {n: p for n, p in trainable(clip32).items() if n in lab.editable}
    with torch.enable_grad():
        images = clip32.encode_image(clip32.preprocess(sets.forget.load()))
        texts = clip32.encode_text(clip32.tokenize([sets.prompts[n] for n in sets.class_names]))
        loss = head(images, texts, labels, clip32.scale, 2)
    expected = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    assert found.keys() == params.keys()
    for (parameter, _), gradient in zip(params.items(), expected, strict=True):
        if gradient is not None:
            assert torch.allclose(
                found[parameter], gradient, atol=2e-5 + 1e-4 * float(gradient.abs().max())
            ), parameter


def unit(*rows: list[float]) -> Tensor:
    return F.normalize(torch.tensor(rows), dim=-1)


def test_losses_take_a_label_for_each_picture() -> None:
    images, prompts = unit([1, 0.2, 0], [0.1, 1, 0.3]), torch.eye(3)
    each = [concept_cross_entropy(images[[i]], prompts, i, 5.0) for i in (0, 1)]
    assert float(concept_cross_entropy(images, prompts, torch.tensor([0, 1]), 5.0)) == pytest.approx(
        float(sum(each)) / 2
    )
    single = [concept_uniform(images[[i]], prompts, i, 5.0) for i in (0, 1)]
    assert float(concept_uniform(images, prompts, torch.tensor([0, 1]), 5.0)) == pytest.approx(
        float(sum(single)) / 2, rel=1e-5
    )
    single = [concept_margin(images[[i]], prompts, i, 5.0) for i in (0, 1)]
    assert float(concept_margin(images, prompts, torch.tensor([0, 1]), 5.0)) == pytest.approx(
        float(sum(single)) / 2, rel=1e-5
    )
    away = float(5.0 * (images[:, 2] - images.diagonal()).mean())
    assert float(concept_margin(images, prompts, torch.tensor([0, 1]), 5.0, 2)) == pytest.approx(
        away, rel=1e-5
    )
    joint = (
        (5.0 * images).log_softmax(-1)[:, 2].mean()
    )  # classes 0 and 1 go: only class 2 is a place to go to
    assert float(concept_uniform(images, prompts, torch.tensor([0, 1]), 5.0, 2)) == pytest.approx(
        float(joint), rel=1e-5
    )


@pytest.mark.parametrize("method", ["razor", "razor_paper", "slug"])
def test_methods_run_on_joint_targets(method: str) -> None:
    sets = joint_sets()
    edit = run(preset(method, **({"criterion": "m1_mean"} if method == "slug" else {})), make_clip(), sets)
    assert all(bool(torch.isfinite(v.float()).all()) for v in edit.values.values())
    assert edit.log
