"""`data=labelled`, and its presets for published data sets: photographs below a taxonomy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import CoarseText, LabelledKind
from razor_cli.data.kinds.refusals import jointly_only, no_root, not_there, rooted
from razor_cli.data.kinds.sized import Photographs
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.fine_labelled import LabelledRequest
    from razor_cli.data.sets import ConceptSets


@dataclass(frozen=True, kw_only=True)
class Labelled(Photographs):
    """Photographs with a fine and a coarse label each."""

    listed_beforehand: ClassVar[bool] = False

    kind: LabelledKind = LabelledKind.LABELLED  # how they are called in tables
    root: Path | None = None  # a folder per class, or a known layout
    forget: list[str] = field(default_factory=list)  # fine classes that go together; empty: target's
    coarse_text: CoarseText = CoarseText.NAMES  # how text says a coarse label
    taxonomy: Path | None = None  # who is whose parent; null: taxonomy.csv in root
    prompts: str | None = None  # published templates: ImgnetDogs or CompCars-S; null: four plain ones
    ood_root: Path | None = None  # labelled pictures of another distribution
    suite_roots: dict[str, Path] = field(default_factory=dict)  # zero-shot task -> its folder
    n_forget: int = 200  # forget sizes count for each class
    n_retain: int = 4000
    n_validation_forget: int = 20
    n_validation_retain: int = 500
    n_evaluation_forget: int = 50
    n_evaluation_retain: int = 4450
    n_suite: int = 2000

    def label(self, pictures: str) -> str:
        """Return what the pictures are called."""
        return self.kind.value

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield folders that are not there or not named, and a scenario that has no use for labels."""
        named = {"root": self.root, "taxonomy": self.taxonomy, "ood_root": self.ood_root}
        yield from not_there(named | {f"suite_roots.{name}": path for name, path in self.suite_roots.items()})
        if self.root is None:
            yield no_root(self.kind)
        if not ask.taxonomy:
            yield ConfigError(
                f"data={self.kind} has a taxonomy, and scenario={ask.scenario} forgets a single concept",
                allowed="scenario=fine_grained",
                found=f"scenario={ask.scenario}",
                fix="scenario=fine_grained, or data=folder for a folder per class",
            )
        yield from jointly_only(self.forget, ask)
        yield from self._no_templates()

    def _no_templates(self) -> Iterator[ConfigError]:
        from razor_cli.data.taxonomy import templates

        try:
            templates(self.prompts) if self.prompts else ()
        except ConfigError as error:
            yield error

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of several classes that go together."""
        from razor_cli.data.fine_labelled import labelled_sets

        return ask.judged(labelled_sets(self._request(ask)))

    def difficulty(self, ask: Ask) -> tuple[Mapping[str, str], dict[str, float]]:
        """Return every class's parent, and how sure the model is of it on validation pictures."""
        from razor_cli.data.fine_labelled import labelled_confidence

        asked = self._request(ask)
        return {b.fine: b.coarse for b in asked.source().branches}, labelled_confidence(asked)

    def _request(self, ask: Ask) -> LabelledRequest:
        from razor_cli.data.fine_labelled import LabelledRequest

        return LabelledRequest(
            root=rooted(self.root, self.kind),
            taxonomy=self.taxonomy,
            prompts=self.prompts,
            ood_root=self.ood_root,
            suite_roots=self.suite_roots,
            target=ask.target,
            forget=tuple(self.forget),
            called=ask.called,
            coarse_text=self.coarse_text,
            sizes=self.sizes(ask),
            max_corrupt=self.max_corrupt,
            min_forget=self.min_forget,
            seed=self.seed_of(ask),
            confidence=ask.confidence,
        )
