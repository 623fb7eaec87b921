"""Watched attention: explicit probabilities that give what the fused kernels give, and leave no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_drawn import family as opened
from torch import Tensor

from razor_cli.errors import RunError
from razor_cli.families.diffusion.attention import watching
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind


@pytest.fixture(scope="module", params=list(Kind))
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def said(family: Diffusion) -> Tensor:
    latents = torch.randn(2, *family.denoiser.shape, generator=torch.Generator().manual_seed(1))
    at = torch.full((2,), 0.6) if family.denoiser.kind is Kind.SD3 else torch.full((2,), 600)
    with torch.no_grad():
        return family.denoiser.predict(latents, at, family.denoiser.encode(["A Cats image.", "Noto"]))


def test_explicit_probabilities_give_what_the_fused_kernels_give(family: Diffusion) -> None:
    seen: dict[str, Tensor] = {}
    before = said(family)
    with watching(family.denoiser, lambda name, found: seen.update({name: found})):
        during = said(family)
    assert torch.allclose(before, during, atol=2e-6) and torch.equal(before, said(family))
    length = family.denoiser.encode(["Noto"]).tokens.shape[1]
    blocks = {Kind.SD15: 4, Kind.SD3: 3}[family.denoiser.kind]
    assert len(seen) == blocks
    for name, found in seen.items():
        assert found.ndim == 4 and len(found) == 2 and found.shape[3] == length, name
        total = found.sum(dim=-1)
        assert torch.allclose(total, torch.ones_like(total), atol=1e-5) is (family.denoiser.kind is Kind.SD15)
        assert bool((total < 1 + 1e-5).all()) and bool((found >= 0).all())


def test_the_processors_come_back_also_after_a_failure(family: Diffusion) -> None:
    def refuse(name: str, found: Tensor) -> None:
        raise RuntimeError(name)

    before = dict(family.denoiser.core.attn_processors)
    with pytest.raises(RuntimeError, match="attn"), watching(family.denoiser, refuse):
        said(family)
    after: dict[str, Any] = dict(family.denoiser.core.attn_processors)
    assert before.keys() == after.keys() and all(before[n] is after[n] for n in before)


def test_what_a_picture_sees_of_itself_is_shown_of_a_unet_alone(family: Diffusion) -> None:
    seen: list[Tensor] = []
    if family.denoiser.kind is Kind.SD3:
        both = watching(family.denoiser, lambda *_: None, lambda *_: None)
        with pytest.raises(RunError, match="no attention of a picture to itself"), both:
            said(family)
        return
    before = said(family)
    with watching(family.denoiser, lambda *_: None, lambda _, found: seen.append(found)):
        assert torch.allclose(before, said(family), atol=2e-6)
    assert len(seen) == 4 and all(p.shape[2] == p.shape[3] for p in seen)
