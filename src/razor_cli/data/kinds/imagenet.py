"""`data=imagenet`: a class of ImageNet-1K, forgotten from train and judged on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import DataKind, Templates
from razor_cli.data.kinds.refusals import (
    check_aliases,
    no_labels,
    no_root,
    not_there,
    only_objects,
    repeated,
    rooted,
)
from razor_cli.data.kinds.sized import Photographs
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.sets import ConceptSets


@dataclass(frozen=True, kw_only=True)
class ImageNet(Photographs):
    """ImageNet-1K, or some of its classes."""

    kind: ClassVar[DataKind] = DataKind.IMAGENET
    listed_beforehand: ClassVar[bool] = False

    root: Path | None = None  # parquet, or train/ and val/
    aliases: list[str] = field(default_factory=list)  # classes that are neither forgotten nor kept
    templates: Templates = Templates.OPENAI  # prompts of the classes
    n_forget: int = 1000
    n_validation_forget: int = 100
    n_validation_retain: int = 400
    n_evaluation_forget: int = 50
    n_evaluation_retain: int = 2500
    n_suite: int = 2500

    def __post_init__(self) -> None:
        super().__post_init__()
        check_aliases(self.aliases)

    def label(self, pictures: str) -> str:
        """Return the kind."""
        return self.kind.value

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield what ImageNet cannot show, and a folder that is not there or not named."""
        yield from only_objects(self.kind, ask, classes="ImageNet-1K has a thousand classes", example="tench")
        yield from not_there({"root": self.root})
        if self.root is None:
            yield no_root(self.kind)
        yield from no_labels(self.kind, ask)
        yield from repeated(self.aliases, ask)

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of one class."""
        from razor_cli.data.benchmarks import ImageNetRequest, imagenet_sets

        asked = ImageNetRequest(
            target=ask.target,
            aliases=tuple(self.aliases),
            root=rooted(self.root, self.kind),
            templates=self.templates,
            sizes=self.sizes(ask),
            max_corrupt=self.max_corrupt,
            min_forget=self.min_forget,
            seed=self.seed_of(ask),
        )
        return ask.judged(imagenet_sets(asked))
