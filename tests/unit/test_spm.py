"""SPM: an adapter beside the net leads the target away, and prompts let it through as far as they name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from drawn_labs import lab_of, same
from membranes import chance, drawn, said
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets

from razor_cli.contract.edit import Edit
from razor_cli.contract.family import ADAPTER, Family
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.choices import Matching
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.low_rank import LowRank, core_of
from razor_cli.families.diffusion.membrane import Membrane, fresh, layers_of, product, shared_tokens
from razor_cli.methods.diffusion.spm import Spm
from razor_cli.methods.diffusion.spm_training import Leading, chance_like

SHORT = {"lr": 1e-2, "epochs": 2, "steps": 2, "batch": 2, "sampler_steps": 2, "anchors": 2}
BARE: dict[str, Any] = {"prompts": {"style": ["{}"]}}


@pytest.fixture(scope="module", params=list(Kind))
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def method(**changes: Any) -> Spm:
    found = preset("spm", **SHORT | changes)
    assert isinstance(found, Spm)
    return found


def spm(family: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    return method(**changes).edit(lab_of(family, **lab or {}))


def test_a_fresh_adapter_is_the_identity(family: Diffusion) -> None:
    first = fresh(family.denoiser, 1, torch.Generator().manual_seed(0))
    change = LowRank(
        core=core_of(family), factors=first, alpha=1.0, concepts=("Noto",), matching=Matching.FIXED
    )
    before = said(family)
    with change.held(family):
        assert torch.equal(said(family), before)


def test_it_lies_beside_every_layer_of_the_transformers_and_no_other(family: Diffusion) -> None:
    names = set(layers_of(family.denoiser))
    assert names and not any("resnets" in n or "time_embedding" in n for n in names)
    ends = {n.rpartition("transformer_blocks.")[2].partition(".")[2] for n in names if "blocks." in n}
    wanted = {"attn1.to_q", "attn2.to_k", "ff.net.0.proj", "ff.net.2"}
    if family.denoiser.kind is Kind.SD3:
        wanted = {"attn.to_q", "attn.add_k_proj", "attn.to_add_out", "ff.net.2", "norm1.linear"}
    else:
        assert any(n.endswith("proj_in") for n in names)
    assert wanted <= ends


def test_its_size_is_the_rank_times_what_goes_in_and_out(family: Diffusion) -> None:
    change = chance(family, rank=1)
    layers = layers_of(family.denoiser).values()
    wanted = sum(w.shape[0] + w[0].numel() for w in (layer.weight for layer in layers))
    assert sum(t.numel() for t in change.tensors().values()) == wanted


def test_what_is_merged_answers_as_what_lies_beside(family: Diffusion) -> None:
    change, plain, before = chance(family, alpha=0.7), said(family), bits(family)
    with change.held(family):
        beside = said(family)
    with change.merged(family).held(family):
        merged = said(family)
    assert torch.allclose(beside, merged, atol=1e-4) and not torch.allclose(beside, plain, atol=1e-3)
    assert torch.equal(said(family), plain) and same(before, bits(family))


def test_where_nothing_passes_the_net_answers_as_before(family: Diffusion) -> None:
    before, membrane = said(family), chance(family).membrane
    with membrane.present(family.denoiser):
        for strength, moved in ((0.0, False), (1.0, True)):
            with membrane.at(strength):
                assert torch.equal(said(family), before) is not moved
        with pytest.raises(RuntimeError, match="past the denoiser"):
            said(family)


def test_each_prompt_of_a_batch_lets_through_its_own_part(family: Diffusion) -> None:
    membrane = chance(family).membrane
    alone = []
    with membrane.present(family.denoiser):
        for strength in (0.0, 1.0):
            with membrane.at(strength):
                alone.append(said(family))
        with membrane.at(torch.tensor([0.0, 1.0])):
            mixed = said(family)
    assert torch.allclose(mixed[0], alone[0][0], atol=1e-5)
    assert torch.allclose(mixed[1], alone[1][1], atol=1e-5)


def test_a_prompt_lets_through_as_much_as_it_is_like_the_concept(family: Diffusion) -> None:
    found = {}
    for matching in Matching:
        membrane = Membrane(factors={}, concepts=("Noto style",), matching=matching)
        prompts = ["Noto style", "A Cats image in Noto style.", "dogs"]
        found[matching] = membrane.marked(family.denoiser, prompts, family.denoiser.encode(prompts))[
            :, 0
        ].tolist()
    assert found[Matching.FIXED] == [1.0, 1.0, 1.0]
    assert found[Matching.TOKENS] == [1.0, 1.0, 0.0]
    tokens = family.denoiser.encode(["Noto style", "dogs"]).tokens.detach().flatten(1)
    wanted = float(torch.nn.functional.cosine_similarity(tokens[0], tokens[1], dim=0))
    assert found[Matching.COSINE][0] == pytest.approx(1.0)
    assert found[Matching.COSINE][2] == pytest.approx(wanted, abs=1e-5)
    larger = [max(pair) for pair in zip(found[Matching.COSINE], found[Matching.TOKENS], strict=True)]
    assert found[Matching.COSINE_OR_TOKENS] == pytest.approx(larger)
    assert shared_tokens(family.denoiser, "a photo of noto", ["Noto style"]) == 0.5


def test_pictures_are_drawn_with_each_prompts_own_part_and_several_adapters_add_up(family: Diffusion) -> None:
    plain, change = drawn(family), chance(family, matching=Matching.TOKENS)
    with change.held(family):
        found = drawn(family)
    with change.fixed().held(family):
        fixed = drawn(family)
    assert torch.equal(drawn(family), plain)
    assert not torch.equal(found[0], plain[0]) and torch.equal(found[1], plain[1])
    assert torch.allclose(found[0], fixed[0], atol=1.0) and not torch.equal(fixed[1], plain[1])
    other = LowRank(
        core=change.core,
        factors=change.factors,
        alpha=1.0,
        concepts=("Noto", "Mono"),
        matching=Matching.TOKENS,
    )
    with change.held(family), other.held(family):
        twice = said(family)
    double = LowRank(
        core=change.core,
        factors={n: (d, 2 * u) for n, (d, u) in change.factors.items()},
        alpha=1.0,
        concepts=("Noto",),
        matching=Matching.TOKENS,
    )
    with double.held(family):
        assert torch.allclose(twice, said(family), atol=1e-4)


def test_the_control_is_as_large_in_every_layer(family: Diffusion) -> None:
    change = chance(family)
    control = change.random_like(cast(Family, family), 3)
    assert control.kind == ADAPTER and not same(dict(control.tensors()), dict(change.tensors()))
    for name, factors in change.factors.items():
        assert float(product(*control.factors[name]).norm()) == pytest.approx(
            float(product(*factors).norm()), rel=1e-4
        )
    assert same(dict(control.tensors()), dict(change.random_like(cast(Family, family), 3).tensors()))


def test_chance_contexts_are_about_as_long_as_the_targets() -> None:
    target = torch.randn(1, 7, 5, generator=torch.Generator().manual_seed(1))
    found, shares = chance_like(target, 6, torch.Generator().manual_seed(2))
    assert found.shape == (6, 7, 5) and float(shares.min()) >= 0.8 and float(shares.max()) <= 1.2
    lengths = found.flatten(1).norm(dim=1) / target.norm()
    assert torch.allclose(lengths, shares, atol=1e-5)


def test_the_vector_of_the_whole_prompt_is_scaled_alike() -> None:
    family = opened(Kind.SD3)
    leading = Leading(lab_of(family), method(), chance(family).membrane)
    context = leading.chance(leading.named.rows([0]), torch.Generator().manual_seed(0))
    assert context.pooled is not None and leading.named.pooled is not None
    one, other = (
        now.flatten(1).norm(dim=1) / then.norm()
        for now, then in (
            (context.tokens, leading.named.tokens[:1]),
            (context.pooled, leading.named.pooled[:1]),
        )
    )
    assert torch.allclose(one, other, atol=1e-5)


def test_training_leads_the_target_to_the_anchor_and_chance_contexts_stay(family: Diffusion) -> None:
    before = bits(family)
    edit = spm(family, steps=8, anchor_weight=1.0, anchor="", **BARE)
    assert same(before, bits(family)) and isinstance(edit.change, LowRank)
    membrane = edit.change.membrane
    leading = Leading(lab_of(family), method(anchor="", **BARE), membrane)
    rows = [0, 0]
    latents = torch.randn(2, *family.denoiser.shape, generator=torch.Generator().manual_seed(9))
    at = torch.full((2,), 0.6 if family.denoiser.kind is Kind.SD3 else 600)
    found = {}
    with torch.no_grad(), membrane.present(family.denoiser):
        found["after"] = float(leading.led(latents, at, leading.named.rows(rows), leading.neutral.rows(rows)))
        kept = float(leading.kept(latents, at, leading.named.rows(rows), torch.Generator().manual_seed(1)))
    blank = Membrane(factors=fresh(family.denoiser, 1, torch.Generator()))
    plain = Leading(lab_of(family), method(anchor="", **BARE), blank)
    with torch.no_grad(), blank.present(family.denoiser):
        found["before"] = float(plain.led(latents, at, plain.named.rows(rows), plain.neutral.rows(rows)))
    loose = spm(family, steps=8, anchor_weight=0.0, anchor="", **BARE).change
    assert isinstance(loose, LowRank)
    free = Leading(lab_of(family), method(anchor="", **BARE), loose.membrane)
    with torch.no_grad(), loose.membrane.present(family.denoiser):
        drift = float(free.kept(latents, at, free.named.rows(rows), torch.Generator().manual_seed(1)))
    assert found["after"] < found["before"] and kept < 0.3 * found["before"] and kept < drift
    assert family.without_effect(edit.change, drawn_sets()) is None
    assert list(edit.also) == ["fixed"] and "plain diffusers" in edit.notes[-1]


def test_seeds_decide_and_a_killed_training_goes_on(
    family: Diffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from razor_cli.engine.train_state import Shelf

    whole, real = spm(family), Shelf.save
    assert same(whole.values, spm(family).values)
    assert not same(whole.values, spm(family, {"seed": 1}).values)

    def stopped(*given: Any) -> None:
        real(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(Shelf, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        spm(family, {"resume_dir": tmp_path})
    monkeypatch.undo()
    again = spm(family, {"resume_dir": tmp_path})
    assert same(whole.values, again.values) and "went on after epoch 1" in again.notes[0]
    assert not [*tmp_path.iterdir()]


def test_the_rate_begins_anew_as_often_as_asked() -> None:
    found = method(schedule="cosine", restarts=2, epochs=1, steps=20, lr=1.0)
    rates = [found.rate(i) for i in range(20)]
    assert rates[0] == rates[10] == 1.0 and rates[9] < 0.1 and rates[19] < 0.1
    assert method(restarts=3, lr=0.5).rate(1) == 0.5


def test_published_settings_and_the_rate_after_the_warm_up() -> None:
    for name in ("spm_paper", "spm_canvas"):
        found = preset(name)
        assert isinstance(found, Spm)
        assert (found.rank, found.alpha, found.eta, found.anchor) == (1, 1.0, 1.0, "")
        assert (found.anchor_weight, found.anchors, found.lr, found.batch) == (1000.0, 4, 1e-4, 1)
        assert (found.epochs * found.steps, found.schedule, found.restarts) == (3000, "cosine", 3)
        assert (found.warmup_steps, found.sampler_steps, found.guidance) == (500, 30, 3.0)
        assert found.matching == "clipcos_tokenuni"
    rates = [found.rate(i) for i in range(3000)]
    assert rates[:500] == sorted(rates[:500]) and rates[499] <= 1e-4 == pytest.approx(rates[500])
    begins = [i for i in range(501, 3000) if rates[i] > rates[i - 1]]
    assert len(begins) == 2 and all(rates[i] > 0.99e-4 for i in begins)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rank": 0}, r"method\.rank"),
        ({"restarts": 0}, r"method\.restarts"),
        ({"matching": "always"}, r"method\.matching"),
        ({"anchor_weight": -1.0}, r"method\.anchor_weight"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        method(**changes)
