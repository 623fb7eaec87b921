"""RECE: the rows that bring the target back, and what erasing them round after round does."""

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

from razor_cli.contract.edit import Edit
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.methods.diffusion.closed_form import revived
from razor_cli.methods.diffusion.entries import Inputs, input_of, inputs, matrices
from razor_cli.methods.diffusion.rece import Rece


@pytest.fixture(scope="module", params=list(Kind), ids=str)
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def rece(family: Diffusion, **changes: Any) -> Edit:
    method = preset("rece", **changes)
    assert isinstance(method, Rece)
    return method.edit(lab_of(family))


def world() -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Return pairs of an edited and an unedited matrix, and rows."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return [(drawn(o, 6), drawn(o, 6)) for o in (5, 7)], drawn(3, 6)


def test_the_rows_are_the_printed_solution_and_the_least_of_what_it_minimises() -> None:
    pairs, c = world()
    found = revived(pairs, c, 1e-3)
    left = sum((w.T @ w for w, _ in pairs), 1e-3 * torch.eye(6, dtype=torch.float64))
    right = torch.stack([w.T @ w0 for w, w0 in pairs]).sum(0) @ c.T
    assert found.dtype is torch.float64 and torch.allclose(found, (torch.linalg.inv(left) @ right).T)

    def cost(rows: Tensor) -> float:
        said = sum(float((rows @ w.T - c @ w0.T).square().sum()) for w, w0 in pairs)
        return said + 1e-3 * float(rows.square().sum())

    for seed in range(5):
        step = torch.randn(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert cost(found) < cost(found + 1e-3 * step)


def test_unedited_matrices_give_the_rows_themselves() -> None:
    pairs, c = world()
    assert torch.allclose(revived([(w, w) for w, _ in pairs], c, 1e-12), c, atol=1e-8)
    sizes = [float(revived(pairs, c, gamma).norm()) for gamma in (1e-3, 1.0, 100.0)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_rows_that_were_erased_stay_erased_where_they_are_erased_again() -> None:
    """Rounds on what was found alone move the target's own rows away from the anchor again."""
    family, sets = opened(Kind.SD15), drawn_sets()
    lab, kept = lab_of(family), ["An image.", "A Cats image in Mono style."]
    fixed: dict[str, Any] = {"rows": "last", "lamb": 0.1}
    method = preset("rece", **fixed)
    with torch.no_grad():
        rows = inputs(method, lab, list(sets.target_prompts), [sets.anchor] * 3, kept)
        weights = {n: family.stored[n] for n in matrices(lab, True)}
        gaps = {}
        cases = {"uce": {"rounds": 0}, "all": {"rounds": 6}, "found": {"rounds": 6, "accumulate": False}}
        for name, changes in cases.items():
            found: dict[str, Any] = {**fixed, **changes}
            values = preset("rece", **found).moved(lab, weights, rows)
            part = rows["tokens"]
            far = [(part.own.double() - part.other.double()) @ w.double().T for w in values.values()]
            gaps[name] = sum(float(f.square().sum()) for f in far) ** 0.5
    assert gaps["all"] <= 1.1 * gaps["uce"] < gaps["found"]


def test_without_rounds_it_is_uce(family: Diffusion) -> None:
    uce = preset("uce").edit(lab_of(family))
    assert same(uce.values, rece(family, rounds=0).values)
    assert not same(uce.values, rece(family, rounds=1).values)


def test_exactly_the_entries_of_the_text_change(family: Diffusion) -> None:
    before = bits(family)
    edit = rece(family, rounds=2)
    assert same(before, bits(family)) and edit.components == [*edit.values]
    assert edit.components == matrices(lab_of(family), True)
    assert all(bool(v.isfinite().all()) and not torch.equal(v, before[n]) for n, v in edit.values.items())
    assert family.without_effect(edit.change, drawn_sets()) is None
    assert same(edit.values, rece(family, rounds=2).values)  # nothing is drawn


def back(family: Diffusion, rows: Inputs, values: dict[str, Tensor]) -> float:
    """Return how near rows can come to what the target gave, as a share of it: 0 is all the way."""
    left = whole = 0.0
    kinds = {n: input_of(n, v, rows) for n, v in values.items()}
    for kind in dict.fromkeys(kinds.values()):
        names, c = [n for n, k in kinds.items() if k == kind], rows[kind].own.double()
        pairs = [(values[n].double(), family.stored[n].double()) for n in names]
        found = revived(pairs, c, 1e-3)
        left += sum(float((found @ w.T - c @ w0.T).square().sum()) for w, w0 in pairs)
        whole += sum(float((c @ w0.T).square().sum()) for _, w0 in pairs)
    return left / whole


def test_the_target_is_harder_to_bring_back_after_every_few_rounds() -> None:
    family, sets = opened(Kind.SD15), drawn_sets()
    lab = lab_of(family)
    bare: dict[str, Any] = {"preserve": 0, "preserve_empty": False, "rows": "last", "accumulate": False}
    method = preset("rece", **bare)
    with torch.no_grad():
        rows = inputs(method, lab, list(sets.target_prompts), [sets.anchor] * 3, [])
        found = [back(family, rows, rece(family, rounds=n, lamb=0.01, **bare).values) for n in (0, 2, 10)]
    assert found[0] < found[1] < found[2]


def test_what_is_found_is_sent_to_the_anchor() -> None:
    """After a round, the rows that it found give nearly what the anchor gives."""
    family, sets = opened(Kind.SD15), drawn_sets()
    lab = lab_of(family)
    bare: dict[str, Any] = {"preserve": 0, "preserve_empty": False, "rows": "last", "accumulate": False}
    method = preset("rece", **bare, erase_scale=1e6, rounds=1)
    with torch.no_grad():
        rows = inputs(method, lab, list(sets.target_prompts), [sets.anchor] * 3, [])
        weights = {n: family.stored[n] for n in matrices(lab, True)}
        first = method.solved(lab, weights, rows)
        pairs = [(first[n], weights[n]) for n in weights]
        again = revived(pairs, rows["tokens"].own, method.gamma)
        second = method.moved(lab, weights, rows)
    for name, value in second.items():
        wanted = rows["tokens"].other.double() @ first[name].T
        gap, before = (float((again @ w.T - wanted).norm()) for w in (value, first[name]))
        assert gap < 0.01 * before


@pytest.mark.parametrize(("changes", "what"), [({"rounds": -1}, "rounds"), ({"gamma": 0.0}, "gamma")])
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=rf"method\.{what}"):
        preset("rece", **changes)
