"""SalUn in the view of two towers: which caption a picture gets, the mask, and what stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets

from razor_cli.contract.components import swapped
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import DUAL
from razor_cli.dual.mask import top_fraction
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.methods.diffusion.captioned import CaptionLessons
from razor_cli.methods.diffusion.salun_text import TextSalun

SHORT = {"lr": 1e-3, "epochs": 2, "pictures": 6, "batch": 3}


@pytest.fixture(scope="module", params=list(Kind), ids=str)
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def method(**changes: Any) -> TextSalun:
    found = preset("salun_text", **SHORT | changes)
    assert isinstance(found, TextSalun)
    return found


def salun(family: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    return method(**changes).edit(lab_of(family, **lab or {}))


def test_only_salient_weights_of_the_text_encoders_move(family: Diffusion) -> None:
    before, settings = bits(family), method(mask_fraction=0.3)
    lessons = CaptionLessons(lab_of(family), settings)
    found = lessons.summed_gradient(settings.trained(family))
    mask = top_fraction({n: g.abs() for n, g in found.items()}, 0.3)
    assert set(mask) == set(family.groups("text_encoder"))
    edit = settings.edit(lab_of(family))
    assert same(before, bits(family)) and edit.values.keys() <= mask.keys()
    for name, value in edit.values.items():
        assert torch.equal(value[~mask[name]], before[name][~mask[name]])
    assert family.without_effect(edit.change, drawn_sets()) is None
    assert same(edit.values, salun(family, mask_fraction=0.3).values)
    assert not same(edit.values, salun(family, {"seed": 1}, mask_fraction=0.3).values)


def test_forget_pictures_leave_their_captions_and_others_stay(family: Diffusion) -> None:
    lessons = CaptionLessons(lab_of(family), method())
    index = torch.arange(6)

    def losses() -> tuple[float, float]:
        """Return how surprising the own captions of forget pictures are, and those of retain pictures."""
        with torch.no_grad():
            own = lessons._told(lessons.forget, index, list(lessons.own), lessons.kept_captions)
            kept = lessons.kept(index, torch.Generator())
        return float(own), float(kept)

    before = losses()
    edit = salun(family, lr=3e-3, epochs=4, alpha=2.0)
    with swapped(family, edit.values):
        after = losses()
    assert after[0] > before[0] and after[1] < before[1] + 0.1


def test_what_pictures_are_told_apart_from() -> None:
    family, sets = opened(Kind.SD15), drawn_sets()
    lessons, generator = CaptionLessons(lab_of(family), method()), torch.Generator()
    pair = lessons.pairs[0]
    index, beside = torch.tensor([0, 5]), torch.tensor([1, 7])
    captions = [sets.retain.captions[i] for i in (1, 7)] + list(dict.fromkeys(sets.forget.captions))
    with torch.no_grad():
        texts = pair.encode_text(pair.tokenize(captions))
        images = pair.encode_image(pair.preprocess(sets.forget.load()))[index]
        wanted = torch.nn.functional.cross_entropy(pair.scale * images @ texts.T, torch.tensor([0, 1]))
        assert torch.allclose(lessons.relabelled(index, beside, generator), wanted, atol=1e-5)
    anchored = CaptionLessons(lab_of(family), method(stands_in="anchor", anchor="Mono"))
    assert anchored.others[0] == "A Cats image in Mono style."
    assert CaptionLessons(lab_of(family), method(erase_from="An image.")).rivals == ["An image."]


def test_it_needs_a_pair_and_trains_no_net() -> None:
    assert DUAL in method().needs
    with pytest.raises(ConfigError, match=r"method\.group: two towers") as refused:
        method(group="xattn")
    assert "method=salun" in str(refused.value.fix)
    with pytest.raises(ConfigError, match=r"method\.mask_fraction"):
        method(mask_fraction=-0.1)
