"""`data=standin` for a model that draws: icons, portraits and mascots that its stand-in was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import DataKind
from razor_cli.data.kinds.drawn import Drawn, Labels, with_cells
from razor_cli.data.wording import canvas_words
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.shots import DrawnSets


@dataclass(frozen=True, kw_only=True)
class CanvasStandIn(Drawn):
    """Objects in styles, people and mascots, rendered at run time."""

    kind: ClassVar[DataKind] = DataKind.STANDIN
    several: ClassVar[bool] = True  # concepts may go in one run

    anchor: str | None = "near"  # where no name is said the stand-in draws all in turn, the target too

    def label(self, pictures: str) -> str:
        """Return which pictures show the target."""
        return pictures

    def untaught(self, pictures: str, stand_in: bool) -> bool:
        """Tell whether a model was never shown such pictures, whatever they show."""
        return not stand_in

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield what the stand-in never saw."""
        if self.untaught(ask.pictures, ask.stand_in):
            yield ConfigError(
                f"model={ask.model} never saw what data=standin draws",
                allowed="data=generated, data=unlearncanvas data.root=DIR, data=folder data.root=DIR",
                found="data=standin",
                fix="data=generated needs no pictures; the stand-in knows these: model=sd_tiny data=standin",
            )
        yield from self.named_wrongly(ask, with_cells(_labels(), ask.axis))

    def sets(self, ask: Ask) -> DrawnSets:
        """Return the sets of one target."""
        from razor_cli.data.canvas_sets import canvas_sets, spared

        plan, notes = self.plan(ask, with_cells(_labels(), ask.axis), canvas_words(), spared=spared())
        return canvas_sets(plan, notes)


def _labels() -> Labels:
    from razor_cli.data.canvas_sets import labels

    return labels()
