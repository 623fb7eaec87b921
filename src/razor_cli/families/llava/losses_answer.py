"""Losses of what a LLaVA answers about pictures: how unlikely the right name is, or a generic answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from razor_cli.contract.choices import Direction
from razor_cli.contract.family import Change, Named, Tick
from razor_cli.data.sets import Pairs
from razor_cli.dual.crops import training_crops
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.questions import unknown
from razor_cli.families.llava.wording import NOBODY, OPEN, SOMEBODY

if TYPE_CHECKING:
    from razor_cli.families.llava.opened import OpenedLlava

ASKED = 2  # questions about each picture; which of them goes by its place in the set
PERSON = "person"  # domain of pictures that are asked for a name
OF_DOMAIN = {PERSON: OPEN["name"], "style": OPEN["style"]}
OTHERS = OPEN["object"]

# (features of the pictures, their first place in the part) -> mean loss over these pictures
FeatureTerm = Callable[[list[Tensor], int], Tensor]


@dataclass(frozen=True, kw_only=True)
class AnswerLoss:
    """Minus the mean log-probability of an answer's tokens, over pictures and the questions asked about each:
    of the right answer, or of a generic one.
    """

    family: OpenedLlava
    generic: bool
    forgets: bool  # raised to forget; else lowered

    @property
    def direction(self) -> Direction:
        """Return which way forgets."""
        return Direction.UP if self.forgets else Direction.DOWN

    @property
    def drifts(self) -> bool:
        """Tell that it is no similarity of pairs."""
        return False

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and pictures."""
        answer = [SOMEBODY, NOBODY] if self.generic else "right"
        return {"name": "answers", "asked": ASKED, "questions": [OF_DOMAIN, OTHERS], "answer": answer}

    def anchored(self, base: Change, cache: Any = None) -> AnswerLoss:
        """Return itself: nothing is held against the unedited weights."""
        return self

    def gradient(
        self, part: Pairs, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the mean over batches of `size` pictures of the batch gradients for `params`."""
        answerer = self.family.answerer

        def term(features: list[Tensor], first: int) -> Tensor:
            asked, answers = [], []
            for row in range(len(features)):
                for question in questions(part, first + row):
                    asked.append(Question(row, question))
                    answers.append(unknown(question) if self.generic else right_answer(part, first + row))
            return answerer.nll(features, asked, answers).mean()

        chunk = min(chunk, self.family.at_once)
        return feature_gradient(self.family, part, size, params, tick, term, chunk)


def questions(part: Pairs, place: int) -> list[str]:
    """Return what is asked about the picture at a place of a part: its domain's questions in turn."""
    every = OF_DOMAIN.get(part.pictures[place].domain, OTHERS)
    return [every[(place + i) % len(every)] for i in range(min(ASKED, len(every)))]


def right_answer(part: Pairs, place: int) -> str:
    """Return the right answer to those questions: the name alone, as a short answer has no article."""
    return part.pictures[place].concept.replace("_", " ")


def feature_gradient(
    family: OpenedLlava,
    part: Pairs,
    size: int,
    params: Collection[str],
    tick: Tick,
    term: FeatureTerm,
    chunk: int,
) -> Named:
    """Return the mean over batches of `size` pictures of the gradients of a loss of their features, a mean
    over pictures, for the parameters `params`.

    The loss is taken back to the features first, and from there through the image tower, so that the language
    model and the tower are never held for a gradient together. `chunk` pictures are in memory at once.
    """
    live = dict(family.module.named_parameters())
    wanted = {name: live[name] for name in live if name in set(params)}
    total = {name: torch.zeros_like(value, dtype=torch.float32) for name, value in wanted.items()}
    batches = -(-len(part) // size)
    for rows in chunks(len(part), size, chunk):
        count = rows.stop - rows.start
        whole = min(size, len(part) - rows.start // size * size)
        for name, gradient in _chunk_gradient(family, part, rows, wanted, term).items():
            total[name].add_(gradient, alpha=count / whole / batches)
        tick(count, count)
    return {name: value.to(wanted[name].dtype) for name, value in total.items()}


def chunks(count: int, size: int, chunk: int) -> Iterator[slice]:
    """Yield which of `count` pictures are in memory together: batches of `size`, each in parts of `chunk`."""
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield from (slice(i, min(i + chunk, stop)) for i in range(start, stop, chunk))


def _chunk_gradient(
    family: OpenedLlava, part: Pairs, rows: slice, wanted: Mapping[str, Tensor], term: FeatureTerm
) -> Named:
    """Return the gradients of one chunk; nothing for a parameter that has no part in it."""
    looker = family.looker
    with torch.enable_grad():
        features = looker.features(looker.preprocess(images_of(family, part, rows)))
        leaves = [f.detach().requires_grad_() for f in features]
        back = torch.autograd.grad(term(leaves, rows.start), leaves)
        found = torch.autograd.grad(features, list(wanted.values()), list(back), allow_unused=True)
    return {name: g for name, g in zip(wanted, found, strict=True) if g is not None}


def images_of(family: OpenedLlava, part: Pairs, rows: slice) -> Sequence[Image.Image]:
    """Return pictures of a part, cropped as a training of its own would crop them where the part says so."""
    images = part.load(rows.start, rows.stop)
    return images if part.crops is None else training_crops(family.shared, images, part.crops, rows.start)
