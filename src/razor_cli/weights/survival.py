"""How much of an edit is left after 8- and 4-bit rounding, by tensor and as a whole: survival.csv of a run.

The claim it serves: methods that change the whole model a little suffer more from quantization than local
edits, because their changes are smaller than a rounding step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from razor_cli.config.quantization import Quantization
from razor_cli.contract.components import parameters
from razor_cli.contract.family import Family
from razor_cli.runs.records import EditedComponent
from razor_cli.runs.rows import table_csv
from razor_cli.weights.quantization import WeightChange, weight_report
from razor_cli.weights.scope import quantized_names

WHOLE = "(model)"  # the row of all parameters together
COLUMNS = (
    "scheme",
    "name",
    "weights",
    "moved",
    "weight_norm",
    "change_norm",
    "rel_update",
    "codes_changed",
    "cos_survive",
    "norm_ratio",
)


@dataclass(frozen=True, kw_only=True)
class Survival:
    """One row: a changed tensor, or the whole model. `codes_changed` is a share in [0, 1] of the codes in
    scope.
    """

    scheme: str  # none: the size of the edit alone
    name: str
    weights: int  # how many there are
    moved: int  # of them, those with another value than before
    weight_norm: float
    change_norm: float
    rel_update: float  # change_norm / weight_norm
    codes_changed: float | None = None
    cos_survive: float | None = None  # cosine between what is left and the edit
    norm_ratio: float | None = None  # norm of what is left over norm of the edit


def survival_of(family: Family, edit: Mapping[str, Tensor], settings: Quantization) -> list[Survival]:
    """Return per scheme a row for every changed matrix and one for the model; `edit` holds the new values."""
    if not edit:
        return []
    live = parameters(family)
    whole = _whole(live, edit)
    rows = [whole]
    transposed = family.quantizable().transposed
    for scheme in settings.schemes:
        report = weight_report({n: live[n] for n in edit}, edit, scheme, settings, transposed)
        if not report:
            continue
        rows += [_matrix(row, live[row.name], edit[row.name]) for row in report]
        scope = quantized_names(
            family,
            sorted(edit),
            settings.scope,
            patch_conv=settings.patch_conv,
            projections=settings.projections,
            vae=settings.vae,
        )
        codes = sum(live[name].numel() for name in scope)
        changed = sum(row.codes_changed * live[row.name].numel() for row in report)
        rows.append(Survival(**{**asdict(whole), "scheme": scheme, "codes_changed": changed / codes}))
    return rows


def _whole(live: Mapping[str, Tensor], edit: Mapping[str, Tensor]) -> Survival:
    weight = torch.stack([p.float().norm() for p in live.values()]).norm().item()
    change = (
        torch.stack([(new.float() - live[name].float()).norm() for name, new in edit.items()]).norm().item()
    )
    count = sum(p.numel() for p in live.values())
    moved = sum(_moved(live[name], new) for name, new in edit.items())
    return Survival(
        scheme="none",
        name=WHOLE,
        weights=count,
        moved=moved,
        weight_norm=weight,
        change_norm=change,
        rel_update=change / weight,
    )


def _moved(old: Tensor, new: Tensor) -> int:
    return int((new.float() != old.float()).sum())


def _matrix(row: WeightChange, weight: Tensor, new: Tensor) -> Survival:
    norm = weight.float().norm().item()
    return Survival(
        scheme=row.scheme,
        name=row.name,
        weights=weight.numel(),
        moved=_moved(weight, new),
        weight_norm=norm,
        change_norm=row.rel_update * norm,
        rel_update=row.rel_update,
        codes_changed=row.codes_changed,
        cos_survive=row.cos_survive,
        norm_ratio=row.norm_ratio,
    )


def survival_csv(rows: Sequence[Survival]) -> str:
    """Return the text of survival.csv; only the header for an edit that changes nothing."""
    return table_csv(COLUMNS, [asdict(row) for row in rows])


def survival_notes(rows: Sequence[Survival]) -> list[str]:
    """Return per scheme one sentence on the changed matrices, each counting the same."""
    notes = []
    for scheme in dict.fromkeys(r.scheme for r in rows if r.name != WHOLE):
        own = [r for r in rows if r.scheme == scheme and r.name != WHOLE]
        codes, cosine = (sum(getattr(r, k) for r in own) / len(own) for k in ("codes_changed", "cos_survive"))
        notes.append(
            f"{scheme}: {100 * codes:.1f} % of the codes of the edited matrices change, cosine to the "
            f"edit {cosine:.2f}"
        )
    return notes


def sized(
    parts: Sequence[EditedComponent], family: Family, values: Mapping[str, Tensor]
) -> list[EditedComponent]:
    """Return whole tensors with their tower and how far they moved, which a trained edit's log does not hold
    by tensor.
    """
    live, known = parameters(family), {c.name: c for c in family.tensors()}
    filled = []
    for logged in parts:
        part = logged
        if part.relative_step is None and part.name in values and part.name in known:
            old, new = live[part.name], values[part.name].to(live[part.name])
            size = float(old.norm())
            step = float((new - old).norm()) / size if size > 0 else None
            component = known[part.name]
            part = part.model_copy(
                update={"tower": component.tower, "kind": component.kind, "relative_step": step}
            )
        filled.append(part)
    return filled
