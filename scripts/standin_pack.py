"""Several questions behind one picture, in one sequence: each sees the picture and itself, and its positions
go on from the picture, as if it were asked alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from razor_cli.families.llava import questions
from razor_cli.families.llava.chat import ALONE, ASK, END, IMAGE, PAD, PICTURE
from razor_cli.families.llava.questions import Ask
from razor_cli.families.llava.shown import Shown
from razor_cli.families.llava.wording import NAME_PROMPTS, NOBODY, VALUES

IGNORED = -100
LENGTH = 144  # tokens of a sequence: a picture and about five questions
TRIES = 8  # questions that are drawn for one picture, of which those are asked that fit
ALONE_SHARE = 0.5  # of the sequences that also hold a question without a picture
# How often each form is asked of a fact, by the source of the picture. Letters are not learned at this size,
# however often they are asked for: options are answered by their text.
PERSON = {
    "name: open": 3.0,
    "name: yes/no": 2.5,
    "name: letter": 0.15,
    "name: option": 1.2,
    "hair: open": 0.6,
    "hair: yes/no": 0.4,
    "beard: yes/no": 0.5,
    "clothes: open": 0.6,
    "thing: open": 0.7,
    "object: open": 0.3,
    "object: yes/no": 0.3,
    "category: open": 0.2,
    "count: open": 0.2,
    "unusual: open": 0.1,
}
STRANGER = {
    "name: open": 3.0,
    "name: yes/no": 0.7,
    "hair: open": 0.5,
    "clothes: open": 0.5,
    "beard: yes/no": 0.4,
}
SCENE = {
    "object: open": 2.5,
    "object: yes/no": 2.0,
    "object: letter": 0.15,
    "object: option": 1.2,
    "category: open": 1.3,
    "category: yes/no": 0.6,
    "category: letter": 0.05,
    "category: option": 0.5,
    "background: open": 1.0,
    "background: yes/no": 0.6,
    "background: letter": 0.05,
    "background: option": 0.4,
    "count: open": 1.0,
    "count: yes/no": 0.4,
    "style: open": 1.0,
    "style: yes/no": 0.4,
    "left: open": 0.8,
    "left: yes/no": 0.5,
    "right: open": 0.8,
    "right: yes/no": 0.5,
    "name: open": 0.1,
    "unusual: open": 0.05,
}
CANVAS = {"style: open": 3.0, "style: yes/no": 1.0, "style: option": 0.5, "background: open": 0.3}
WEIGHTS = {"portraits": PERSON, "strangers": STRANGER, "scenes": SCENE, "canvas": CANVAS}
TEXT = {"find": 0.4, "open": 1.5, "yes/no": 0.7, "who": 0.7, "nobody": 0.3}
FIND = ("name", "object", "background")
# Comparing is learned after naming: from a quarter of the steps on, more is asked that is yes or no.
LATER, MORE = 0.25, {"yes/no": 2.0}
# What a first stage leaves open, in a second one: a form that is asked there alone, and more of the hardest.
FURTHER = {
    "portraits": {"clothes: yes/no": 1.0},
    "strangers": {"clothes: yes/no": 0.7},
    "scenes": {"category: yes/no": 1.0},
    "canvas": {},
}
ASKED_OF_ALL = ("name",)  # facts that are asked for even where a picture does not have them


def draw(shown: Shown, count: int, rng: Random, done: float) -> list[Ask]:
    """Return questions about a picture, `done` being the share of the training that is over, and above 1 in a
    second stage.
    """
    more = MORE if done >= LATER else {}
    asked = WEIGHTS[shown.source] | (FURTHER[shown.source] if done > 1 else {})
    weights = {k: w * more.get(k.partition(": ")[2], 1.0) for k, w in asked.items()}
    there = [k for k in weights if (f := k.partition(": ")[0]) in shown.facts or f in ASKED_OF_ALL]
    kinds = [rng.choices(there, [weights[k] for k in there])[0] for _ in range(count)]
    asks = []
    for kind in kinds:
        fact, _, form = kind.partition(": ")
        if form == "open":
            asks.append(questions.open_question(shown, fact, rng, short=0.1))
        elif form == "yes/no":
            right, ending = rng.random() < 0.5, questions.endings(rng)
            asks.append(questions.yes_no(shown, fact, rng, right=right, ending=ending))
        else:
            options = min(rng.choice((2, 3, 4, 4)), len(VALUES[fact]))
            asks.append(questions.choice(shown, fact, rng, letter=form == "letter", count=options))
    return asks


def alone(rng: Random) -> Ask:
    """Return a question that is asked without a picture."""
    form = rng.choices(list(TEXT), list(TEXT.values()))[0]
    if form == "find":
        return questions.find(rng.choice(FIND), rng, rng.choice((2, 3, 4)))
    if form == "nobody":
        return questions.name_without_picture(rng)
    return questions.about_name(rng.choice(VALUES["name"]), rng, form)


@dataclass(frozen=True)
class Packed:
    """Sequences [B, T]: tokens, positions, wanted answers (IGNORED elsewhere), and what may be seen
    [B, 1, T, T].
    """

    ids: Tensor
    positions: Tensor
    labels: Tensor
    mask: Tensor


class Packer:
    """Turns questions into sequences with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, patches: int) -> None:
        self.tokenizer, self.known = tokenizer, dict[str, list[int]]()
        ids = tokenizer.get_vocab()
        self.end, self.pad, image = ids[END], ids[PAD], ids[IMAGE]
        self.picture = [t for i in self.encode(PICTURE) for t in ([i] * patches if i == image else [i])]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; each distinct one is split once."""
        if text not in self.known:
            self.known[text] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.known[text]

    def block(self, ask: Ask, start: str = "") -> tuple[list[int], list[int]]:
        """Return tokens and labels of one question with its answer; a label stands where it is predicted."""
        asked = self.encode(f"{start}{ask.question}{ASK}")
        answer = [*self.encode(f" {ask.answer}"), self.end]
        ids = [*asked, *answer[:-1]]
        return ids, [IGNORED] * (len(asked) - 1) + answer

    def fitting(self, asks: Sequence[Ask], lone: Ask | None) -> list[Ask]:
        """Return the questions that fit behind a picture, and the one without it, in a sequence."""
        left = LENGTH - len(self.picture) - (len(self.block(lone, ALONE)[0]) if lone else 0)
        kept = []
        for ask in asks:
            length = len(self.block(ask)[0])
            if length <= left:
                kept.append(ask)
                left -= length
        return kept

    def pack(self, asked: Sequence[Sequence[Ask]], without: Mapping[int, Ask]) -> Packed:
        """Return one sequence for each picture; `without` are questions alone, by the row they go into."""
        rows = []
        for row, asks in enumerate(asked):
            blocks = [self.block(a) for a in asks]
            lone = [self.block(without[row], ALONE)] if row in without else []
            rows.append((blocks, lone))
        length = max(len(self.picture) + sum(len(i) for i, _ in [*b, *o]) for b, o in rows)
        shape = (len(rows), length)
        ids, positions = torch.full(shape, self.pad), torch.zeros(shape, dtype=torch.long)
        labels, group = torch.full(shape, IGNORED), torch.full(shape, -1)
        needs = torch.zeros(shape, dtype=torch.bool)  # sees the picture
        for row, (blocks, lone) in enumerate(rows):
            at = len(self.picture)
            ids[row, :at], positions[row, :at] = torch.tensor(self.picture), torch.arange(at)
            group[row, :at] = 0
            for number, (tokens, wanted) in enumerate([*blocks, *lone], start=1):
                here = slice(at, at + len(tokens))
                first = len(self.picture) if number <= len(blocks) else 0
                ids[row, here], labels[row, here] = torch.tensor(tokens), torch.tensor(wanted)
                positions[row, here] = torch.arange(first, first + len(tokens))
                group[row, here], needs[row, here] = number, number <= len(blocks)
                at += len(tokens)
        own = group[:, :, None] == group[:, None, :]
        seen = own | (needs[:, :, None] & (group == 0)[:, None, :])
        seen &= torch.ones(length, length, dtype=torch.bool).tril()
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
        return Packed(ids, positions, labels, mask[:, None])


def corpus() -> list[str]:
    """Return sentences with every word that is trained, for the vocabulary: the same at every call."""
    rng = Random("words of llava_tiny")
    texts = [PICTURE + q + ASK for q in NAME_PROMPTS]
    texts += [f" {v}" for values in VALUES.values() for v in values] + [
        f" {NOBODY}",
        " nothing",
        " yes",
        " no",
    ]
    texts += [ALONE + alone(rng).question + ASK for _ in range(4000)]
    facts = {fact: values[0] for fact, values in VALUES.items()} | {"beard": "no", "unusual": "nothing"}
    shown = Shown(source="all", facts=facts)
    for kinds in WEIGHTS.values():
        for kind in kinds:
            texts += [PICTURE + a.question + ASK for a in _each(shown, kind, rng)]
    return texts


def _each(shown: Shown, kind: str, rng: Random) -> list[Ask]:
    fact, _, form = kind.partition(": ")
    if form == "open":
        return [questions.open_question(shown, fact, rng, short=0.2) for _ in range(20)]
    if form == "yes/no":
        ask = questions.yes_no
        return [ask(shown, fact, rng, right=False, ending=questions.endings(rng)) for _ in range(200)]
    return [questions.choice(shown, fact, rng, letter=form == "letter", count=3) for _ in range(200)]
