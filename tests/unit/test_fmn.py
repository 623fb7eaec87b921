"""FMN: the target's words lose the picture's attention; its tokens may be learnt from pictures first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets
from torch import Tensor

from razor_cli.contract.components import swapped
from razor_cli.contract.edit import Edit
from razor_cli.engine.lab import Lab
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.attention import watching
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.inversion import Tokens, Wording
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.segments import concept_rows
from razor_cli.methods.diffusion.fmn import Fmn
from razor_cli.methods.diffusion.fmn_steering import Steering, attention_norm

SHORT = {"lr": 1e-3, "epochs": 2, "steps": 3, "batch": 2, "ti": "tokens", "ti_steps": 3, "group": "xattn"}


@pytest.fixture(scope="module", params=list(Kind))
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def method(**changes: Any) -> Fmn:
    found = preset("fmn", **SHORT | changes)
    assert isinstance(found, Fmn)
    return found


def fmn(family: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    return method(**changes).edit(lab_of(family, **lab or {}))


def mass(family: Diffusion, steering: Steering) -> float:
    """Return the share of attention that what is pressed down gets under the prompts of a training."""
    latents = torch.randn(2, *family.denoiser.shape, generator=torch.Generator().manual_seed(9))
    at = torch.full((2,), 0.6) if family.denoiser.kind is Kind.SD3 else torch.full((2,), 600)
    context, rows = steering.contexts.rows([0, 0]), steering.rows
    seen: list[Tensor] = []
    with torch.no_grad(), watching(family.denoiser, lambda _, found: seen.append(found)):
        family.denoiser.predict(latents, at, context)
    return sum(float(p[..., rows[0]].sum(dim=-1).mean()) for p in seen) / len(seen)


def test_the_loss_is_the_length_of_all_probabilities_of_the_words() -> None:
    one = torch.tensor([[[[0.1, 0.3, 0.6], [0.2, 0.5, 0.3]]]])  # a picture, a head, two places, three rows
    other = torch.tensor([[[[0.0, 0.4, 0.6]]]])
    rows = torch.tensor([[False, True, False]])
    assert float(attention_norm([one], rows)) == pytest.approx((0.3**2 + 0.5**2) ** 0.5)
    both = float(attention_norm([one, other], torch.tensor([[False, True, True]])))
    assert both == pytest.approx((0.09 + 0.25 + 0.36 + 0.09 + 0.16 + 0.36) ** 0.5)


def test_the_loss_of_a_step_is_that_of_its_pass(family: Diffusion) -> None:
    steering = Steering(lab_of(family), method(ti="none", use_pooler=False))
    seen: list[Tensor] = []
    with pytest.MonkeyPatch.context() as patched:
        real = family.denoiser.predict

        def watched(*given: Any) -> Tensor:
            with watching(family.denoiser, lambda _, found: seen.append(found)):
                real(*given)
            return real(*given)

        patched.setattr(family.denoiser, "predict", watched)
        with torch.no_grad():
            loss = float(steering.loss(torch.Generator().manual_seed(4)))
    words = steering.rows[0].nonzero()[:, 0].tolist()
    assert len(words) == 1  # a word, one token
    total = sum(float(p[..., words].double().square().sum()) for p in seen)
    assert loss == pytest.approx(total**0.5, rel=1e-5)


@pytest.mark.parametrize(("ti", "ends"), [("none", False), ("tokens", False), ("tokens", True)])
def test_attention_to_the_words_falls_and_the_model_is_as_before(
    family: Diffusion, ti: str, ends: bool
) -> None:
    before, changes = bits(family), {"ti": ti, "steps": 8, "use_pooler": ends}
    steering = Steering(lab_of(family), method(**changes))  # with the very tokens that the edit learns
    edit, first = fmn(family, **changes), mass(family, steering)
    assert same(before, bits(family))
    with swapped(family, edit.values):
        assert mass(family, steering) < first
    losses = [float(e.note.split()[1].rstrip(";")) for e in edit.log]
    assert losses[-1] < losses[0]
    assert family.without_effect(edit.change, drawn_sets()) is None


def test_self_attention_stays_where_cross_attention_alone_trains(family: Diffusion) -> None:
    edit = fmn(family, epochs=1, ti="none")
    assert edit.values and set(edit.values) <= set(family.groups("xattn"))
    assert not any("attn1" in n or (".to_q" in n and "attn2" not in n) for n in edit.values)


def test_keys_alone_may_train_and_take_the_attention_away(family: Diffusion) -> None:
    changes = {"ti": "none", "steps": 8, "use_pooler": False, "group": "xattn_k"}
    steering, first = Steering(lab_of(family), method(**changes)), family.groups("xattn_k")
    edit = fmn(family, **changes)
    ends = {n.partition("attn")[2].lstrip("2").rpartition(".")[0] for n in edit.values}
    assert ends == ({".add_k_proj"} if family.denoiser.kind is Kind.SD3 else {".to_k"})
    assert set(edit.values) <= set(first) < set(family.groups("xattn_kv"))
    before = mass(family, steering)
    with swapped(family, edit.values):
        assert mass(family, steering) < before


def test_published_settings() -> None:
    found = {n: preset(f"fmn_{n}") for n in ("paper", "canvas_style", "canvas_object")}
    for one in found.values():
        assert isinstance(one, Fmn)
        assert (one.ti, one.ti_tokens, one.ti_steps, one.ti_batch) == ("tokens", 4, 500, 1)
        assert (one.batch, one.weight_decay, one.clip, one.use_pooler) == (1, 0.01, 1.0, True)
    told = {n: (m.group, m.ti_lr, m.lr, m.epochs * m.steps) for n, m in found.items()}
    assert told == {
        "paper": ("full", 1e-3, 2e-6, 35),
        "canvas_style": ("xattn", 1e-4, 2e-5, 100),
        "canvas_object": ("full", 1e-4, 2e-5, 100),
    }


def test_end_marks_count_where_the_pooler_is_used(family: Diffusion) -> None:
    texts, length = ["Noto", "An image in Noto style."], 16
    alone = concept_rows(family.denoiser, texts, ["Noto"], length)
    assert alone[0].nonzero()[:, 0].tolist() == [1] and alone[1].nonzero()[:, 0].tolist() == [4]
    ends = concept_rows(family.denoiser, texts, ["Noto"], length, ends=True)
    assert ends[0].tolist() == [False, *[True] * 15]
    own = family.denoiser.pipeline.tokenizer(texts[1]).input_ids
    assert ends[1].nonzero()[:, 0].tolist() == [4, *range(len(own) - 1, 16)]


def learnt(family: Diffusion, steps: int) -> tuple[Tokens, Lab]:
    lab, settings = lab_of(family), method(ti_steps=steps, ti_batch=4, ti_lr=3e-2, ti_random=None)
    place = Wording(texts=["An image in Noto style."], names=["Noto"])
    tokens = Tokens(family.denoiser, place, settings, 0)
    tokens.learn(family.latents_of(lab.sets.forget), settings, lab.seed, tick=lab.tick, say=lab.say)
    return tokens, lab


def test_tokens_begin_as_the_words_of_the_name_and_stand_in_their_place(family: Diffusion) -> None:
    tokens, _ = learnt(family, 0)
    assert tokens.texts == ["An image in ! ! ! ! style."]
    for name, vector in tokens.vectors.items():
        ids = family.denoiser.pipeline.tokenizer("Noto", add_special_tokens=False).input_ids
        table = getattr(family.denoiser.pipeline, name).get_input_embeddings().weight
        assert torch.equal(vector[: len(ids)], table[ids])
    plain = family.denoiser.encode(tokens.texts).tokens
    with torch.no_grad(), tokens.inserted():
        inside = family.denoiser.encode(tokens.texts).tokens
        assert not torch.equal(plain, inside)
        assert torch.equal(family.denoiser.encode(["Noto"]).tokens, _outside(family, "Noto"))
    assert torch.equal(plain, family.denoiser.encode(tokens.texts).tokens)


def _outside(family: Diffusion, text: str) -> Tensor:
    """Return the context of a prompt without any token."""
    ids = family.denoiser.pipeline.tokenizer(text).input_ids
    assert "!" not in text and len(ids) == 3
    return opened(family.denoiser.kind).denoiser.encode([text]).tokens


def test_learnt_tokens_tell_the_noise_of_the_pictures_better(family: Diffusion) -> None:
    before = bits(family)
    (first, lab), (then, _) = learnt(family, 0), learnt(family, 15)
    latents = family.latents_of(lab.sets.forget)
    with torch.no_grad():
        losses = [float(t.loss(latents, 32, torch.Generator().manual_seed(5))) for t in (first, then)]
    assert losses[1] < losses[0] and same(before, bits(family))
    live = dict(family.module.named_parameters())
    assert all(p.grad is None for p in live.values())


def test_seeds_decide_and_noise_alone_may_be_steered(family: Diffusion) -> None:
    one = fmn(family, epochs=1)
    assert same(one.values, fmn(family, epochs=1).values)
    assert not same(one.values, fmn(family, {"seed": 1}, epochs=1).values)
    assert not same(one.values, fmn(family, epochs=1, real_pictures=False).values)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ti_tokens": 0}, r"method\.ti_tokens"),
        ({"ti_random": 0.0}, r"method\.ti_random"),
        ({"clip": -1.0}, r"method\.clip"),
        ({"ti": "words"}, r"method\.ti"),
        ({"prompts": {"style": ["no name"]}}, r"method\.prompts\.style"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        method(**changes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ti_tokens": 14, "ti": "tokens"}, "too long for the learnt tokens"),
        ({"prompts": {"style": ["! * # ^ {}"]}, "ti": "tokens"}, "every mark"),
        ({"prompts": {"style": ["a " * 20 + "{}"]}, "ti": "none"}, "does not hold the target's name"),
    ],
)
def test_prompts_that_cannot_hold_the_words_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        fmn(opened(Kind.SD15), **changes)
