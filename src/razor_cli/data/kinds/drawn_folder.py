"""`data=folder` for a model that draws: pictures of the target in a folder, and what must stay elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import DataKind
from razor_cli.data.kinds.drawn import NO_PICTURES
from razor_cli.data.kinds.refusals import no_root, not_there, nothing_in, rooted
from razor_cli.data.kinds.unlearncanvas import PER_TARGET
from razor_cli.data.kinds.worded import Worded
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.shots import DrawnSets


@dataclass(frozen=True, kw_only=True)
class DrawnFolder(Worded):
    """A folder of pictures called like the target; others beside it, shards or a canvas are kept."""

    kind: ClassVar[DataKind] = DataKind.FOLDER
    listed_beforehand: ClassVar[bool] = False

    root: Path | None = None  # DIR/<target>/*.jpg, with captions in .txt files where there are any
    retain_root: Path | None = None  # captioned shards, UnlearnCanvas, or a folder per concept
    keyword: str | None = None  # what retain captions must not hold, beside the target's names
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
        """How many pictures each set takes at most, for the largest kind of target."""
        if self.n_forget is not None:
            return super().at_most
        return replace(self, n_forget=max(PER_TARGET.values())).at_most

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield folders that are not there or not named, and names and templates that do not fit."""
        yield from not_there({"root": self.root, "retain_root": self.retain_root})
        if self.root is None:
            yield no_root(self.kind, NO_PICTURES)
        elif self.root.is_dir() and not any(self.root.iterdir()):
            yield nothing_in(self.root)
        elif (
            self.root.is_dir()
            and self.retain_root is None
            and sum(p.is_dir() for p in self.root.iterdir()) < 2
        ):
            yield ConfigError(
                "data.retain_root is needed: data.root shows nothing besides the target",
                allowed="captioned shards of img2dataset, UnlearnCanvas, or a folder per concept",
                found="null",
                fix="data.retain_root=DIR, or data=generated, which draws what must stay with the model",
            )
        yield from self.wording_problems(ask)

    def sets(self, ask: Ask) -> DrawnSets:
        """Return the sets of a target whose pictures lie in a folder called like it."""
        from razor_cli.data.assemble import unlike
        from razor_cli.data.drawn_folder_sets import Kept, folder_sets
        from razor_cli.data.sources.folder import Folder

        folder = Folder(rooted(self.root, self.kind))
        names = (ask.target, *self.aliases)
        beside = unlike(folder.concepts(), names)
        wanted = PER_TARGET.get(ask.axis, PER_TARGET["style"]) if self.n_forget is None else self.n_forget
        own = replace(self, n_forget=wanted)
        labels = self.labels(ask, beside if self.retain_root is None else ())
        plan, notes = own.plan(ask, labels, self.words(ask), aliases=tuple(self.aliases))
        kept = Kept(
            retain_root=self.retain_root,
            keywords=(*names, self.keyword) if self.keyword else names,
            min_forget=self.min_forget,
            max_corrupt=self.max_corrupt,
        )
        return folder_sets(plan, folder, names, kept, notes)
