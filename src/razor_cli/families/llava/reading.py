"""Several questions about each picture: the language model reads a picture once, and goes on from there for
every question about it. What is answered is what `Answerer` answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from razor_cli.families.llava.answerer import Answerer, Question
from razor_cli.weights.bitsandbytes import without_cast_warnings


@dataclass
class Read:
    """What the language model holds of some sequences: its states, which places are none of the padding
    [n, t], and the position of what comes next [n].
    """

    answerer: Answerer
    cache: Any
    mask: Tensor
    next: Tensor

    def further(self, rows: Sequence[Tensor]) -> Tensor:
        """Read on, each sequence its own [t, d]; return the states of it [n, longest, d], padded on the
        left.
        """
        given = self.answerer.padded(rows, True)
        self.mask = torch.cat([self.mask, given.mask], dim=1)
        positions = self.next[:, None] + given.positions
        self.next = self.next + given.mask.sum(dim=1)
        inner = self.answerer.model.model
        found: Tensor = inner(
            inputs_embeds=given.embeds,
            attention_mask=self.mask,
            position_ids=positions,
            use_cache=True,
            **{_keyword(type(inner).forward): self.cache},
        ).last_hidden_state
        return found

    def of(self, chosen: Sequence[int]) -> None:
        """Go on with these sequences alone, or with some of them several times."""
        if list(chosen) == list(range(len(self.next))):
            return
        rows = torch.tensor(list(chosen), device=self.next.device)
        self.cache.batch_select_indices(rows)
        self.mask, self.next = self.mask[rows], self.next[rows]


def greedy(
    answerer: Answerer,
    features: Sequence[Tensor],
    questions: Sequence[Question],
    max_new_tokens: int,
    batch: int,
) -> list[str]:
    """Return the greedy answers to questions about pictures, in order; `batch` of them are made at once."""
    found = [""] * len(questions)
    with torch.no_grad(), without_cast_warnings():
        for places in _together(questions, batch):
            group = [questions[i] for i in places]
            read, rest = _begun(answerer, features, group)
            states = read.further([answerer.words(ids) for ids in rest])
            for place, ids in zip(places, _spoken(read, states[:, -1], max_new_tokens), strict=True):
                found[place] = answerer.prompts.text(ids)
    return found


def forced(
    answerer: Answerer,
    features: Sequence[Tensor],
    questions: Sequence[Question],
    answers: Sequence[Sequence[int]],
    batch: int,
) -> list[Tensor]:
    """Return the logits [tokens, vocabulary] in fp32 that the model has while it is given each answer's
    tokens.
    """
    found: dict[int, Tensor] = {}
    with torch.no_grad(), without_cast_warnings():
        for places in _together(questions, batch):
            read, rest = _begun(answerer, features, [questions[i] for i in places])
            behind = [[*ids, *answers[i][:-1]] for i, ids in zip(places, rest, strict=True)]
            states = read.further([answerer.words(ids) for ids in behind])
            kept = [states[row, -len(answers[i]) :] for row, i in enumerate(places)]
            logits = answerer.model.lm_head(torch.cat(kept)).float()
            found |= zip(places, logits.split([len(k) for k in kept]), strict=True)
    return [found[i] for i in range(len(questions))]


def _together(questions: Sequence[Question], batch: int) -> Iterator[list[int]]:
    """Yield places of questions, those about one picture next to each other, `batch` of them at most."""
    places = sorted(range(len(questions)), key=lambda i: (questions[i].picture or 0, i))
    for start in range(0, len(places), batch):
        yield places[start : start + batch]


def _begun(
    answerer: Answerer, features: Sequence[Tensor], group: Sequence[Question]
) -> tuple[Read, list[list[int]]]:
    """Read each picture with the words before it, once; return a sequence for each question, and the tokens
    that follow.
    """
    from transformers import DynamicCache

    prompts, heads = answerer.prompts, dict[tuple[int, tuple[int, ...]], int]()
    rows, rest = [], []
    for question in group:
        assert question.picture is not None
        ids = prompts.ids(question.text, True)
        at = ids.index(prompts.image)
        rows.append(heads.setdefault((question.picture, tuple(ids[:at])), len(heads)))
        rest.append(ids[at + 1 :])
    shown = []
    for picture, before in heads:
        words = answerer.words(before)
        shown.append(torch.cat([words, features[picture].to(words.device, words.dtype)]))
    device = shown[0].device
    nothing = torch.zeros(len(shown), 0, dtype=torch.long, device=device)
    read = Read(answerer, DynamicCache(), nothing, nothing.sum(dim=1))
    read.further(shown)
    read.of(rows)
    return read, rest


@cache
def _keyword(forward: Callable[..., Any]) -> str:
    """Return what the library calls the states that a model has of earlier tokens."""
    return "cache" if "cache" in signature(forward).parameters else "past_key_values"


def _spoken(read: Read, last: Tensor, most: int) -> list[list[int]]:
    """Return the tokens that are likeliest one after the other, up to an end, behind the states `last`
    [n, d].
    """
    answerer = read.answerer
    said: list[list[int]] = [[] for _ in range(len(last))]
    alive = list(range(len(last)))
    for _ in range(most):
        best = answerer.model.lm_head(last).argmax(dim=-1).tolist()
        going = [row for row, token in enumerate(best) if token not in answerer.ends]
        for row in going:
            said[alive[row]].append(best[row])
        if not going:
            break
        if len(going) < len(alive):
            read.of(going)
            alive = [alive[row] for row in going]
        words = answerer.words([best[row] for row in going])
        last = read.further(list(words[:, None]))[:, -1]
    return said
