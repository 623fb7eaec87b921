"""Full evaluation of a model's states on the evaluation set, each under each quantization."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from razor_cli.config.quantization import Quantization
from razor_cli.contract.budget import give_back
from razor_cli.contract.components import parameters
from razor_cli.contract.family import WEIGHTS, Change, Exam, Family, Say
from razor_cli.contract.place import Key
from razor_cli.engine.lab import unedited
from razor_cli.engine.taken_over import Remembering
from razor_cli.weights.quantization import quantized
from razor_cli.weights.scope import quantized_names

BASE, CONTROL, EDIT = "base", "control", "edit"  # states of every run


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """One model and its exam; `hashes` names the states that are other models, all of whose
    tensors differ.
    """

    family: Family
    exam: Exam
    settings: Quantization
    hashes: Mapping[str, str] = field(default_factory=dict)
    say: Say = lambda _: None

    def states(
        self,
        changes: Mapping[str, Change],
        schemes: Sequence[str] | None = None,
        whole: Collection[str] = (),
    ) -> Iterator[tuple[Key, Any]]:
        """Yield every (state, scheme) with what the model answered there.

        `changes` maps a state to its change; every state quantizes the same tensors, those that any state
        changes included, but for other models, which change all. Each state starts from the full-precision
        weights: apply first, then quantize. States among `whole` are measured in full precision alone.
        """
        live = parameters(self.family)
        own = {n for state, c in changes.items() if state not in self.hashes for n in c.tensors()}
        edited = sorted(own & live.keys())
        for scheme in self.settings.schemes if schemes is None else schemes:
            for state, change in changes.items():
                if state in whole and scheme != "none":
                    continue
                self.say(f"evaluating {state}" + (f" at {scheme}" if scheme != "none" else ""))
                key = self._key(state, scheme, edited)  # names are those of the layers before any is replaced
                with ExitStack() as stack:
                    stack.enter_context(change.held(self.family))
                    stack.enter_context(quantized(self.family, scheme, self.settings, edited))
                    found = self._measured(change, key, keep=scheme == "none")
                give_back()  # what a quantized state held
                yield (state, scheme), found

    def _measured(self, change: Change, key: Mapping[str, object] | None, *, keep: bool) -> Any:
        """Return what the exam finds. A change that is no new weights acts where no hash of them sees it: its
        state takes nothing over from others, nor they from it.
        """
        apart = self.exam if change.kind != WEIGHTS and isinstance(self.exam, Remembering) else None
        if apart is not None:
            apart.forget()
        try:
            return self.exam.measure(key, keep=keep)
        finally:
            if apart is not None:
                apart.forget()

    def _key(self, state: str, scheme: str, edited: Sequence[str]) -> dict[str, object] | None:
        """Return what a whole model's answers depend on beside the exam; the edit does, if it widens what is
        quantized. None for an edit, whose answers nobody asks for twice.
        """
        weights = self.family.weights_hash() if state == BASE else self.hashes.get(state)
        if weights is None:
            return None
        s, names = self.settings, []
        if scheme != "none":
            names = quantized_names(
                self.family, edited, s.scope, patch_conv=s.patch_conv, projections=s.projections, vae=s.vae
            )
        return unedited(self.family, weights) | {
            "scheme": scheme,
            "settings": asdict(s) if scheme != "none" else None,
            "names": names,
        }
