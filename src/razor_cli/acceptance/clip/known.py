"""What is published of CLIP checkpoints, read from known.json beside it: facts with their sources, nothing
measured here.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

from razor_cli.families.clip.standins import stand_in_folder

QUICK = "-quickgelu"
CIFAR_TEST = 10_000  # photographs in the test part that published accuracies are over
EMBEDDED = "embedded"  # tag of a stand-in's own weights


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str


class Architecture(_Fact):
    """Sizes of one architecture: (layers, width, heads) of each tower, and what follows from them."""

    vision: tuple[int, int, int]
    text: tuple[int, int, int]
    parameters: int
    components: int  # heads and MLPs of both towers


class Scale(_Fact):
    """Where exp(logit_scale) of a trained checkpoint lies; low = high where it is known exactly."""

    low: float
    high: float


class Norm(_Fact):
    """Euclidean norm of one published matrix: `part` is q, k, v (one third of the fused
    projection) or out.
    """

    tower: str  # vision | text
    layer: int
    part: str
    norm: float


class ZeroShot(_Fact):
    """Published top-1 on CIFAR-10's test part, in per cent."""

    templates: str  # ensemble: the 18 of the published protocol; single: this project's zero-shot prompt
    top1: float | None = None  # None: the model card says it
    card: str | None = None  # row of the model card
    other_activation: float | None = None  # published for the same weights with the wrong activation function


class Checkpoint(BaseModel):
    """What is known of one trained checkpoint, named as open_clip names it; the architecture without its
    QuickGELU suffix.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    tag: str
    quick_gelu: bool
    hub: str | None  # repository of the hub that the tag is fetched from
    logit_scale: Scale
    norms: tuple[Norm, ...]
    cifar10: ZeroShot

    @property
    def name(self) -> str:
        """Return architecture and tag."""
        return f"{self.architecture}/{self.tag}"


class Known(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    architectures: dict[str, Architecture]
    checkpoints: tuple[Checkpoint, ...]


@cache
def known() -> Known:
    """Return the published figures."""
    return Known.model_validate_json(
        resources.files("razor_cli.acceptance.clip").joinpath("known.json").read_bytes()
    )


def plain_name(architecture: str) -> str:
    """Return an architecture's name without the suffix that chooses the activation function: its sizes are
    the same.
    """
    return architecture.removesuffix(QUICK)


def known_architecture(architecture: str | None) -> Architecture | None:
    """Return the sizes of an architecture, None where they are not on file."""
    return known().architectures.get(plain_name(architecture)) if architecture else None


def known_checkpoint(architecture: str | None, tag: str | None) -> Checkpoint | None:
    """Return what is published of a checkpoint, None where nothing is on file."""
    if not architecture or not tag:
        return None
    return next(
        (c for c in known().checkpoints if (c.architecture, c.tag) == (plain_name(architecture), tag)), None
    )


def published_accuracy(checkpoint: Checkpoint) -> float | None:
    """Return the published CIFAR-10 accuracy in per cent; of a stand-in, what the card beside its weights
    says.
    """
    figure = checkpoint.cifar10
    if figure.top1 is not None or figure.card is None:
        return figure.top1
    card = stand_in_folder(checkpoint.architecture) / "MODEL_CARD.md"
    return card_accuracy(card.read_text(encoding="utf-8"), figure.card) if card.is_file() else None


def card_accuracy(card: str, row: str) -> float | None:
    """Return the accuracy (first number) in the row of a model card's table that is called `row`, or None."""
    found = re.search(rf"^\|\s*{re.escape(row)}\s*\|\s*([0-9.]+)\s*\|", card, re.MULTILINE)
    return float(found.group(1)) if found else None
