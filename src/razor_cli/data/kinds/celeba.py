"""`data=celeba`: photographs of the names of CelebA, as the tables of RAZOR on LLaVA forget them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import DataKind
from razor_cli.data.kinds.refusals import check_aliases, no_labels, not_there, repeated
from razor_cli.data.kinds.sized import Photographs
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.sets import ConceptSets

PERSON = "person"


@dataclass(frozen=True, kw_only=True)
class CelebANames(Photographs):
    """One name of CelebA, and the hundred most frequent others."""

    kind: ClassVar[DataKind] = DataKind.CELEBA
    listed_beforehand: ClassVar[bool] = False

    celeba_root: Path | None = None  # list_identity_celeba.txt, and img_align_celeba/ beside it
    aliases: list[str] = field(default_factory=list)  # other names of the target
    n_forget: int = 20
    n_retain: int = 900
    n_validation_forget: int = 20
    n_validation_retain: int = 400
    n_evaluation_forget: int = 40
    n_evaluation_retain: int = 600
    n_suite: int = field(default=300, init=False)  # there is no unrelated task beside it

    def __post_init__(self) -> None:
        super().__post_init__()
        check_aliases(self.aliases)

    def label(self, pictures: str) -> str:
        """Return the kind."""
        return self.kind.value

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield what CelebA cannot show, and that it is not here."""
        if ask.domain != PERSON:
            yield ConfigError(
                f"data=celeba shows persons, and scenario={ask.scenario} is about the domain {ask.domain}",
                allowed="scenario=identity",
                found=f"scenario={ask.scenario}",
            )
        if self.celeba_root is None:
            yield ConfigError(
                "data.celeba_root is needed by data=celeba",
                allowed="a folder with list_identity_celeba.txt and img_align_celeba/",
                found="null",
                fix="data.celeba_root=DIR; the stand-in needs no pictures: data=standin",
            )
        yield from not_there({"celeba_root": self.celeba_root})
        yield from no_labels(self.kind, ask)
        yield from repeated(self.aliases, ask)

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of one name."""
        from razor_cli.data.celeba_sets import CelebARequest, celeba_sets

        assert self.celeba_root is not None
        asked = CelebARequest(
            target=ask.target,
            aliases=tuple(self.aliases),
            root=self.celeba_root,
            sizes=self.sizes(ask),
            max_corrupt=self.max_corrupt,
            min_forget=self.min_forget,
            seed=self.seed_of(ask),
        )
        return ask.judged(celeba_sets(asked))
