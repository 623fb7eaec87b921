"""RAZOR: ratio-aware, multi-component, one-shot editing (arXiv 2603.14819)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.razor_settings import RazorSettings

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Razor(RazorSettings):
    """RAZOR; each knob is explained in conf/method/razor.yaml.

    Raises ConfigError for a value out of range, with its full key.
    """

    def edit(self, lab: Lab) -> Edit:
        """Select, blend, search and grow until the Target is met on validation data; return the changed
        tensors.
        """
        from razor_cli.methods.razor_loop import Loop

        return Loop(self, lab).run()
