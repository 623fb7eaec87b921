"""`data=standin`: pictures rendered at run time, which the stand-in was trained on the like of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import CoarseText, DataKind
from razor_cli.data.kinds.refusals import (
    PHOTOGRAPHS,
    SHARDS,
    check_aliases,
    jointly_only,
    not_there,
    repeated,
)
from razor_cli.data.kinds.sized import Sized
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.fine_grained import FineRequest
    from razor_cli.data.sets import ConceptSets


@dataclass(frozen=True, kw_only=True)
class StandIn(Sized):
    """Portraits or emoji, as the scenario says."""

    kind: ClassVar[DataKind] = DataKind.STANDIN
    listed_beforehand: ClassVar[bool] = True
    several: ClassVar[bool] = True  # concepts may go in one run
    photographs: ClassVar[bool] = True  # the stand-in knows some: CIFAR-10's are kept and measured

    cifar_root: Path | None = None  # null: where `razor data prepare cifar10` puts it
    aliases: list[str] = field(default_factory=list)  # other names of the target
    forget: list[str] = field(default_factory=list)  # fine concepts that go together; empty: target's
    coarse_text: CoarseText = CoarseText.MEMBERS  # how text says a coarse label
    n_forget: int = 60
    n_retain: int = 512
    n_validation_forget: int = 80
    n_validation_retain: int = 320
    n_evaluation_forget: int = 120
    n_evaluation_retain: int = 600
    n_suite: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        check_aliases(self.aliases)

    def label(self, pictures: str) -> str:
        """Return which source shows the target."""
        return pictures

    def untaught(self, pictures: str, stand_in: bool) -> bool:
        """Tell whether a model was never shown such pictures: faces of persons whom only a stand-in knows."""
        return pictures == "portraits" and not stand_in

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield what these pictures cannot show, and folders that are not there."""
        if self.untaught(ask.pictures, ask.stand_in):
            yield _unknown_faces(ask)
        elif ask.pictures == "cifar10":
            yield ConfigError(
                f"scenario={ask.scenario} with data=standin: that draws portraits and emoji, no photographs",
                allowed=f"data=cifar10, {PHOTOGRAPHS}, {SHARDS}",
                found="data=standin",
                fix="data=cifar10",
            )
        yield from not_there({"cifar_root": self.cifar_root})
        yield from jointly_only(self.forget, ask)
        yield from repeated(self.aliases, ask)

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of one target, or with a taxonomy those of several that go together."""
        from razor_cli.data.embedded import EmbeddedRequest, embedded_sets
        from razor_cli.data.fine_grained import fine_sets
        from razor_cli.data.sources.cifar10 import at_hand

        if ask.taxonomy:
            return ask.judged(fine_sets(self._fine(ask)))
        asked = EmbeddedRequest(
            pictures=ask.pictures,
            target=ask.target,
            joint=ask.targets,
            gone=ask.gone,
            domain=ask.domain,
            aliases=tuple(self.aliases),
            cifar=at_hand(self.cifar_root) if self.photographs else None,
            photographs=self.photographs,
            suites=ask.suites,
            sizes=self.sizes(ask),
            stand_in=ask.stand_in,
            seed=self.seed_of(ask),
        )
        return ask.judged(embedded_sets(asked))

    def difficulty(self, ask: Ask) -> tuple[Mapping[str, str], dict[str, float]]:
        """Return every concept's parent, and how sure the model is of it on validation pictures."""
        from razor_cli.data.fine_grained import embedded, fine_confidence

        return embedded(ask.pictures).parents, fine_confidence(self._fine(ask))

    def _fine(self, ask: Ask) -> FineRequest:
        from razor_cli.data.fine_grained import FineRequest
        from razor_cli.data.sources.cifar10 import at_hand

        return FineRequest(
            pictures=ask.pictures,
            domain=ask.domain,
            target=ask.target,
            forget=tuple(self.forget),
            called=ask.called,
            coarse_text=self.coarse_text,
            sizes=self.sizes(ask),
            suites=ask.suites,
            cifar=at_hand(self.cifar_root),
            seed=self.seed_of(ask),
            confidence=ask.confidence,
        )


def _unknown_faces(ask: Ask) -> ConfigError:
    return ConfigError(
        f"model={ask.model} scenario={ask.scenario} has no pictures: only the stand-in knows what "
        "data=standin draws",
        allowed=f"{PHOTOGRAPHS}, {SHARDS}",
        found="data=standin",
        fix=(
            "one of\n"
            "    your photographs: data=folder data.root=DIR, 12 or more in DIR/<target>/; what must "
            "keep working comes from\n"
            "      data.retain_root=DIR, or from CIFAR-10 fetched once by `razor data prepare cifar10`\n"
            "      (in an experiment with a grid: data.root=DIR alone)\n"
            "    captioned shards: data=webdataset data.root=DIR\n"
            "    with weights from: model.weights=FILE_OR_TAG\n"
            "    the stand-in, which needs neither: model=clip_tiny data=standin"
        ),
    )
