"""Recorded runs of RAZOR's presets with some settings changed and invented numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_runs

from razor_cli.config.conf_files import settings_of
from razor_cli.contract.cost import Cost
from razor_cli.metrics.score import Score
from razor_cli.runs.folder import open_run
from razor_cli.runs.provenance import Inputs, run_id
from razor_cli.runs.records import CostRecord, Identity, RunRecord
from razor_cli.tables.flipped_runs import CLASS
from razor_cli.tables.flips import preset_settings

GOOD = {
    ("m1", "dual/mean_of_classes"): 40.0,
    ("m1", "dual/generic"): 0.0,
    ("m2", "prompt"): 20.0,
    ("m4", "dual/generic"): 90.0,
    ("m4_drop", "dual/generic/base"): 1.0,
    ("m5", "retrieval/base"): 99.0,
    ("others_acc", "macro"): 95.0,
    ("others_acc_drop", "macro/base"): 0.5,
}


def score(metric: str, variant: str, value: float) -> Score:
    return Score(
        metric=metric,
        variant=variant,
        value=value,
        n=60,
        ci_low=value - 1,
        ci_high=value + 1,
        unit="",
        direction="none",
    )


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is recorded of a preset's run, beside its settings: invented numbers, and where they are from."""

    target: str = "Ada Quill"
    m1: float = 40.0
    m5: float = 99.0
    passes: int = 3500
    judged_on: str = "validation"
    finished: str = "2026-01-02T03:04:05.678+00:00"
    weights: str = "ab" * 32
    pictures: str = "cd" * 32
    kind: str = CLASS
    model: str = "clip_tiny"
    scenario: str = "identity"

    def scores(self) -> dict[tuple[str, str], list[Score]]:
        """Return the scores by state and quantization."""
        values = GOOD | {("m1", "dual/mean_of_classes"): self.m1, ("m5", "retrieval/base"): self.m5}
        return {
            ("base", "none"): [score("m4", "dual/generic", 91.0), score("others_acc", "macro", 95.5)],
            ("edit", "none"): [score(m, v, x) for (m, v), x in values.items()],
        }

    def cost(self) -> CostRecord:
        """Return the cost of the edit."""
        edit = Cost(seconds=10.0, forwards=self.passes - 500, backwards=500)
        return CostRecord.of(edit, run_seconds=12.0, peak_rss_mb=1.0, patch_bytes=None)


def record(folder: Path, preset: str = "razor", changes: dict[str, Any] | None = None, **given: Any) -> None:
    """Record a run of a preset with some settings changed and what is `given` of `Recorded`."""
    r = Recorded(**given)
    method = {**preset_settings(preset), "_target_": r.kind, **(changes or {})}
    acceptance = settings_of("scenario", "identity")["acceptance"]
    settings = {
        "target": r.target,
        "method": method,
        "scenario": {"acceptance": acceptance},
        "judged_on": r.judged_on,
    }
    name = run_id(settings, Inputs(weights=r.weights, data={"forget": r.pictures}, code=r.finished))
    identity = Identity(
        run_id=name,
        model=r.model,
        family="clip",
        stand_in=True,
        scenario=r.scenario,
        data="portraits",
        target=r.target,
        method=method["name"],
        seed=0,
        judged_on=r.judged_on,
    )
    origin = fake_runs.provenance(0, r.finished).model_copy(
        update={"weights_hash": r.weights, "data_fingerprints": {"forget": r.pictures, "oracle": r.finished}}
    )
    with open_run(folder, "identity", identity.method, name) as run:
        run.write_config(settings)
        run.write_scores(identity, r.scores())
        run.write_log([])
        run.finish(RunRecord(**identity.model_dump(), settings=settings, provenance=origin, cost=r.cost()))
