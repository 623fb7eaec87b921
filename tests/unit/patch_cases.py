"""A small base, a patch for it, and what the tests of patches do with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from razor_cli.errors import PatchError, RazorError
from razor_cli.weights import patch_format
from razor_cli.weights.patch import apply, read_patch, write_patch


def raw(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype and a[n].shape == b[n].shape and raw(a[n]) == raw(b[n]) for n in a
    )


def make_base() -> dict[str, Tensor]:
    gen = torch.Generator().manual_seed(0)
    return {
        "visual.proj": torch.randn(6, 5, generator=gen),
        "text.h.0.attn.in_proj_weight": torch.randn(4, 8, generator=gen).half(),
        "logit_scale": torch.tensor(4.6, dtype=torch.bfloat16),
        "ids": torch.arange(7),
    }


def make_values(base: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: base[name] + 1 for name in ("visual.proj", "text.h.0.attn.in_proj_weight")}


def fill(folder: Path) -> Path:
    """Put base.safetensors and its patch p.safetensors into a folder, and return the folder."""
    base = make_base()
    safetensors.torch.save_file(
        base, folder / "base.safetensors", metadata={"format": "pt", "origin": "test"}
    )
    write_patch(
        folder / "p.safetensors",
        make_values(base),
        base,
        method="razor",
        target="Conan O'Brien",
        settings={"rho": 0.1},
    )
    return folder


def reseal(
    path: Path, change: dict, values: dict[str, Tensor] | None = None, rename: dict[str, str] | None = None
) -> None:
    """Rewrite a patch with a changed header whose own hash is right, as someone who knows the
    format would.
    """
    header, old = read_patch(path)
    body = header.model_dump(mode="json") | change
    for before, after in (rename or {}).items():
        body["tensors"][after] = body["tensors"].pop(before)
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    sealed = json.dumps({"sha256": patch_format._sha256(canonical), "header": body})
    tensors = {(rename or {}).get(n, n): v.clone() for n, v in (values or old).items()}
    path.write_bytes(safetensors.torch.save(tensors, metadata={patch_format.METADATA_KEY: sealed}))


def refused(
    folder: Path,
    *parts: str,
    out: str = "out.safetensors",
    error: type[RazorError] = PatchError,
    **options: bool,
) -> None:
    """Apply p to base, expect the error with all parts in its message, and no change in the folder."""
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(error) as caught:
        apply(folder / "p.safetensors", folder / "base.safetensors", folder / out, **options)
    for part in parts:
        assert part in str(caught.value)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
