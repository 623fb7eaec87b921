"""`data=cifar10`: the ten classes of CIFAR-10."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import DataKind
from razor_cli.data.kinds.refusals import check_aliases, no_labels, not_there, only_objects, repeated
from razor_cli.data.kinds.sized import Sized
from razor_cli.data.prepared import prepared
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.sets import ConceptSets


@dataclass(frozen=True, kw_only=True)
class Cifar10(Sized):
    """Real photographs of ten classes, fetched once or read from a folder."""

    kind: ClassVar[DataKind] = DataKind.CIFAR10
    listed_beforehand: ClassVar[bool] = True
    several: ClassVar[bool] = True  # concepts may go in one run

    cifar_root: Path | None = None  # null: where `razor data prepare cifar10` puts it
    aliases: list[str] = field(default_factory=list)  # other names of the target
    n_forget: int = 400
    n_retain: int = 900
    n_validation_forget: int = 100
    n_validation_retain: int = 200
    n_evaluation_forget: int = 1000
    n_evaluation_retain: int = 1800

    def __post_init__(self) -> None:
        super().__post_init__()
        check_aliases(self.aliases)

    def label(self, pictures: str) -> str:
        """Return the kind."""
        return self.kind.value

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield what CIFAR-10 cannot show, and that it is not here."""
        yield from only_objects(self.kind, ask, classes="CIFAR-10 has ten classes", example="dog")
        yield from not_there({"cifar_root": self.cifar_root})
        if self.cifar_root is None and not prepared("cifar10").is_dir():
            yield ConfigError(
                f"data.cifar_root is needed by data=cifar10 (scenario={ask.scenario})",
                allowed="a folder with CIFAR-10's parquet or binary files",
                found="null",
                fix="run `razor data prepare cifar10` once, or add data.cifar_root=DIR",
            )
        yield from no_labels(self.kind, ask)
        yield from repeated(self.aliases, ask)

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of one class."""
        from razor_cli.data.embedded import EmbeddedRequest, embedded_sets
        from razor_cli.data.sources.cifar10 import at_hand

        asked = EmbeddedRequest(
            pictures=self.kind.value,
            target=ask.target,
            joint=ask.targets,
            gone=ask.gone,
            domain=ask.domain,
            aliases=tuple(self.aliases),
            cifar=at_hand(self.cifar_root),
            suites=ask.suites,
            sizes=self.sizes(ask),
            stand_in=ask.stand_in,
            seed=self.seed_of(ask),
        )
        return ask.judged(embedded_sets(asked))
