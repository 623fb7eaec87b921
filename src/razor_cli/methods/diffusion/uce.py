"""UCE: unified concept editing, a closed form for the matrices that read a prompt."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit, Event
from razor_cli.methods.diffusion.choices import Technique
from razor_cli.methods.diffusion.uce_settings import UceSettings
from razor_cli.methods.diffusion.wording import paired_texts, spread

if TYPE_CHECKING:
    from razor_cli.contract.family import Named
    from razor_cli.data.shots import DrawnSets
    from razor_cli.engine.lab import Lab
    from razor_cli.methods.diffusion.entries import Inputs


@dataclass(frozen=True, kw_only=True)
class Uce(UceSettings):
    """UCE with its settings."""

    def edit(self, lab: Lab) -> Edit:
        """Solve for every matrix that reads the prompt; nothing is trained and nothing is searched."""
        import torch

        from razor_cli.engine.changes import Weights
        from razor_cli.methods.diffusion.entries import inputs, matrices

        with lab.timed(), torch.no_grad():
            live, kept = parameters(lab.family), self._kept(lab.sets)
            weights = {n: live[n] for n in matrices(lab, self.with_to_k)}
            own, instead = paired_texts("concepts", self.concepts, self.anchor, lab.sets)
            rows = inputs(self, lab, own, instead, kept)
            started = time.perf_counter()
            found = self.moved(lab, weights, rows)
            seconds = (time.perf_counter() - started) / len(weights)
            values = {n: w.to(lab.family.storage_dtype(n)) for n, w in found.items()}
        return Edit(
            change=Weights(values=values),
            components=list(values),
            log=_log(weights, values, seconds),
            cost=lab.cost,
            notes=[f"{len(own)} prompts erased towards {instead[0]!r}, {len(kept)} preserved"],
        )

    def moved(self, lab: Lab, weights: Named, rows: Inputs) -> Named:
        """Return the new matrices in fp64."""
        return self.solved(lab, weights, rows)

    def solved(self, lab: Lab, weights: Named, rows: Inputs) -> Named:
        """Return the solution for every matrix in fp64."""
        from razor_cli.methods.diffusion.closed_form import projected, replaced
        from razor_cli.methods.diffusion.entries import input_of

        forms = {kind: part.form(self) for kind, part in rows.items()}
        found = {}
        for number, (name, weight) in enumerate(weights.items()):
            kind = input_of(name, weight, rows)
            form, other = forms[kind], rows[kind].other
            replace = self.technique is Technique.REPLACE
            wanted = replaced(weight, other) if replace else projected(weight, form.rows, other)
            found[name] = form.edited(weight, wanted)
            lab.say(f"solved {number + 1} of {len(weights)} matrices")
        return found

    def _kept(self, sets: DrawnSets) -> list[str]:
        empty = [""] if self.preserve_empty else []
        return [*dict.fromkeys([*spread(sets.retain_prompts, self.preserve), *empty])]


def _log(weights: Named, values: Named, seconds: float) -> list[Event]:
    """Return an entry for each matrix: how far it moved, by its own norm."""
    return [
        Event(
            step=number,
            action="apply",
            component=name,
            kind="tensor",
            relative_step=float(
                (value.double() - weights[name].double()).norm() / weights[name].double().norm()
            ),
            seconds=seconds,
        )
        for number, (name, value) in enumerate(values.items())
    ]
