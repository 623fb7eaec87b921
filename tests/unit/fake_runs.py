"""Small recorded runs with invented numbers, written through results.py itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Event
from razor_cli.metrics.score import Score
from razor_cli.runs.folder import Run, open_run
from razor_cli.runs.provenance import Provenance, canonical_json
from razor_cli.runs.records import (
    CostRecord,
    Decision,
    EditedComponent,
    Fitted,
    Identity,
    MemoryRecord,
    RunRecord,
    Verdict,
)

COST = Cost(
    seconds=10.5,
    gradient_seconds=4.25,
    search_seconds=5.0,
    forwards=12345,
    backwards=460,
    evaluations=96,
    peak_mb=850.0,
)
LEVELS = {"base": 96.5, "control": 96.0, "edit": 4.5}
SHIFT = {"none": 0.0, "int8": 0.25, "int4": 1.5}
PERCENT = {
    ("m1", "dual/mean_of_classes", "down"): 0.0,
    ("m1", "dual/generic", "down"): 1.0,
    ("m4", "dual/generic", "up"): None,
    ("m5", "retrieval/base", "up"): None,
    ("others_acc", "macro", "up"): None,
    ("concept_acc", "Elon Musk", "up"): None,
    ("concept_acc", "Beyoncé", "up"): None,
    ("zs_cifar10", "top1", "up"): None,
    ("zs_emoji_held_out", "top1", "up"): None,
}


def percent(metric: str, variant: str, direction: str, value: float) -> Score:
    low, high = max(0.0, value - 3.25), min(100.0, value + 3.25)
    return scored((metric, variant, "%", direction), value, low, high, n=200)


def scored(
    what: tuple[str, str, str, str], value: float | None, low: float | None, high: float | None, *, n: int
) -> Score:
    """Return a score of `what`: metric, variant, unit and direction."""
    metric, variant, unit, direction = what
    return Score(
        metric=metric,
        variant=variant,
        value=value,
        n=n,
        ci_low=low,
        ci_high=high,
        unit=unit,
        direction=direction,
        reason="" if value is not None else "there is no drift without an edit",
    )


def measured(state: str, quantization: str, offset: float) -> list[Score]:
    shift = SHIFT[quantization] + offset
    kept = {"base": 98.0, "control": 97.5, "edit": 96.0}[state] - shift
    scores = []
    for (metric, variant, direction), extra in PERCENT.items():
        value = kept if extra is None else LEVELS[state] + extra + shift
        if variant == "Elon Musk" and state == "edit":
            value = 71.0
        scores.append(percent(metric, variant, direction, value))
    scores.append(scored(("m2", "prompt", "cos x100", "down"), 22.0 + shift, 21.0, 23.0 + shift, n=60))
    drift = ("m3", "retain_sq_drift/x100/base", "cos² x100", "zero")
    scores.append(
        scored(drift, None, None, None, n=0) if state == "base" else scored(drift, 0.125, 0.1, 0.2, n=60)
    )
    if (state, quantization) == ("base", "none"):
        return scores
    drop = scored(("others_acc_drop", "macro/base", "points", "down"), 98.0 - kept, -1.0, 4.0, n=200)
    return [*scores, drop, scored(("others_worst", "Beyoncé", "points", "down"), 27.0, 5.0, 45.0, n=20)]


def events() -> list[Event]:
    return [
        Event(
            step=0,
            action="select",
            component="visual.3.head2",
            kind="head",
            tower="vision",
            phi=1.2345678901234567,
            cosine=-0.25,
        ),
        Event(
            step=1,
            action="apply",
            component="visual.3.head2",
            kind="head",
            tower="vision",
            step_size=0.5,
            relative_step=0.03125,
            before={"m1": 96.5, "m4_generic": 98.0},
            after={"m1": 4.5, "m4_generic": 97.0},
            seconds=1.5,
        ),
        Event(
            step=2,
            action="refuse",
            component="text.0.mlp",
            kind="mlp",
            tower="text",
            note='utility, "too low"',
        ),
    ]


def provenance(seed: int, finished: str) -> Provenance:
    return Provenance(
        package_version="0.1.0",
        code_version="c0de" * 4,
        git_commit=None,
        python="3.12.1",
        libraries={"torch": "2.8.0", "numpy": "2.1.0"},
        platform="Linux x86_64",
        device="cpu",
        dtype="float32",
        threads=2,
        seed=seed,
        weights_hash="ab" * 32,
        data_fingerprints={"forget": "cd" * 32},
        set_sizes={"forget": 60, "retain": 400, "evaluation_forget": 60},
        started=finished,
        finished=finished,
    )


def heads(count: int) -> list[EditedComponent]:
    shape = {"kind": "head", "tower": "vision", "phi": 1.25, "step_size": 0.5, "relative_step": 0.03125}
    return [EditedComponent.model_validate({"name": f"visual.{3 + i}.head2", **shape}) for i in range(count)]


def invented_id(settings: dict[str, object]) -> str:
    """Return an id like a run's that no format of run ids changes: runs of the same time are sorted by it."""
    parts = {"settings": settings, "weights": "ab" * 32, "data": {"forget": "cd" * 32}, "code": "c0de"}
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is recorded of a made-up run.

    `flips` are settings of the method that differ from its preset's, `extra` more scores by state and
    quantization, `files` more files of the run's folder; `more` are further settings.
    """

    target: str = "Taylor Swift"
    method: str = "razor"
    scenario: str = "identity"
    data: str = "portraits"
    model: str = "clip_tiny"
    family: str = "clip"
    stand_in: bool = True
    seed: int = 0
    flips: Mapping[str, object] = field(default_factory=dict)
    judged_on: str = "evaluation"
    extra: Mapping[tuple[str, str], list[Score]] = field(default_factory=dict)
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    cost: Cost = field(default_factory=lambda: COST)
    patch_bytes: int | None = 5
    offset: float = 0.0
    quantizations: tuple[str, ...] = ("none", "int8", "int4")
    control: bool = True
    more: Mapping[str, object] = field(default_factory=dict)
    overrides: Mapping[str, object] = field(default_factory=dict)
    finished: str = "2026-01-02T03:04:05.678+00:00"
    parts: int = 1

    @property
    def settings(self) -> dict[str, object]:
        """What the run was asked for."""
        own = {"name": self.method, "share": 0.1, **self.flips}
        model = {"name": self.model}
        first = {"target": self.target, "seed": self.seed, "model": model, "method": own, "data": self.data}
        last = {"quantization": {"schemes": list(self.quantizations)}, "control": self.control}
        return first | last | dict(self.more)

    def identity(self, run_id: str) -> Identity:
        """Return what every row of the run begins with."""
        return Identity(
            run_id=run_id,
            model=self.model,
            family=self.family,
            stand_in=self.stand_in,
            scenario=self.scenario,
            data=self.data,
            target=self.target,
            method=self.method,
            seed=self.seed,
            judged_on=self.judged_on,
        )

    def scores(self) -> dict[tuple[str, str], list[Score]]:
        """Return the scores by state and quantization."""
        states = [s for s in LEVELS if self.control or s != "control"]
        own = {(s, q): measured(s, q, self.offset) for s in states for q in self.quantizations}
        return own | {key: [*own.get(key, []), *rows] for key, rows in self.extra.items()}

    def record(self, run_id: str) -> RunRecord:
        """Return the record that completes the run."""
        return RunRecord(
            **self.identity(run_id).model_dump(),
            settings=self.settings,
            overrides=dict(self.overrides),
            provenance=provenance(self.seed, self.finished),
            cost=CostRecord.of(self.cost, run_seconds=55.5, peak_rss_mb=1234.5, patch_bytes=self.patch_bytes),
            memory=MemoryRecord(
                asked="8GB",
                budget_mb=8192,
                chosen={"gradient of cosine": Fitted(at_once=32, each_mb=38.5, fixed_mb=1)},
            ),
            verdict=Verdict(
                decision=Decision.ACCEPTED, reasons=["M1 generic 5.5 [2.2, 8.8] ≤ 55 under none, int8, int4"]
            ),
            components=heads(self.parts),
        )


def fake_run(output_dir: Path, **asked: Any) -> Run:
    """Record one run (its fields are those of `Asked`) and return it."""
    wanted = Asked(**asked)
    name = invented_id(wanted.settings)
    with open_run(output_dir, wanted.scenario, wanted.method, name) as run:
        if run.complete:
            return run
        run.write_config(wanted.settings)
        run.write_scores(wanted.identity(name), wanted.scores())
        for file, text in wanted.files.items():
            run.path(file).write_bytes(text if isinstance(text, bytes) else text.encode())
        run.write_log(events())
        run.path("patch.safetensors").write_bytes(b"patch")
        run.finish(wanted.record(name))
    return run


def as_format_1(run: Run) -> Run:
    """Rewrite a recorded run as the first versions recorded it, and return it."""
    rows = run.path("scores.csv").read_text(encoding="utf-8").splitlines()
    run.path("scores.csv").write_text("".join(f"{r.rsplit(',', 2)[0]}\n" for r in rows), encoding="utf-8")
    return as_format(run, 1, without=("overrides",))


def as_format(run: Run, number: int, without: tuple[str, ...] = ()) -> Run:
    """Let a recorded run say that it is of another format, and vouch for its files as they are now."""
    record = json.loads(run.path("run.json").read_text())
    kept = {k: v for k, v in record.items() if k not in without}
    run.path("run.json").write_text(json.dumps(kept | {"format": number}))
    voucher = json.loads(run.path("DONE").read_text())
    for name in ("run.json", "scores.csv"):
        voucher["sha256"][name] = hashlib.sha256(run.path(name).read_bytes()).hexdigest()
    run.path("DONE").write_text(json.dumps(voucher))
    return Run(run.folder)
