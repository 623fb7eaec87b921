"""`data=unlearncanvas`: the benchmark of objects in styles, from its folders or its parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import DataKind, SeedPrompt, Styles
from razor_cli.data.kinds.drawn import NO_PICTURES, Drawn, Labels, only_axes, with_cells
from razor_cli.data.kinds.refusals import no_root, not_there, rooted
from razor_cli.data.wording import CELL, CROSSED, Words, Written, canvas_words, shipped
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.shots import DrawnSets

PER_TARGET = {"style": 400, "object": 1200}  # forget pairs of the paper, where there are so many
SEED_IMAGES = "Seed_Images"


@dataclass(frozen=True, kw_only=True)
class UnlearnCanvas(Drawn):
    """Twenty objects in fifty or sixty styles, and as photographs."""

    kind: ClassVar[DataKind] = DataKind.UNLEARNCANVAS
    several: ClassVar[bool] = True  # concepts may go in one run
    listed_beforehand: ClassVar[bool] = False

    root: Path | None = None  # <style>/<object>/*.jpg, or parquet files
    styles: Styles = Styles.BENCH50
    seed_images: bool = True  # photographs are one more theme
    seed_prompt: SeedPrompt = SeedPrompt.PHOTO
    n_forget: int | None = None  # type: ignore[assignment]  # null: 400 of a style, 1,200 of an object
    n_retain: int = 7900
    min_forget: int = 12
    max_corrupt: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_forget < 1:
            raise ConfigError("data.min_forget must be at least 1", allowed=">= 1", found=self.min_forget)
        if not 0 <= self.max_corrupt < 1:
            raise ConfigError("data.max_corrupt is out of range", allowed="[0, 1)", found=self.max_corrupt)

    @property
    def at_most(self) -> dict[str, int]:
        """How many pictures each set takes at most, for the larger of both kinds of target."""
        if self.n_forget is not None:
            return super().at_most
        return replace(self, n_forget=max(PER_TARGET.values())).at_most

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield what the benchmark does not show, and a folder that is not there."""
        yield from only_axes(
            self.kind, (*CROSSED, CELL), ask, f"scenario=style data={self.kind} target='Van Gogh'"
        )
        yield from not_there({"root": self.root})
        if self.root is None:
            yield no_root(self.kind, NO_PICTURES)
        if ask.axis in (*CROSSED, CELL):
            yield from self.named_wrongly(ask, with_cells(self.labels(), ask.axis))

    def labels(self) -> Labels:
        """Return the names of styles and objects, as the benchmark spells them."""
        return canvas_names(self.styles, photographs=self.seed_images)

    def words(self) -> Words:
        """Return the benchmark's sentences."""
        called = "Photo" if self.seed_prompt is SeedPrompt.PHOTO else "Seed Images"
        return replace(
            canvas_words(),
            written=dict.fromkeys(CROSSED, Written.SPACED),
            spelling={SEED_IMAGES: called},
            neutral=canvas_words().neutral[:5] + tuple(shipped()["neutral"]),
        )

    def sets(self, ask: Ask) -> DrawnSets:
        """Return the sets of one style or object."""
        from razor_cli.data.cell_sets import Limits, cell_sets
        from razor_cli.data.sources.unlearncanvas import UnlearnCanvas as Source

        wanted = PER_TARGET.get(ask.axis, 400) if self.n_forget is None else self.n_forget
        labels = self.labels()
        plan, notes = replace(self, n_forget=wanted).plan(ask, with_cells(labels, ask.axis), self.words())
        source = Source(rooted(self.root, self.kind), labels["style"], labels["object"])
        limits = Limits(min_forget=self.min_forget, max_corrupt=self.max_corrupt)
        return cell_sets(plan, source, limits, notes)


def canvas_names(styles: Styles, *, photographs: bool) -> dict[str, tuple[str, ...]]:
    """Return the benchmark's names in the order of its labels: photographs stand between Rust and Sketch."""
    lists = shipped()["canvas"]
    beyond = set(lists["beyond_the_benchmark"]) if styles is Styles.BENCH50 else set()
    names = [s for s in lists["styles"] if s not in beyond]
    if photographs:
        names.insert(names.index("Sketch"), SEED_IMAGES)
    return {"style": tuple(names), "object": tuple(lists["objects"])}
