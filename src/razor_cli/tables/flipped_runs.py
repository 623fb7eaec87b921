"""Recorded runs of RAZOR on validation pictures, each as a preset with some switches flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from razor_cli.runs.folder import Run
from razor_cli.tables.flips import flipped, preset_settings, shown
from razor_cli.tables.reached import values_of

# Further attempts step in for a switch that does harm, so the recommended preset is flipped without them.
ATTEMPTS = "retries"
FIRST = "razor, one attempt"
FILES = ("razor_paper", "razor")  # the literal preset and the recommended one
SETS = (
    "forget",
    "retain",
    "validation_forget",
    "validation_retain",
    "evaluation_forget",
    "evaluation_retain",
)
CLASS = "Razor"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A run as a preset with some switches flipped. `context`: what two runs must share to be compared as a
    pair.
    """

    preset: str
    switches: Mapping[str, object]
    context: tuple[object, ...]
    model: str
    code: str
    values: Mapping[str, float]  # by column, and MISSING; what was not measured is left out

    @property
    def flip(self) -> tuple[tuple[str, str], ...]:
        """What is flipped, as text; empty for the preset itself."""
        return tuple((k, shown(v)) for k, v in self.switches.items())


def read(run: Run, presets: Mapping[str, Mapping[str, object]]) -> Reading | None:
    """Return a run as a reading, or None if it is no run of RAZOR or was judged on evaluation pictures.

    The preset is the one the run is named after; a run of another name belongs to the preset it differs least
    from.
    """
    record = run.record
    method = record.settings.get("method")
    if record.judged_on != "validation" or not isinstance(method, Mapping) or method.get("_target_") != CLASS:
        return None
    differing = {name: flipped(method, settings) for name, settings in presets.items()}
    name = record.method if record.method in presets else min(differing, key=lambda n: len(differing[n]))
    origin = record.provenance
    context = (
        record.model,
        origin.weights_hash,
        record.scenario,
        record.target,
        record.seed,
        *(origin.data_fingerprints.get(name) for name in SETS),
    )
    mark = " STAND-IN" if record.stand_in else ""
    switches = differing[name]
    if name == "razor" and switches.get(ATTEMPTS) == []:
        name, switches = FIRST, {k: v for k, v in switches.items() if k != ATTEMPTS}
    return Reading(
        preset=name,
        switches=switches,
        context=context,
        model=f"{record.model} [{origin.weights_hash[:8]}]{mark}",
        code=origin.code_version,
        values=values_of(run),
    )


def readings(runs: Sequence[Run]) -> list[Reading]:
    """Return the readings among recorded runs, the last of each flip and context."""
    presets = {name: preset_settings(name) for name in FILES}
    newest: dict[tuple[object, ...], Reading] = {}
    for run in sorted(runs, key=lambda r: (r.record.provenance.finished, r.run_id)):
        if (found := read(run, presets)) is not None:
            newest[(found.preset, found.flip, found.context)] = found
    return list(newest.values())
