"""What a stored tensor is called in memory: versions of the libraries differ in what they put before a name.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

TRUNK = (
    "text_model."  # before every name of a text encoder in one version of transformers, and not in another
)
# Attention of a VAE, as diffusers called its parts before 0.15.
OLD_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
UNSTORED = ("position_ids",)  # buffers that old files hold and nobody needs


def trunk(net: Any) -> Any:
    """Return the part of a net whose parameters are called as patches call them: in some versions of
    transformers a CLIPTextModel has one child, whose name stands before every other.
    """
    inner = dict(net.named_children()).get(TRUNK.removesuffix("."))
    return net if inner is None or type(net).__name__ != "CLIPTextModel" else inner


def spelled(
    found: Iterable[str], wanted: Collection[str], aliases: Collection[str] = ()
) -> tuple[dict[str, str], list[str], list[str]]:
    """Return what is called what: name in memory -> stored name; then the names that are missing, and the
    stored ones that nothing asks for. `aliases` are second names of tensors in memory.
    """
    names: dict[str, str] = {}
    unexpected: list[str] = []
    for stored in found:
        candidates = list(_candidates(stored))
        home = next((c for c in candidates if c in wanted), None)
        if home is not None and home not in names:
            names[home] = stored
        elif not stored.endswith(UNSTORED) and not any(c in aliases for c in candidates):
            unexpected.append(stored)
    return names, sorted(set(wanted) - names.keys()), sorted(unexpected)


def _candidates(stored: str) -> Iterator[str]:
    yield stored
    yield stored.removeprefix(TRUNK) if stored.startswith(TRUNK) else TRUNK + stored
    for old, new in OLD_ATTENTION:
        if f".{old}." in stored:
            yield stored.replace(f".{old}.", f".{new}.")


def canonical(stored: str, kind: str) -> str | None:
    """Return what a patch calls a stored tensor of a net of the class `kind`: what it is called in memory by
    today's libraries, in all versions; None for a buffer that is no weight.
    """
    if stored.endswith(UNSTORED):
        return None
    if kind == "CLIPTextModel":
        return stored.removeprefix(TRUNK)
    if kind == "CLIPTextModelWithProjection":
        whole = stored.startswith((TRUNK, "text_projection."))
        return stored if whole else TRUNK + stored
    for old, new in OLD_ATTENTION if kind == "AutoencoderKL" else ():
        stored = stored.replace(f".{old}.", f".{new}.")
    return stored
