"""What every method must do, asked of one: it leaves model and process as they were, changes what it names,
follows its seed, and looks at no evaluation example.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from razor_cli.acceptance.checks import Check, Status, judged, skipped
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import BOARD, WEIGHTS, Family
from razor_cli.contract.method import Method
from razor_cli.engine.lab import Lab

LET = 1  # trials that a method may make before it is stopped
SEEDED = "another seed gives another edit only if it says so"
UNSEEN = "looks at no evaluation example"
JUDGED = ("evaluation", "suites", "ood")  # the fields of sets that hold them
OUTSIDE = "what it changes on its way lies in a context manager: components.swapped, or Change.held"


class StoppedHereError(Exception):
    """The scoreboard refused a trial, to see what the method leaves behind."""


class EvaluationReadError(Exception):
    """A method looked at what only the proof may see."""


class _Untouched:
    """Stands where the evaluation examples were."""

    def __getattr__(self, name: str) -> NoReturn:
        raise EvaluationReadError(name)

    def __iter__(self) -> NoReturn:
        raise EvaluationReadError("they were gone through")

    def __len__(self) -> NoReturn:
        raise EvaluationReadError("they were counted")


@dataclass(frozen=True, kw_only=True)
class Observed:
    """An edit, what of process and model was not as before it, and whether it asked for an evaluation
    example.
    """

    edit: Edit
    moved: list[str]
    disturbed: list[str]


def checks(method: Method, lab_of: Callable[[int], Lab]) -> Iterator[Check]:
    """Yield the rows of a method's contract, from five edits; `lab_of` gives a fresh lab of a seed.

    A row that could not be had for an edit that failed is not there. Errors of the method itself are raised,
    but for those that looking at evaluation examples brings.
    """
    try:
        first = observed(method, _blind(lab_of(0)))
    except EvaluationReadError as error:
        yield judged(
            UNSEEN,
            False,
            expected="none read",
            found=f"one of lab.sets.{', '.join(JUDGED)} was ({error})",
            why="what guides an edit proves nothing about it",
            fix="search on lab.board, which has validation examples",
        )
        first = observed(method, lab_of(0))
    else:
        yield Check(name=UNSEEN, status=Status.PASS, expected="none read", found="none")
    yield _left("leaves the model as it was", first.moved)
    yield _left("leaves the process as it was", first.disturbed)
    yield from _what_changed(first.edit, lab_of(0).family)
    again = _same(first.edit, observed(method, lab_of(0)).edit)
    yield again
    if again.status is Status.PASS:
        yield _another_seed(method, first.edit, observed(method, lab_of(1)).edit)
    else:
        yield skipped(SEEDED, "not even the same seed gives the same edit", again.fix)
    yield _stopped(method, lab_of(0))


def observed(method: Method, lab: Lab) -> Observed:
    """Return the edit of a method, and what it left otherwise than it was."""
    weights, process = _bits(lab.family), _process(lab.family)
    edit = method.edit(lab)
    return Observed(
        edit=edit,
        moved=_different(weights, _bits(lab.family)),
        disturbed=_different(process, _process(lab.family)),
    )


def _blind(lab: Lab) -> Lab:
    """Return a lab without the examples that only the proof may see, of its sets and those of its steps."""
    return replace(lab, sets=_unseen(lab.sets))


def _unseen(sets: Any) -> Any:
    if not is_dataclass(sets) or isinstance(sets, type):
        return sets
    held = {field.name: getattr(sets, field.name) for field in fields(sets) if field.init}
    hidden: dict[str, Any] = {name: _Untouched() for name in JUDGED if held.get(name)}
    if steps := held.get("steps"):
        hidden["steps"] = tuple(map(_unseen, steps))
    return replace(sets, **hidden) if hidden else sets


def _bits(family: Family) -> dict[str, int]:
    return {n: zlib.crc32(_bytes(v)) for n, v in family.module.state_dict().items()}


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _process(family: Family) -> dict[str, object]:
    modules = list(family.module.modules())
    return {
        "torch's random generator": torch.random.get_rng_state().tolist(),
        "random's generator": random.getstate(),
        "numpy's random generator": np.random.get_state(legacy=False)["state"]["key"].tolist(),
        "whether gradients are on": torch.is_grad_enabled(),
        "the default dtype": torch.get_default_dtype(),
        "requires_grad": [p.requires_grad for p in family.module.parameters()],
        "gradients in parameters": [p.grad is not None for p in family.module.parameters()],
        "train or eval": [m.training for m in modules],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules],
    }


def _different(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name in before if before[name] != after.get(name)]


def _left(name: str, other: list[str]) -> Check:
    return judged(
        name,
        not other,
        expected="the same",
        found=_some(other) or "the same",
        why="a job after this one in the same process would work on something else",
        fix=OUTSIDE,
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _what_changed(edit: Edit, family: Family) -> Iterator[Check]:
    """Yield the rows on the values of an edit."""
    values, live = edit.values, parameters(family)
    broken = [n for n, v in values.items() if not bool(torch.isfinite(v.float()).all())]
    yield judged(
        "values are finite",
        not broken,
        expected="all",
        found=_some(broken) or "all",
        why="NaN or infinite values have no scores",
        fix="refuse such steps: aim.stable does",
    )
    if edit.change.kind != WEIGHTS:
        return
    strange = [n for n in values if n not in live]
    other = [n for n, v in values.items() if n not in strange and v.dtype != family.storage_dtype(n)]
    yield judged(
        "values are in the dtype of the file",
        not other,
        expected="lab.family.storage_dtype(name)",
        found=_some(other) or "all",
        why="what is scored must be what a patch writes",
        fix="v.to(lab.family.storage_dtype(n)) for each value",
    )
    wrong = strange or _not_owned(edit, family)
    yield judged(
        "changes what it names and nothing else",
        not wrong,
        expected="entries of Edit.components",
        found=_some(wrong) or "these",
        why="run.json would say less than was done, or more",
        fix="give Edit(components=[c.name for c in ...]) those whose values are in the change, and no others",
    )
    says = edit.null or bool(edit.notes)
    yield judged(
        "changes something, or says why not",
        bool(edit.components) or says,
        expected="values, or a note",
        found=f"components: {len(edit.components)}" if edit.components else "a note" if says else "neither",
        why="a run without an effect must say what stood in its way",
        fix='Edit(change=Weights(), notes=["no step kept the floors"], ...) where no step helps',
    )


def _not_owned(edit: Edit, family: Family) -> list[str]:
    """Return components that did not move, and tensors that moved outside of those that are named."""
    every = (c for g in Granularity for c in family.components(g, Towers.BOTH, True))
    known: dict[str, Component] = {c.name: c for c in (*family.tensors(), *every)}
    values = edit.values
    held = {n: parameters(family)[n].to(family.storage_dtype(n)) for n in values}
    owned = {n: torch.zeros_like(v, dtype=torch.bool) for n, v in held.items()}
    wrong = [n for n in edit.components if n not in known or not set(known[n].params) <= set(values)]
    for component in (known[n] for n in edit.components if n not in wrong):
        for part in component.views(owned):
            part.fill_(True)
        now = zip(component.views(values), component.views(held), strict=True)
        if all(torch.equal(new.to(old), old) for new, old in now):
            wrong.append(component.name)
    return wrong + [n for n, m in owned.items() if not torch.equal(values[n].to(held[n])[~m], held[n][~m])]


def _same(first: Edit, again: Edit) -> Check:
    return judged(
        "the same seed gives the same edit",
        _equal(first, again),
        expected="equal tensors",
        found="equal" if _equal(first, again) else "others",
        why="a run could not be done again",
        fix="draw from lab.generator() alone",
    )


def _another_seed(method: Method, first: Edit, other: Edit) -> Check:
    differs = not _equal(first, other)
    return judged(
        SEEDED,
        differs is method.stochastic,
        expected=f"stochastic = {method.stochastic}",
        found="another edit" if differs else "the same edit",
        why="runs with several seeds would be taken for what they are not",
        fix=f"stochastic: ClassVar[bool] = {differs}",
    )


def _equal(first: Edit, other: Edit) -> bool:
    a, b = first.values, other.values
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def _stopped(method: Method, lab: Lab) -> Check:
    """Return the row of an edit that is stopped in a trial."""
    name, expected = "stopped half-way, the model is as it was", "the same"
    if BOARD not in method.needs:
        return skipped(name, "it needs no board, so there is no trial to stop it in", "nothing to do")
    board, asked = lab.board, 0

    def stopping(real: Callable[..., Any]) -> Callable[..., Any]:
        def trial(*words: Any, **more: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked > LET:
                raise StoppedHereError
            return real(*words, **more)

        return trial

    for verb in ("trial", "rescore"):
        setattr(board, verb, stopping(getattr(board, verb)))
    before = _bits(lab.family)
    try:
        method.edit(lab)
    except StoppedHereError:
        moved = _different(before, _bits(lab.family))
    else:
        return skipped(name, f"it made {asked} trials", "nothing to do")
    return judged(
        name,
        not moved,
        expected=expected,
        found=_some(moved) or expected,
        why="the next edit in this process would begin from other weights",
        fix=OUTSIDE,
    )
