"""What a finished run writes beside its scores: the patch, and run.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from razor_cli import __version__
from razor_cli.config.settings import Experiment, resolved
from razor_cli.contract.edit import Edit, Headed
from razor_cli.contract.family import WEIGHTS, Change, Family
from razor_cli.contract.place import Place
from razor_cli.contract.sets import Sets
from razor_cli.metrics.score import Score
from razor_cli.runs import provenance
from razor_cli.runs.judged import verdict_of
from razor_cli.runs.records import CostRecord, Identity, MemoryRecord, RunRecord, edited_components
from razor_cli.weights.adapter import write_adapter
from razor_cli.weights.patch import write_patch
from razor_cli.weights.survival import Survival, sized, survival_notes

PATCH, ADAPTER = "patch.safetensors", "adapter.safetensors"


@dataclass(frozen=True, kw_only=True)
class Done:
    """Everything of a computed run that its record is made of."""

    experiment: Experiment
    identity: Identity
    inputs: provenance.Inputs
    family: Family
    sets: Sets
    edit: Edit
    scores: Mapping[Place, Sequence[Score]]
    survival: Sequence[Survival]
    notes: Sequence[str]  # beyond those of sets and edit
    patch_bytes: int | None
    started: str
    seconds: float

    def record(self) -> RunRecord:
        """Return run.json."""
        e, edit = self.experiment, self.edit
        origin = provenance.collect(
            self.inputs,
            device=self.family.device,
            dtype="float32",
            threads=torch.get_num_threads(),
            seed=e.seed,
            set_sizes=self.sets.sizes(),
            started=self.started,
            libraries=e.model.libraries,
        )
        cost = CostRecord.of(
            edit.cost,
            run_seconds=self.seconds,
            peak_rss_mb=provenance.peak_rss_mb(),
            patch_bytes=self.patch_bytes,
        )
        parts = edited_components(edit.components, edit.log)
        plain = {p[:2]: found for p, found in self.scores.items() if not p.attack}  # no attack takes part
        whole: dict[str, Any] = self.identity.model_dump()
        return RunRecord(
            **whole,
            settings=resolved(e),
            overrides=e.overrides,
            provenance=origin,
            cost=cost,
            memory=MemoryRecord.of(self.family.budget) if self.family.budget else None,
            verdict=verdict_of(plain, e.scenario.acceptance),
            components=sized(parts, self.family, weights_of(edit)),
            notes=[*self.sets.notes, *self.notes, *edit.notes, *survival_notes(self.survival)],
        )


def weights_of(edit: Edit) -> dict[str, torch.Tensor]:
    """Return the new values of the model's own weights; none for another kind of change."""
    return edit.values if edit.change.kind == WEIGHTS else {}


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Where the changes of a run are written, and what their files say of it."""

    folder: Path
    family: Family
    identity: Identity
    experiment: Experiment

    def save(self, change: Change, called: str = "") -> int | None:
        """Write the patch, or the adapter, and return its size in bytes; None where nothing is stored.
        `called` is put behind the file's name.
        """
        tensors = {n: v.cpu() for n, v in change.tensors().items()}
        if not tensors:
            return None
        family, identity, experiment = self.family, self.identity, self.experiment
        settings = {"method": identity.method, "scenario": identity.scenario, "version": __version__}
        if change.kind != WEIGHTS:
            path = self._path(ADAPTER, called)
            more = change.header if isinstance(change, Headed) else {}
            known = {"kind": change.kind, "weights_hash": family.weights_hash(), **settings}
            write_adapter(path, tensors, more, **known)
            return path.stat().st_size
        path = self._path(PATCH, called)
        write_patch(
            path,
            tensors,
            family.stored,
            method=identity.method,
            target=identity.target,
            name_target=experiment.patch_names_target,
            settings=settings,
            libraries=experiment.model.libraries,
        )
        return path.stat().st_size

    def _path(self, name: str, called: str) -> Path:
        return self.folder / f"{Path(name).stem}{called}{Path(name).suffix}"
