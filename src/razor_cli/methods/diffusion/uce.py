"""UCE: unified concept editing, a closed form for the matrices that read a prompt (WACV 2024; reference code
rohitgandikota/unified-concept-editing).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.family import DENOISER
from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.choices import Solver, Technique, TokenRows
from razor_cli.methods.diffusion.wording import check_templates, names_of, paired_texts, spread

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.data.shots import DrawnSets
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.closed_form import ClosedForm
    from razor_cli.methods.diffusion.token_rows import Encoded

KEYS = ("to_k", "add_k_proj")
ENTERS_POOLED = ".text_embedder."  # in the name of the matrix that reads the vector of the whole prompt
TOKENS, POOLED = "tokens", "pooled"
LEAST_PRESERVE = 0.1  # of preserve_scale=null


@dataclass(frozen=True, kw_only=True)
class Uce:
    """Hyper-parameters of UCE; each knob is explained in conf/method/uce.yaml."""

    needs: ClassVar[frozenset[str]] = frozenset({DENOISER})
    stochastic: ClassVar[bool] = False

    name: str = "uce"  # label in tables and folder of the runs
    concepts: dict[str, list[str]] = field(default_factory=dict)  # kind -> templates; none: the sets' own
    anchor: str | None = None  # None: the anchor of the sets
    technique: Technique = Technique.REPLACE
    rows: TokenRows = TokenRows.LAST
    preserve: int | None = None  # None: all retain prompts of the sets
    preserve_empty: bool = False
    preserve_rows: TokenRows = TokenRows.LAST
    lamb: float = 0.5
    erase_scale: float = 1.0
    preserve_scale: float | None = 1.0  # None: 1 / number of prompts, at least 0.1
    with_to_k: bool = True
    solver: Solver = Solver.AUTO

    def __post_init__(self) -> None:
        check_templates("concepts", self.concepts)
        ranges = {"erase_scale": self.erase_scale, "preserve_scale": self.preserve_scale}
        for name, value in ranges.items():
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"method.{name}: {value} is out of range", allowed="0 or more")
        if not 0 < self.lamb < math.inf:
            raise ConfigError(f"method.lamb: {self.lamb} is out of range", allowed="above 0")
        if self.preserve is not None and self.preserve < 0:
            raise ConfigError(
                f"method.preserve: {self.preserve} is out of range", allowed="0 or more, or null"
            )

    def edit(self, lab: Lab) -> Edit:
        """Solve for every matrix that reads the prompt; nothing is trained and nothing is searched."""
        import torch

        from razor_cli.engine.changes import Weights

        with lab.timed(), torch.no_grad():
            names = self._matrices(lab)
            kept = self._kept(lab.sets)
            own, instead = paired_texts("concepts", self.concepts, self.anchor, lab.sets)
            values, log = self._solved(lab, names, own, instead, kept)
        return Edit(
            change=Weights(values=values),
            components=list(values),
            log=log,
            cost=lab.cost,
            notes=[f"{len(own)} prompts erased towards {instead[0]!r}, {len(kept)} preserved"],
        )

    def _matrices(self, lab: Lab) -> list[str]:
        """Return the matrices that are solved for: entries of the text, keys among them or not."""
        from razor_cli.families.diffusion.groups import TEXT_IN, XATTN_KV, group_names

        family = cast("Diffusion", lab.family)
        group = TEXT_IN if TEXT_IN in group_names(family.denoiser.kind) else XATTN_KV
        live = parameters(family)
        names = [n for n in family.groups(group) if live[n].ndim == 2]
        return [n for n in names if self.with_to_k or not any(k in n for k in KEYS)]

    def _kept(self, sets: DrawnSets) -> list[str]:
        empty = [""] if self.preserve_empty else []
        return [*dict.fromkeys([*spread(sets.retain_prompts, self.preserve), *empty])]

    def _solved(
        self, lab: Lab, names: list[str], own: list[str], instead: list[str], kept: list[str]
    ) -> tuple[dict[str, Tensor], list[Event]]:
        from razor_cli.methods.diffusion.closed_form import projected, replaced
        from razor_cli.methods.diffusion.token_rows import encoded

        family = lab.family
        live, forms = parameters(family), _Forms(self, lab, encoded(lab, own), encoded(lab, instead))
        forms.keep(kept)
        values, log = {}, []
        for number, name in enumerate(names):
            started, weight = time.perf_counter(), live[name]
            form, other = forms.of(name, weight)
            if self.technique is Technique.REPLACE:
                wanted = replaced(weight, other)
            else:
                wanted = projected(weight, form.rows, other)
            moved = form.edited(weight, wanted).to(family.storage_dtype(name))
            values[name] = moved
            lab.say(f"solved {number + 1} of {len(names)} matrices")
            change = float((moved.double() - weight.double()).norm() / weight.double().norm())
            log.append(
                Event(
                    step=number,
                    action="apply",
                    component=name,
                    kind="tensor",
                    relative_step=change,
                    seconds=time.perf_counter() - started,
                )
            )
        return values, log


class _Forms:
    """The closed form for each kind of input: token rows, and the pooled vector where a model reads one."""

    def __init__(self, method: Uce, lab: Lab, own: Encoded, other: Encoded) -> None:
        self.method, self.lab, self.own, self.other = method, lab, own, other
        self.found: dict[str, tuple[ClosedForm, Tensor]] = {}

    def keep(self, prompts: list[str]) -> None:
        """Build the forms against what these prompts give."""
        import torch

        from razor_cli.families.diffusion.segments import segments
        from razor_cli.methods.diffusion.token_rows import encoded, kept_rows, paired_rows

        method, own, other = self.method, self.own, self.other
        parts = segments(cast("Diffusion", self.lab.family).denoiser, own.tokens.shape[1])
        word = method.anchor or ""
        rows = paired_rows(own, other, parts, method.rows, names_of(self.lab.sets), word)
        width = own.tokens.shape[2]
        kept = torch.zeros(0, width)
        pooled = None if own.pooled is None else torch.zeros(0, own.pooled.shape[1])
        if prompts:
            found = encoded(self.lab, prompts)
            kept = kept_rows(found, parts, method.preserve_rows)
            pooled = found.pooled
        count = max(1, len(prompts))
        self.found[TOKENS] = self._form(*rows, kept, count)
        if own.pooled is not None and other.pooled is not None and pooled is not None:
            self.found[POOLED] = self._form(own.pooled, other.pooled, pooled, count)

    def _form(self, own: Tensor, other: Tensor, kept: Tensor, count: int) -> tuple[ClosedForm, Tensor]:
        from razor_cli.methods.diffusion.closed_form import ClosedForm

        m, device = self.method, self.lab.family.device
        scale = max(LEAST_PRESERVE, 1 / count) if m.preserve_scale is None else m.preserve_scale
        form = ClosedForm(
            own.to(device),
            kept.to(device),
            lamb=m.lamb,
            erase_scale=m.erase_scale,
            preserve_scale=scale,
            solver=m.solver,
        )
        return form, other.to(device)

    def of(self, name: str, weight: Tensor) -> tuple[ClosedForm, Tensor]:
        """Return the form of a matrix's input, and the anchor's rows. Raises ConfigError for a matrix that
        reads something else.
        """
        form, instead = self.found[POOLED if ENTERS_POOLED in name else TOKENS]
        if weight.shape[1] != instead.shape[1]:
            raise ConfigError(
                f"method=uce: {name} does not read a prompt's context as it is",
                allowed=f"a matrix with {instead.shape[1]} columns",
                found=f"{weight.shape[1]} columns",
            )
        return form, instead
