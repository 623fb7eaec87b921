"""Adapters on disk: what a change puts beside the weights, with the hash of the weights it was made for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from razor_cli.atomic import staged
from razor_cli.errors import RunError
from razor_cli.weights.files import is_finite
from razor_cli.weights.patch_format import ADAPTERS_KEY


def write_adapter(
    path: Path,
    tensors: Mapping[str, Tensor],
    more: Mapping[str, str] | None = None,
    *,
    kind: str,
    weights_hash: str,
    **settings: str,
) -> None:
    """Write the tensors of an adapter as safetensors; the header names what they belong to, and holds `more`
    beside that. Raises RunError for values that are not finite.
    """
    if bad := [name for name, tensor in tensors.items() if not is_finite(tensor)]:
        raise RunError(f"the new values of {bad[0]} are not finite", fix="check the edit's step size")
    header = {"kind": kind, "weights": weights_hash, **settings}
    with staged(path) as part:
        save_file(
            {n: t.contiguous() for n, t in tensors.items()},
            part,
            metadata={ADAPTERS_KEY: json.dumps(header), **(more or {})},
        )
        part.replace(path)
