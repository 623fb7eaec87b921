"""What every kind of data is asked: how many pictures each set takes, and which."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from razor_cli.data.ask import Ask
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.sampling import Sizes


@dataclass(frozen=True, kw_only=True)
class Sized:
    """How many pictures each set takes at most; too few are taken as they are."""

    n_forget: int = 4000
    n_retain: int = 7900
    n_validation_forget: int = 200
    n_validation_retain: int = 200
    n_evaluation_forget: int = 1000
    n_evaluation_retain: int = 1000
    n_suite: int = 300  # of each unrelated task
    seed: int | None = None  # which pictures go to which set; null: drawn anew for every run seed

    def __post_init__(self) -> None:
        for name, value in self.at_most.items():
            if value < 1:
                raise ConfigError(f"data.n_{name} must be at least 1", allowed=">= 1", found=value)

    @property
    def at_most(self) -> dict[str, int]:
        """How many pictures each set takes at most."""
        names = [f.name for f in fields(self) if f.name.startswith("n_")]
        return {n.removeprefix("n_"): getattr(self, n) for n in names}

    def sizes(self, ask: Ask) -> Sizes:
        """Return the sizes to draw; a run that is judged on validation pictures needs two halves of them."""
        from razor_cli.data.halves import doubled
        from razor_cli.data.sampling import Sizes

        sizes = Sizes(**self.at_most)
        return doubled(sizes) if ask.held_back else sizes

    def seed_of(self, ask: Ask) -> int:
        """Return the seed that draws the pictures."""
        return ask.seed if self.seed is None else self.seed


@dataclass(frozen=True, kw_only=True)
class Photographs(Sized):
    """Files of pictures, of which some may be damaged and some concepts may have few."""

    max_corrupt: float = 0.05  # share of unreadable pictures that stops the run, in [0, 1)
    min_forget: int = 12  # fewer pictures of the target cannot be split

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_forget < 3:
            raise ConfigError(
                "data.min_forget is too small: three sets need a picture each",
                allowed=">= 3",
                found=self.min_forget,
            )
        if not 0 <= self.max_corrupt < 1:
            raise ConfigError("data.max_corrupt is out of range", allowed="[0, 1)", found=self.max_corrupt)
