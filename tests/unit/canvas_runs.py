"""Recorded runs of models that draw with invented numbers and tiny pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fake_runs import fake_run, scored
from PIL import Image

from razor_cli.metrics.score import Score
from razor_cli.runs.folder import Run

NAMES = ("Noto", "Twemoji", "Fluent")
COLUMNS = (("target", "A cat", 3), ("near", "A dog", 4), ("others", "A house", 5))
PAINT = {"base": 40, "edit": 120}
SIDE = 4


def share(metric: str, variant: str, value: float) -> Score:
    return scored((metric, variant, "%", "up"), value, None, None, n=96)


def shares(ua: float, kept: float, target: str) -> list[Score]:
    given = {"ua": ua, "ua_valid": ua - 1, "ira": kept, "cra": kept + 1, "near": kept - 2}
    others = [share("ira_name", name, kept) for name in NAMES if name != target]
    fids = [
        scored(("fid", f"{net}/data", "distance", "down"), value, None, None, n=96)
        for net, value in (("paired:tiny", 7.5), ("torchvision:inception_v3", 70.0))
    ]
    return [*(share(m, "benchmark", v) for m, v in given.items()), *others, *fids]


def pictures(states: Sequence[str], columns: Sequence[tuple[str, str, int]] = COLUMNS) -> Mapping[str, Any]:
    """Return the files of a run's pictures: every row in a grey of its state."""
    whole = Image.new("RGB", (SIDE * len(columns), SIDE * len(states)))
    for i, state in enumerate(states):
        whole.paste((PAINT.get(state, 80),) * 3, (0, SIDE * i, whole.width, SIDE * (i + 1)))
    file = io.BytesIO()
    whole.save(file, format="png")
    told = [{"section": s, "prompt": p, "seed": n} for s, p, n in columns]
    text = json.dumps({"states": list(states), "columns": told})
    return {"shown.png": file.getvalue(), "shown.json": text}


def drew(outputs: Path, target: str, method: str, ua: float, kept: float = 95.0, **asked: Any) -> Run:
    """Record one run of sd_tiny, or of what `asked` says."""
    extra = {("base", "none"): shares(1.0, 99.0, target), ("edit", "none"): shares(ua, kept, target)}
    known: dict[str, Any] = {
        "family": "diffusion",
        "model": "sd_tiny",
        "data": "canvas",
        "scenario": "style",
        "quantizations": ("none",),
        "control": False,
    }
    return fake_run(outputs, target=target, method=method, extra=extra, **(known | asked))
