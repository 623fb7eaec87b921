"""UCE: the closed form is exact, keeps what it should, and reaches the rows that a prompt really has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import STYLES, bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets
from torch import Tensor

from razor_cli.contract.edit import Edit
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.segments import segments
from razor_cli.methods.diffusion.choices import Solver, TokenRows
from razor_cli.methods.diffusion.closed_form import ClosedForm, projected, replaced
from razor_cli.methods.diffusion.entries import POOLED, TOKENS, Rows, input_of, inputs
from razor_cli.methods.diffusion.token_rows import encoded, kept_rows, paired_rows
from razor_cli.methods.diffusion.uce import Uce
from razor_cli.methods.diffusion.wording import paired_texts


def world(erased: int = 3, kept: int = 20, width: int = 12, out: int = 7) -> tuple[Tensor, ...]:
    """Return a matrix, rows to erase, the anchor's, and rows to keep."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((out, width), (erased, width), (erased, width), (kept, width))
    return tuple(torch.randn(s, generator=generator) for s in shapes)


def form(erase: Tensor, kept: Tensor, **changes: Any) -> ClosedForm:
    return ClosedForm(erase, kept, **{"lamb": 0.5, "erase_scale": 1.0, "preserve_scale": 1.0} | changes)


def printed(w: Tensor, c: Tensor, v: Tensor, k: Tensor, lamb: float, e: float, r: float) -> Tensor:
    """Return W* as the sheet prints it."""
    w, c, v, k = (x.double() for x in (w, c, v, k))
    left = lamb * w + e * v.T @ c + r * (k @ w.T).T @ k
    right = lamb * torch.eye(w.shape[1]).double() + e * c.T @ c + r * k.T @ k
    return left @ torch.linalg.inv(right)


@pytest.mark.parametrize("solver", [Solver.DIRECT, Solver.WOODBURY, Solver.AUTO])
@pytest.mark.parametrize("kept", [0, 4, 30])
def test_the_solution_is_the_printed_one_by_either_inverse(solver: Solver, kept: int) -> None:
    w, c, a, k = world(kept=kept)
    v = replaced(w, a)
    found = form(c, k, lamb=0.3, erase_scale=2.0, preserve_scale=0.7, solver=solver).edited(w, v)
    assert found.dtype is torch.float64
    assert torch.allclose(found, printed(w, c, v, k, 0.3, 2.0, 0.7), atol=1e-10)


def test_erased_rows_give_the_anchors_output_as_their_weight_grows() -> None:
    w, c, a, k = world(kept=5)
    wanted = replaced(w, a)
    left = [
        float((form(c, k, erase_scale=e).edited(w, wanted) @ c.double().T - wanted.T).norm())
        for e in (1.0, 1e3, 1e6)
    ]
    assert left[0] > left[1] > left[2] and left[2] < 1e-4 * float(wanted.norm())


def test_kept_rows_give_what_they_gave_as_their_weight_grows() -> None:
    w, c, a, k = world(kept=5)
    before = k.double() @ w.double().T
    moved = [
        float((k.double() @ form(c, k, preserve_scale=r).edited(w, replaced(w, a)).T - before).norm())
        for r in (0.0, 1.0, 1e5)
    ]
    assert moved[0] > moved[1] > moved[2] and moved[2] < 1e-3 * float(before.norm())


def test_nothing_to_erase_and_nothing_to_keep_leaves_the_matrix_as_it_is() -> None:
    w, c, a, k = world()
    for scales in ({"erase_scale": 0.0, "preserve_scale": 0.0}, {"erase_scale": 0.0}):
        assert torch.equal(form(c, k, **scales).edited(w, replaced(w, a)).float(), w)
    assert torch.equal(form(c, k).edited(w, replaced(w, c)).float(), w)  # its own anchor


def test_the_order_of_what_is_kept_does_not_matter() -> None:
    w, c, a, k = world(kept=30)
    orders = [k, k.flip(0), k[torch.randperm(30, generator=torch.Generator().manual_seed(3))]]
    found = [form(c, rows).edited(w, replaced(w, a)) for rows in orders]
    assert all(torch.allclose(found[0], other, rtol=1e-12, atol=1e-12) for other in found[1:])
    assert torch.equal(found[0].half(), found[1].half())


def test_the_other_technique_takes_away_what_lies_along_the_targets_own_output() -> None:
    w, c, a, _ = world()
    own, wanted = replaced(w, c), projected(w, c, a)
    assert torch.allclose((own * wanted).sum(1), torch.zeros(3).double(), atol=1e-10)
    other = replaced(w, a)
    share = (own * other).sum(1, keepdim=True) / own.square().sum(1, keepdim=True)
    assert torch.allclose(wanted, other - share * own)


def uce(family: Diffusion, **changes: Any) -> Edit:
    sets = changes.pop("sets", drawn_sets())
    method = preset("uce", **changes)
    assert isinstance(method, Uce)
    return method.edit(lab_of(family, sets=sets))


@pytest.fixture(scope="module", params=list(Kind))
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def entries(family: Diffusion) -> list[str]:
    """Return the matrices that read the context of a model of either kind."""
    if family.denoiser.kind is Kind.SD15:
        return family.groups("xattn_kv")
    return [n for n in family.groups("text_in") if n.endswith("weight")]


def test_exactly_the_entries_of_the_text_change_and_the_model_is_as_before(family: Diffusion) -> None:
    before = bits(family)
    edit = uce(family)
    assert edit.components == [*edit.values] == entries(family)
    assert same(before, bits(family))
    assert all(not torch.equal(v, before[n]) for n, v in edit.values.items())
    assert all(v.dtype == family.storage_dtype(n) for n, v in edit.values.items())
    assert family.without_effect(edit.change, drawn_sets()) is None
    assert same(edit.values, uce(family).values)  # nothing is drawn


def test_the_edited_entries_give_the_anchors_output_for_the_target(family: Diffusion) -> None:
    edit = uce(family, erase_scale=1e6, preserve=0, preserve_empty=False, rows="last")
    lab, sets = lab_of(family), drawn_sets()
    with torch.no_grad():
        own, other = encoded(lab, sets.target_prompts), encoded(lab, [sets.anchor] * 3)
    parts = segments(family.denoiser, own.tokens.shape[1])
    rows, anchors = paired_rows(own, other, parts, TokenRows.LAST, [STYLES[0]], "")
    for name, value in edit.values.items():
        c, a = (rows, anchors) if value.shape[1] == rows.shape[1] else (own.pooled, other.pooled)
        assert c is not None and a is not None
        wanted = a @ family.stored[name].T
        assert float((c @ value.T - wanted).norm()) < 0.05 * float(
            (c @ family.stored[name].T - wanted).norm()
        )


def test_keys_stay_where_they_should() -> None:
    family = opened(Kind.SD15)
    edit = uce(family, with_to_k=False)
    assert edit.components == [n for n in family.groups("xattn_kv") if "to_v" in n]


def test_a_scale_of_nothing_gives_the_weights_themselves(family: Diffusion) -> None:
    edit = uce(family, erase_scale=0.0)
    assert all(torch.equal(v, family.stored[n]) for n, v in edit.values.items())
    assert "no weight differs" in str(family.without_effect(edit.change, drawn_sets()))


def test_rows_begin_at_the_targets_last_token_and_end_together() -> None:
    family = opened(Kind.SD15)
    lab, length = lab_of(family), 16
    own, other = encoded(lab, ["A Cats image in Noto style."]), encoded(lab, ["An image."])
    (part,) = segments(family.denoiser, length)
    words = part.tokenizer("a cats image in noto").input_ids
    assert part.last("A Cats image in Noto style.", [STYLES[0]]) == len(words) - 2
    assert part.last("An image.", []) == len(part.tokenizer("An image.").input_ids) - 2
    for which, count in ((TokenRows.LAST, 1), (TokenRows.ALL, length), (TokenRows.FROM_SUBJECT, 0)):
        c, a = paired_rows(own, other, [part], which, [STYLES[0]], "")
        at, to = part.last(own.prompts[0], [STYLES[0]]), part.last("An image.", [])
        assert c.shape == a.shape == (count or length - max(at, to), 32)
        if which is not TokenRows.ALL:
            assert torch.equal(c[0], own.tokens[0, at]) and torch.equal(a[0], other.tokens[0, to])
    kept = encoded(lab, ["An image.", ""])
    assert len(kept_rows(kept, [part], TokenRows.ALL)) == 2 * length
    assert len(kept_rows(kept, [part], TokenRows.LAST)) == 2


def test_a_partial_list_is_spread_over_all_there_are() -> None:
    notes = [uce(opened(Kind.SD15), preserve=n, preserve_empty=False).notes[0] for n in (3, None, 0)]
    assert [n.split(", ")[1] for n in notes] == ["3 preserved", "6 preserved", "0 preserved"]


def test_the_anchor_stands_in_the_targets_place_where_it_is_a_word() -> None:
    method = preset("uce", concepts={"style": ["{}", "An image in {} style."]}, anchor="Cubism")
    sets = replace(drawn_sets(), aliases=("Notto",))
    own, instead = paired_texts("concepts", method.concepts, method.anchor, sets)
    assert own == ["Noto", "An image in Noto style.", "Notto", "An image in Notto style."]
    assert instead == ["Cubism", "An image in Cubism style."] * 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"lamb": 0.0}, r"method\.lamb: 0\.0 is out of range"),
        ({"erase_scale": -1.0}, r"method\.erase_scale"),
        ({"preserve": -1}, r"method\.preserve"),
        ({"concepts": {"style": ["no place"]}}, r"method\.concepts\.style: a template has no place"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        preset("uce", **changes)


def test_a_kind_of_target_without_a_template_is_told() -> None:
    with pytest.raises(ConfigError, match=r"method\.concepts: no template") as refused:
        uce(opened(Kind.SD15), concepts={"object": ["{}"]})
    assert "method.concepts.style" in str(refused.value.fix)


def test_tokens_and_the_vector_of_a_prompt_of_one_width_are_told_apart() -> None:
    part = Rows(own=torch.randn(2, 8), other=torch.randn(2, 8), kept=torch.zeros(0, 8), prompts=0)
    rows = {TOKENS: part, POOLED: part}
    names = (
        "transformer.context_embedder.weight",
        "transformer.time_text_embed.text_embedder.linear_1.weight",
    )
    for name, kind in zip(names, (TOKENS, POOLED), strict=True):
        assert input_of(name, torch.zeros(3, 8), rows) == kind
    with pytest.raises(ConfigError, match="does not read a prompt"):
        input_of(names[0], torch.zeros(3, 7), rows)


def test_each_kind_of_input_is_erased_by_its_own_rows() -> None:
    family = opened(Kind.SD3)
    lab, sets = lab_of(family), drawn_sets()
    found = inputs(preset("uce", rows="last"), lab, list(sets.target_prompts), [sets.anchor] * 3, ["", "a b"])
    with torch.no_grad():
        own, other = encoded(lab, sets.target_prompts), encoded(lab, [sets.anchor] * 3)
    assert own.pooled is not None and other.pooled is not None
    assert torch.equal(found[POOLED].own, own.pooled) and torch.equal(found[POOLED].other, other.pooled)
    assert found[TOKENS].own.shape[1] == own.tokens.shape[2] != own.pooled.shape[1]
    assert len(found[POOLED].kept) == found[POOLED].prompts == 2
