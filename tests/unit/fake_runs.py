"""Small recorded runs with invented numbers, written through results.py itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Event
from razor_cli.metrics.score import Score
from razor_cli.runs.folder import Run, open_run
from razor_cli.runs.provenance import Provenance, canonical_json
from razor_cli.runs.records import CostRecord, Decision, EditedComponent, Identity, RunRecord, Verdict

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
    return Score(
        metric=metric,
        variant=variant,
        value=value,
        n=200,
        ci_low=low,
        ci_high=high,
        unit="%",
        direction=direction,
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
    m2 = Score(
        metric="m2",
        variant="prompt",
        value=22.0 + shift,
        n=60,
        ci_low=21.0,
        ci_high=23.0 + shift,
        unit="cos x100",
        direction="down",
    )
    m3 = Score(
        metric="m3",
        variant="retain_sq_drift/x100/base",
        value=0.125,
        n=60,
        ci_low=0.1,
        ci_high=0.2,
        unit="cos² x100",
        direction="zero",
    )
    if state == "base":
        m3 = Score(
            metric="m3",
            variant="retain_sq_drift/x100/base",
            value=None,
            n=0,
            ci_low=None,
            ci_high=None,
            unit="cos² x100",
            direction="zero",
            reason="there is no drift without an edit",
        )
    if (state, quantization) == ("base", "none"):
        return [*scores, m2, m3]
    drop = Score(
        metric="others_acc_drop",
        variant="macro/base",
        value=98.0 - kept,
        n=200,
        ci_low=-1.0,
        ci_high=4.0,
        unit="points",
        direction="down",
    )
    worst = Score(
        metric="others_worst",
        variant="Beyoncé",
        value=27.0,
        n=20,
        ci_low=5.0,
        ci_high=45.0,
        unit="points",
        direction="down",
    )
    return [*scores, m2, m3, drop, worst]


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


def fake_run(
    output_dir: Path,
    *,
    target: str = "Taylor Swift",
    method: str = "razor",
    scenario: str = "identity",
    data: str = "portraits",
    model: str = "clip_tiny",
    stand_in: bool = True,
    seed: int = 0,
    flips: dict[str, object] | None = None,
    judged_on: str = "evaluation",
    extra: dict[tuple[str, str], list[Score]] | None = None,
    files: dict[str, str] | None = None,
    offset: float = 0.0,
    quantizations: tuple[str, ...] = ("none", "int8", "int4"),
    control: bool = True,
    more: dict[str, object] | None = None,
    overrides: dict[str, object] | None = None,
    finished: str = "2026-01-02T03:04:05.678+00:00",
    parts: int = 1,
) -> Run:
    """Record one run and return it.

    `flips` are settings of the method that differ from its preset's, `extra` more scores by state and
    quantization, `files` more files of the run's folder; `more` are further settings.
    """
    own = {"name": method, "share": 0.1, **(flips or {})}
    settings = {"target": target, "seed": seed, "model": {"name": model}, "method": own, "data": data}
    settings |= {"quantization": {"schemes": list(quantizations)}, "control": control, **(more or {})}
    name = invented_id(settings)
    identity = Identity(
        run_id=name,
        model=model,
        family="clip",
        stand_in=stand_in,
        scenario=scenario,
        data=data,
        target=target,
        method=method,
        seed=seed,
        judged_on=judged_on,
    )
    cost = Cost(
        seconds=10.5,
        gradient_seconds=4.25,
        search_seconds=5.0,
        forwards=12345,
        backwards=460,
        evaluations=96,
        peak_mb=850.0,
    )
    with open_run(output_dir, scenario, method, name) as run:
        if run.complete:
            return run
        run.write_config(settings)
        states = [s for s in LEVELS if control or s != "control"]
        scores = {(s, q): measured(s, q, offset) for s in states for q in quantizations}
        run.write_scores(
            identity, scores | {k: [*scores.get(k, []), *rows] for k, rows in (extra or {}).items()}
        )
        for file, text in (files or {}).items():
            run.path(file).write_text(text, encoding="utf-8")
        run.write_log(events())
        run.path("patch.safetensors").write_bytes(b"patch")
        run.finish(
            RunRecord(
                **identity.model_dump(),
                settings=settings,
                overrides=overrides or {},
                provenance=provenance(seed, finished),
                cost=CostRecord.of(cost, run_seconds=55.5, peak_rss_mb=1234.5, patch_bytes=5),
                verdict=Verdict(
                    decision=Decision.ACCEPTED,
                    reasons=["M1 generic 5.5 [2.2, 8.8] ≤ 55 under none, int8, int4"],
                ),
                components=heads(parts),
            )
        )
    return run


def as_format_1(run: Run) -> Run:
    """Rewrite a recorded run as earlier versions recorded it, and return it."""
    record = json.loads(run.path("run.json").read_text())
    del record["overrides"]
    run.path("run.json").write_text(json.dumps(record | {"format": 1}))
    rows = run.path("scores.csv").read_text(encoding="utf-8").splitlines()
    run.path("scores.csv").write_text("".join(f"{r.rsplit(',', 2)[0]}\n" for r in rows), encoding="utf-8")
    voucher = json.loads(run.path("DONE").read_text())
    for name in ("run.json", "scores.csv"):
        voucher["sha256"][name] = hashlib.sha256(run.path(name).read_bytes()).hexdigest()
    run.path("DONE").write_text(json.dumps(voucher))
    return Run(run.folder)
