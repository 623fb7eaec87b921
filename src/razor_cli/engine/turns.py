"""An edit of several targets, made up of one for each: one after another, or each by itself and then put
together.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from razor_cli.atomic import staged
from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.family import ADAPTER, WEIGHTS, Change
from razor_cli.contract.method import Method
from razor_cli.contract.sets import Sets
from razor_cli.engine.changes import Weights, not_together, then
from razor_cli.engine.checked import read_checked, write_checked
from razor_cli.engine.effect import refuse_idle
from razor_cli.engine.lab import Lab
from razor_cli.errors import RunError, UnknownTargetError
from razor_cli.runs.rows import ALONE, STEP

KEPT = "edit"  # the text of a kept step beside its tensors


@dataclass(frozen=True, kw_only=True)
class Turns:
    """The edits of one request. Each that is done is kept on disk until the run is recorded, so that a killed
    run goes on with the next one.
    """

    method: Method
    lab: Lab  # of the whole request; `sets.steps` are those of its edits
    folder: Path  # of kept edits, the request's own

    def edit(self, *, apart: bool) -> Edit:
        """Return the edit that holds all of them. `apart`: each is found at the unedited weights, and they
        are put together.
        """
        targets = [sets.target for sets in self.lab.sets.steps]
        whole, parts = Edit(change=Weights(), null=True), list[Edit]()
        for number, sets in enumerate(self.lab.sets.steps, 1):
            self.lab.say(f"{number} of {len(targets)}: {sets.target}")
            if apart:
                part = self._one(number, sets, Weights())
                self._refuse_shared(parts, part, targets)
            else:
                part = self._one(number, sets, whole.change)
            if part.change.kind == ADAPTER:
                raise not_together(f"an adapter of {sets.target}")
            parts.append(part)
            whole = _joined(whole, part, f"{number} of {len(targets)}: {sets.target}")
            if number < len(targets):
                whole.states[f"{STEP}{number}"] = whole.change
        if apart:
            whole.states |= {f"{ALONE}{i}": part.change for i, part in enumerate(parts[1:], 2)}
        return whole

    def _one(self, number: int, sets: Sets, before: Change) -> Edit:
        """Return the edit of one target, found in the model as `before` leaves it."""
        path = self.folder / f"{number}.safetensors"
        if (kept := _read(path)) is not None:
            return kept
        later = bool(before.tensors()) or before.kind != WEIGHTS
        lab = replace(
            self.lab,
            sets=sets,
            cache=None if later else self.lab.cache,  # what is kept there is of the unedited model
            code=f"{self.lab.code} {self.folder.name} {number}" if later else self.lab.code,
            cost=Cost(),
        )
        with before.held(self.lab.family):
            try:
                edit = self.method.edit(lab)
            except UnknownTargetError as error:
                if not later:
                    raise
                return Edit(change=Weights(), cost=lab.cost, notes=[f"nothing to change: {error.what}"])
            edit.notes += [n for n in lab.notes if n not in edit.notes]
            try:
                refuse_idle(edit, self.lab.family, sets)
            except RunError as error:
                if not later:
                    raise
                edit = replace(edit, change=Weights(), notes=[*edit.notes, error.what])
        _write(path, edit)
        return edit

    def _refuse_shared(self, parts: list[Edit], part: Edit, targets: list[str]) -> None:
        """Raise RunError for weights that two edits set to different values: their patches do not go
        together.
        """
        for number, earlier in enumerate(parts):
            shared = sorted(earlier.change.tensors().keys() & part.change.tensors().keys())
            if not shared:
                continue
            more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
            raise RunError(
                f"the patches of {targets[number]} and {targets[len(parts)]} do not compose: both change the "
                "same tensors",
                found=", ".join(shared[:3]) + more,
                allowed="patches that change different tensors",
                fix="sequence=true, where each edit begins from the one before; or one edit of all together",
            )


def _joined(whole: Edit, part: Edit, told: str) -> Edit:
    """Return an edit with one more on top of it; the log says where each begins."""
    begins = Event(step=len(whole.log), action="target", note=told)
    log = [replace(e, step=begins.step + 1 + i) for i, e in enumerate(part.log)]
    return Edit(
        change=then(whole.change, part.change),
        components=list(dict.fromkeys([*whole.components, *part.components])),
        log=[*whole.log, begins, *log],
        cost=whole.cost.plus(part.cost),
        notes=[*whole.notes, *(f"{told}: {note}" for note in part.notes)],
        null=whole.null and part.null,
        states=dict(whole.states),
    )


def _write(path: Path, edit: Edit) -> None:
    """Keep an edit of weights. One at run time is found again in no time."""
    if edit.change.kind != WEIGHTS:
        return
    told = {
        "components": edit.components,
        "log": [asdict(e) for e in edit.log],
        "cost": asdict(edit.cost),
        "notes": edit.notes,
        "null": edit.null,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged(path) as part:
        write_checked(part, edit.change.tensors(), **{KEPT: json.dumps(told)})
        part.replace(path)


def _read(path: Path) -> Edit | None:
    """Return a kept edit; None where there is none, or it is damaged."""
    try:
        tensors, texts = read_checked(path)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError):
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    told = json.loads(texts[KEPT])
    return Edit(
        change=Weights(values=tensors),
        components=told["components"],
        log=[Event(**event) for event in told["log"]],
        cost=Cost.of(told["cost"]),
        notes=told["notes"],
        null=told["null"],
    )
