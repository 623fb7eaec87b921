"""What a kind of data may need of the rest of a run, and what the rest of the program needs of a kind of
data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from PIL import Image

    from razor_cli.data.sets import ConceptSets, Pairs
    from razor_cli.data.shots import DrawnSets

Confidence = Callable[
    ["Pairs", Mapping[str, Sequence[str]]], dict[str, float]
]  # pictures, prompts of each class -> mean p(own)
Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]  # prompts -> what the text encoder makes of each


class Draw(Protocol):
    """Draws with the unedited model, whatever edit it holds: a picture for each prompt and its seed."""

    def __call__(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float
    ) -> list[Image.Image]:
        """Return the pictures as RGB, in order."""
        ...


def no_model(_: Pairs, __: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Raise ConfigError: a level of difficulty is a model's, and there is none here."""
    raise ConfigError(
        "a level of difficulty is what a model finds difficult, and no model is loaded here",
        fix="name the concepts: data.forget=[a, b]",
    )


def nothing_drawn(
    prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float
) -> list[Image.Image]:
    """Raise ConfigError: pictures of the model's own need one, and there is none here."""
    raise ConfigError(
        "data=generated draws its pictures with the model, and no model is loaded here",
        found=f"{len(prompts)} pictures of {steps} steps",
        fix="run it with razor-run, or take pictures that are there: data=folder data.root=DIR",
    )


def nothing_embedded(prompts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Raise ConfigError: which names lie near is a model's, and there is none here."""
    raise ConfigError(
        "data.retain_near=[found] asks the model's text encoder, and no model is loaded here",
        found=f"{len(prompts)} prompts",
        fix="name them: data.retain_near=[a, b]",
    )


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The rest of a run, as far as it decides which pictures it takes."""

    target: str
    domain: str = "person"  # wording of prompts, and what the target is
    pictures: str = "portraits"  # which embedded pictures the scenario is shown by
    suites: tuple[str, ...] = ("portraits", "emoji", "cifar10")  # unrelated tasks, where pictures are at hand
    taxonomy: bool = False  # fine concepts go together, and their parents stay
    targets: tuple[str, ...] = ()  # all that go, where they are several; `target` is the first
    gone: tuple[str, ...] = ()  # went before, by edits of their own: neither kept nor forgotten here
    called: str = ""  # the scenario's own target
    scenario: str = ""  # names for messages
    model: str = ""
    stand_in: bool = True  # the model was trained on the embedded sources: they are kept and judged too
    seed: int = 0
    held_back: bool = False  # judged on validation pictures: those of the evaluation take no part at all
    axis: str = ""  # of a model that draws: what kind of thing the target is; empty for others
    confidence: Confidence = no_model  # finds the levels of difficulty
    draw: Draw = nothing_drawn
    embed: Embed = nothing_embedded

    @property
    def wanted(self) -> tuple[str, ...]:
        """The concepts that go, one or several."""
        return self.targets or (self.target,)

    def of_each(self) -> list[Ask]:
        """Return the same for every concept by itself."""
        return [replace(self, target=name, targets=()) for name in self.wanted]

    def in_turn(self) -> list[Ask]:
        """Return the same for one concept after another: those that went before are left out."""
        return [replace(ask, gone=self.wanted[:i]) for i, ask in enumerate(self.of_each())]

    def judged(self, sets: ConceptSets) -> ConceptSets:
        """Return the sets as this run judges on them."""
        from razor_cli.data.halves import on_validation

        return on_validation(sets) if self.held_back else sets


class DataSettings(Protocol):
    """Settings of one kind of data, checked."""

    @property
    def kind(self) -> StrEnum:
        """Which kind it is, as `data=KIND` chooses it."""

    @property
    def listed_beforehand(self) -> bool:
        """Whether the sets are listed in well under a second, so that a grid looks targets up beforehand."""

    @property
    def at_most(self) -> dict[str, int]:
        """How many pictures each set takes at most."""

    def label(self, pictures: str) -> str:
        """Return what records and tables call the data of a scenario that is shown by `pictures`."""

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield what does not go with the rest of the run, or is not there; decodes no picture."""

    def sets(self, ask: Ask) -> ConceptSets | DrawnSets:
        """Return the run's disjoint sets; another seed draws other pictures, unless data.seed holds them.

        Raises DataError or ConfigError for what a user can mend, RunError if sets were not disjoint.
        """


@runtime_checkable
class Traced(Protocol):
    """Settings of data with a taxonomy."""

    def difficulty(self, ask: Ask) -> tuple[Mapping[str, str], dict[str, float]]:
        """Return every class's parent, and how sure the model is of the class on validation pictures."""
