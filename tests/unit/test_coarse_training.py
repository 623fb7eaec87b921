"""Weights train in fp32 also where a model computes in bfloat16; float16 is refused."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits, folders, loaded
from tiny_drawn import family as opened

from razor_cli.config.pairings import training_serves_model
from razor_cli.engine.train_state import Fine
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.inversion import Tokens, Wording
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.spec import DiffusionSpec

TINY: dict[str, Any] = {"lr": 1e-5, "epochs": 1, "weight_decay": 0.0}


@cache
def coarse() -> Diffusion:
    """Return the tiny pipeline in bfloat16."""
    exact, pipeline = opened(Kind.SD15), loaded(folders(Kind.SD15)[0], Kind.SD15).to(torch.bfloat16)
    denoiser = Denoiser(pipeline, Kind.SD15)
    return Diffusion(
        label="tiny_coarse",
        stand_in=True,
        denoiser=denoiser,
        stored=exact.stored,
        digest=denoiser.live_hash(),
        draws=exact.draws,
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("fmn", {"steps": 4, "ti": "none", "group": "xattn_k"}),
        ("ediff", {"pictures": 3, "batch": 3, "rounds": 1, "group": "xattn_kv"}),
    ],
)
def test_small_steps_are_taken_as_in_fp32(name: str, changes: dict[str, Any]) -> None:
    family, before = coarse(), bits(coarse())
    edit = preset(name, **TINY | changes).edit(lab_of(family))
    assert same(before, bits(family)) and {p.dtype for p in family.module.parameters()} == {torch.bfloat16}
    moved = torch.cat([(v - before[n].float()).abs().reshape(-1) for n, v in edit.values.items()])
    assert moved.dtype == torch.float32 and float((moved > 0).float().mean()) > 0.9
    assert float(moved.median()) > 3e-6  # most lie between two numbers of bfloat16


def test_what_is_coarse_reads_what_trains_and_hands_its_gradient_on() -> None:
    live = {
        "a": torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16)),
        "b": torch.nn.Parameter(torch.ones(2)),
    }
    fine = Fine(live)
    assert fine.params["b"] is live["b"] and fine.params["a"].dtype == torch.float32
    (live["a"].float().sum() * 2).backward()
    fine.take_gradients()
    assert live["a"].grad is None and fine.params["a"].grad is not None
    assert fine.params["a"].grad.tolist() == [2.0, 2.0, 2.0]
    with torch.no_grad():
        fine.params["a"] += 0.001
        fine.show()
        assert live["a"].tolist() == [1.0, 1.0, 1.0]  # too little for one step
        fine.params["a"] += 0.01
        fine.show()
    assert live["a"].dtype == torch.bfloat16 and float(live["a"][0]) > 1.0


def test_tokens_are_learnt_in_fp32() -> None:
    settings, place = preset("fmn", ti="tokens"), Wording(texts=["An image in Noto style."], names=["Noto"])
    tokens = Tokens(coarse().denoiser, place, settings, 0)
    assert {v.dtype for v in tokens.vectors.values()} == {torch.float32}


@pytest.mark.parametrize(("name", "refused"), [("fmn", True), ("spm", True), ("uce", False), ("seot", False)])
def test_float16_trains_nothing(name: str, refused: bool) -> None:
    method = preset(name)
    for dtype in ("auto", "float32", "bfloat16", "float16"):
        model: Any = SimpleNamespace(dtype=dtype)
        found = training_serves_model(method, model)
        assert bool(found) is (refused and dtype == "float16")
        assert all("model.dtype" in p.what and name in p.what for p in found)
    assert not training_serves_model(method, DiffusionSpec())
