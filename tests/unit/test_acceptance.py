"""Acceptance of a checkpoint: published figures, agreement with them, and which checkpoint a file is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from pictures import write_folder

from razor_cli.acceptance.checks import Request, Status
from razor_cli.acceptance.clip import weights, zero_shot
from razor_cli.acceptance.clip.known import (
    card_accuracy,
    known,
    known_checkpoint,
    published_accuracy,
)
from razor_cli.acceptance.clip.subject import identify, small_sets
from razor_cli.commands.doctor import read_request
from razor_cli.data.kinds.own import Folder
from razor_cli.errors import ConfigError
from razor_cli.families.clip.spec import ClipSpec


@pytest.fixture(autouse=True)
def no_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "data"))


# ------------------------------------------------------------------ published figures


def test_every_published_figure_has_a_source_and_is_a_percentage() -> None:
    for checkpoint in known().checkpoints:
        published = published_accuracy(checkpoint)
        assert published is not None and 50 < published < 100, checkpoint.name
        assert all(f.source for f in (checkpoint.cifar10, checkpoint.logit_scale, *checkpoint.norms))
        other = checkpoint.cifar10.other_activation
        assert other is None or other < published  # the wrong activation costs accuracy


def test_checkpoints_are_those_of_open_clip() -> None:
    for c in (c for c in known().checkpoints if c.tag != "embedded"):
        name = c.architecture + ("-quickgelu" if c.quick_gelu else "")
        entry = open_clip.get_pretrained_cfg(name, c.tag) or open_clip.get_pretrained_cfg(
            c.architecture, c.tag
        )
        assert bool(entry.get("quick_gelu")) == c.quick_gelu and entry["hf_hub"].rstrip("/") == c.hub, c.name


@pytest.mark.parametrize("name", [n for n in known().architectures if n != "clip_tiny"])
def test_published_sizes_are_those_that_open_clip_builds(name: str) -> None:
    with torch.device("meta"):
        module = open_clip.model.CLIP(
            **{k: v for k, v in open_clip.get_model_config(name).items() if k != "quick_gelu"}
        )
    sizes = known().architectures[name]
    assert sum(p.numel() for p in module.parameters()) == sizes.parameters
    towers = [
        (len(t.resblocks), t.width, t.resblocks[0].attn.num_heads)
        for t in (module.visual.transformer, module.transformer)
    ]
    assert towers == [sizes.vision, sizes.text]
    assert sizes.components == sum(layers * (heads + 1) for layers, _, heads in towers)


def test_the_stand_ins_figure_is_read_from_its_card() -> None:
    assert card_accuracy("| identity | 99.8 | 4800 |\n| CIFAR-10 | 61.5 | 10000 | 62 |\n", "CIFAR-10") == 61.5
    assert card_accuracy("CIFAR-10 is 61.5", "CIFAR-10") is None
    stand_in = known_checkpoint("clip_tiny", "embedded")
    assert stand_in is not None and (published_accuracy(stand_in) or 0) > 60


def test_the_papers_checkpoints_are_on_file() -> None:
    assert published_accuracy(known_checkpoint("ViT-B-32-quickgelu", "laion400m_e32")) == 90.74  # type: ignore[arg-type]
    assert published_accuracy(known_checkpoint("ViT-L-14", "laion400m_e32")) == 94.64  # type: ignore[arg-type]
    assert published_accuracy(known_checkpoint("ViT-L-14-quickgelu", "openai")) == 95.59  # type: ignore[arg-type]
    assert known_checkpoint("ViT-L-14", "never") is None


# ------------------------------------------------------------------ accuracy against a figure


def test_a_whole_test_part_agrees_within_the_tolerance_only() -> None:
    assert zero_shot.agreement(9074, 10_000, 90.74)[1]
    assert zero_shot.agreement(9030, 10_000, 90.74)[1]
    assert not zero_shot.agreement(8840, 10_000, 90.74)[1]  # the wrong activation
    assert not zero_shot.agreement(9140, 10_000, 90.74)[1]  # too good is as suspect


def test_a_small_sample_is_allowed_what_its_size_allows() -> None:
    shown, agrees = zero_shot.agreement(174, 200, 90.74)
    assert agrees and shown.value == 87.0 and (shown.low or 0) < 83 and (shown.high or 0) > 90
    assert not zero_shot.agreement(20, 200, 90.74)[1]  # chance
    assert not zero_shot.agreement(0.87 * 8000, 8000, 90.74)[1]  # the same share of many


def test_the_ensemble_has_the_eighteen_templates_of_the_protocol() -> None:
    templates = zero_shot.ENSEMBLE
    assert len(set(templates)) == 18 and all(t.count("{}") == 1 and t.endswith("{}.") for t in templates)
    assert {"a photo of a {}.", "a black and white photo of the {}.", "a photo of the small {}."} <= set(
        templates
    )


def test_pictures_that_all_look_alike_gain_nothing_from_their_captions() -> None:
    rows = torch.arange(40) % 4
    rows[:10] = 0  # one caption far more often than the others, and far nearer to everything
    alike = torch.tensor([0.9, 0.1, 0.2, 0.3]).expand(40, 4) + 0.01 * torch.randn(
        40, 4, generator=torch.Generator().manual_seed(0)
    )
    assert zero_shot._matched(alike, rows).status is Status.FAIL
    apart = torch.eye(4)[rows] * 0.1 + 0.2
    assert zero_shot._matched(apart, rows).status is Status.PASS


def test_other_activation_is_held_and_given_back() -> None:
    block = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.GELU())
    own = block[1]
    with pytest.raises(KeyError), zero_shot.other_activation(block) as count:
        assert count == 1 and weights.uses_quick_gelu(block)
        raise KeyError
    assert block[1] is own


# ------------------------------------------------------------------ which checkpoint it is


def asked(preset: str, *overrides: str, checkpoint: str | None = None) -> tuple[str | None, str | None, str]:
    return identify(read_request(preset, overrides, checkpoint=checkpoint))


def test_a_checkpoint_is_known_by_tag_released_name_preset_or_word() -> None:
    base = "ViT-B-32-quickgelu"
    assert asked("clip_vitb32")[:2] == (base, "laion400m_e32")
    released = "model.weights=/x/vit_b_32-quickgelu-laion400m_e31-d867053b.pt"
    assert asked("clip_vitb32", released) == (base, "laion400m_e31", "the file's released name")
    architecture, tag, claim = asked("clip_vitb32", "model.weights=/x/mine.pt")
    assert (architecture, tag) == (base, "laion400m_e32") and "assumed" in claim
    large = ("model.architecture=ViT-L-14-quickgelu", "model.weights=openai")
    assert asked("open_clip", *large)[:2] == ("ViT-L-14-quickgelu", "openai")
    assert asked("open_clip", large[0], "model.weights=/x/mine.pt")[1] is None
    assert asked("open_clip", large[0], "model.weights=/x/mine.pt", checkpoint="openai")[1] == "openai"
    assert asked("hf_clip", "model.weights=/x", checkpoint="ViT-L-14-336/openai")[:2] == (
        "ViT-L-14-336",
        "openai",
    )
    assert asked("clip_tiny")[:2] == ("clip_tiny", "embedded")


def test_an_unknown_checkpoint_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"(?s)no published figures.*did you mean ViT-L-14/laion400m_e32"):
        asked("clip_vitl14", checkpoint="laion400_e32")


def test_small_sets_come_from_the_users_folder_else_from_drawn_emoji(tmp_path: Path) -> None:
    assert small_sets(Request(preset="x", model=ClipSpec(), data=Folder()), None).domain == "emoji"
    root = write_folder(tmp_path / "mine", {"Ada": 12, "Bob": 30, "Eve": 20})
    own = Request(preset="x", model=ClipSpec(), data=Folder(root=root))
    assert small_sets(own, None).target == "Bob"
    assert small_sets(replace(own, target="Eve"), None).target == "Eve"
