"""Quantization schemes that a model that draws is not served under. Imports no torch."""

from __future__ import annotations

from razor_cli.config.quantization import BACKENDS, BNB

REASON = (
    "diffusers refuses bitsandbytes on a CPU, so its numbers could not be checked wherever a run is computed"
)
REFUSED_SCHEMES = {scheme: REASON for scheme, backend in BACKENDS.items() if backend == BNB}
