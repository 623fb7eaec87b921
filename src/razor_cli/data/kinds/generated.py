"""`data=generated`: no pictures at all; the unedited model draws what an edit is computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import DataKind
from razor_cli.data.kinds.worded import Worded
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.shots import DrawnSets

MOST_STEPS = 1000  # as many timesteps as these models were trained with


@dataclass(frozen=True, kw_only=True)
class Generated(Worded):
    """Pictures of the target, of other names and of neutral captions, as the model itself draws them."""

    kind: ClassVar[DataKind] = DataKind.GENERATED
    several: ClassVar[bool] = True  # concepts may go in one run

    n_forget: int = 64
    n_retain: int = 96
    steps: int = 20  # of the sampler, for these pictures
    guidance: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.steps <= MOST_STEPS:
            raise ConfigError("data.steps is out of range", allowed=f"1 to {MOST_STEPS}", found=self.steps)
        if not 0 <= self.guidance <= 50:
            raise ConfigError("data.guidance is out of range", allowed="0 to 50", found=self.guidance)

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield names and templates that do not fit."""
        yield from self.wording_problems(ask)

    def sets(self, ask: Ask) -> DrawnSets:
        """Return the sets of one target; pictures are drawn when they are first looked at."""
        from razor_cli.data.generated_sets import generated_sets
        from razor_cli.data.sources.generated import GeneratedPictures

        plan, notes = self.plan(ask, self.labels(ask), self.words(ask), aliases=tuple(self.aliases))
        source = GeneratedPictures(ask.draw, steps=self.steps, guidance=self.guidance)
        return generated_sets(plan, source, notes)
