"""SHS (Scissorhands): draw the weights anew that matter most to the target, and recover the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.diffusion.shs_settings import ShsSettings

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Shs(ShsSettings):
    """Scissorhands with its settings."""

    def edit(self, lab: Lab) -> Edit:
        """Trim the net, then train what is left of it."""
        from razor_cli.engine.train import train
        from razor_cli.methods.diffusion.relearning import Lessons
        from razor_cli.methods.diffusion.shs_recovery import Recovery
        from razor_cli.methods.diffusion.shs_trim import trim

        with lab.timed():
            lessons = Lessons(lab, self)
            trimmed = trim(lessons, self)
            edit = train(lab, self, Recovery(lessons, self, trimmed))
        edit.notes.append(trimmed.told())
        return edit
