"""Whether a model still tells what it should, without generating an answer: the words are given to it, and
its own choice is compared token by token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from razor_cli.families.llava.answerer import Answerer, Question
from razor_cli.families.llava.matcher import tells
from razor_cli.families.llava.reading import forced, greedy

LONGEST = 24  # tokens of an answer of the unedited model whose words may stand before a name


@dataclass(frozen=True)
class Trial:
    """A question and the answer that is given: its tokens from `first` on are what should be told, those
    before lead to it.
    """

    question: Question
    answer: str
    first: int = 0


@torch.no_grad()
def trials_of(
    answerer: Answerer,
    features: Sequence[Tensor],
    questions: Sequence[Question],
    names: Sequence[str],
    batch: int,
) -> list[Trial]:
    """Return a trial for each question and the name that it asks for. Where the model, unedited, begins
    otherwise than with the name, its own words up to the name lead to it, if they do.
    """
    bare = [Trial(q, name) for q, name in zip(questions, names, strict=True)]
    if not bare:
        return []
    known = (margins(answerer, features, bare, batch) > 0).tolist()
    asked = [i for i, told in enumerate(known) if not told]
    said = greedy(answerer, features, [questions[i] for i in asked], LONGEST, batch)
    for i, answer in zip(asked, said, strict=True):
        if tells(answer, names[i]) and (led := _led(answerer, questions[i], answer, names[i])):
            bare[i] = led
    return bare


def _led(answerer: Answerer, question: Question, answer: str, name: str) -> Trial | None:
    """Return the trial of a name inside an answer, which is cut behind it; None where the tokens before it
    cannot be told apart.
    """
    found = re.search(r"[\W_]+".join(map(re.escape, name.split())), answer, re.IGNORECASE)
    if found is None:
        return None
    cut, before = answer[: found.end()], answer[: found.start()].rstrip()
    led = answerer.wanted(question, before)[:-1] if before else []
    whole = answerer.wanted(question, cut)
    return Trial(question, cut, len(led)) if whole[: len(led)] == led else None


@torch.no_grad()
def margins(answerer: Answerer, features: Sequence[Tensor], trials: Sequence[Trial], batch: int) -> Tensor:
    """Return by how much the model is surer of what should be told than of anything else [n]: the difference
    of log-probabilities at the weakest of its tokens, in nats. Above 0, greedy decoding says these tokens.
    """
    ids = [answerer.wanted(t.question, t.answer)[:-1] for t in trials]
    rows = forced(answerer, features, [t.question for t in trials], ids, batch)
    found = torch.empty(len(rows))
    for i, (row, trial) in enumerate(zip(rows, trials, strict=True)):
        own = row[trial.first :].cpu()
        places = torch.tensor(ids[i][trial.first :])[:, None]
        best = own.scatter(1, places, -torch.inf).amax(dim=1)
        found[i] = (own.gather(1, places)[:, 0] - best).min()
    return found
