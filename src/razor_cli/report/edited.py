"""The table of edited components: which numbers of them a run has."""

from __future__ import annotations

from collections.abc import Sequence

from razor_cli.runs.records import EditedComponent


def numbers_of(parts: Sequence[EditedComponent]) -> dict[str, list[float | None]]:
    """Return the numbers of components by heading: φ, and the relative step in %, or the step size as it was
    logged where a method logged no relative one. What no component has gets no column.
    """
    relative = [None if p.relative_step is None else 100 * p.relative_step for p in parts]
    found = {"φ": [p.phi for p in parts], "relative step (%)": relative}
    if not any(x is not None for x in relative):
        found["step size"] = [p.step_size for p in parts]
    return {head: values for head, values in found.items() if any(x is not None for x in values)}
