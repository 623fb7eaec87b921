"""Small worlds of embeddings for the metric tests."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from razor_cli.dual.measures import Features, SuiteFeatures
from razor_cli.families.clip.reference import reference
from razor_cli.families.clip.settings import Metrics
from razor_cli.families.clip.suite import score_state
from razor_cli.metrics.score import Score

NAMES = ("Target", "Ann", "Bob")
EYE = torch.eye(4)


def rows(*vectors: list[float]) -> Tensor:
    return F.normalize(torch.tensor(vectors, dtype=torch.float32), dim=-1)


def world(**changes: object) -> Features:
    """Target, Ann, Bob are the first three axes, the fourth is 'a person'; everything below is computed by
    hand from it.
    """
    retain = rows(
        [0, 3, 0, 1], [0, 0, 3, 1], [3, 1, 0, 0], [0, 3, 2, 0]
    )  # Ann, Bob, Ann seen as Target, Bob seen as Ann
    concepts = torch.tensor([1, 2, 1, 2])
    fields: dict[str, object] = {
        "class_names": NAMES,
        "class_prompts": EYE[:3],
        "generic_prompt": EYE[3],
        "forget_images": rows([3, 0, 0, 4], [4, 0, 0, 3], [3, 4, 0, 0], [4, 3, 0, 0]),
        "forget_captions": EYE[[0, 0, 0, 3]],
        "retain_images": retain,
        "retain_captions": EYE[:3][concepts],
        "retain_caption_ids": torch.tensor([7, 3, 7, 3]),
        "retain_concepts": concepts,
        "retain_own_prompt": EYE[:3][concepts],
    }
    return Features(**(fields | changes))  # type: ignore[arg-type]


def crowd(seed: int, classes: int = 8, dim: int = 16) -> Features:
    """A random world with more classes than five, other domains, a suite and members."""
    g = torch.Generator().manual_seed(seed)

    def draw(n: int) -> Tensor:
        return F.normalize(torch.randn(n, dim, generator=g), dim=-1)

    prompts, concepts = draw(classes), torch.arange(40) % (classes - 1) + 1
    concepts[::10] = -1
    return Features(
        class_names=tuple(f"c{i}" for i in range(classes)),
        class_prompts=prompts,
        generic_prompt=draw(1)[0],
        forget_images=draw(30),
        forget_captions=draw(30),
        retain_images=draw(40),
        retain_captions=prompts[concepts.clamp(min=0)],
        retain_caption_ids=concepts,
        retain_concepts=concepts,
        retain_own_prompt=prompts[concepts.clamp(min=0)],
        suites={"emoji": SuiteFeatures(draw(12), torch.arange(12) % 3, draw(3))},
        member_images=draw(9),
        member_captions=draw(9),
    )


def scaled(seed: int, scale: float = 8.0) -> Features:
    """A random world whose model tells its logit scale."""
    return replace(crowd(seed), scale=scale)


def evaluate(features: Features, settings: Metrics, **against: Any) -> list[Score]:
    """Return every score of one state of a model."""
    return score_state(reference(features), settings, **against)


def one(scores: list[Score], metric: str, variant: str) -> Score:
    (found,) = [s for s in scores if (s.metric, s.variant) == (metric, variant)]
    return found


def values(scores: list[Score]) -> dict[tuple[str, str], float | None]:
    return {(s.metric, s.variant): s.value for s in scores}
