"""A loaded LLaVA as what question sets ask: pictures and questions in, answers out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from razor_cli.families.llava.answerer import Answerer, Pixels, Question
from razor_cli.families.llava.kinds import Variant
from razor_cli.families.llava.reading import greedy

T = TypeVar("T")
KEPT_BYTES = 1 << 29  # of prepared pictures, and as many of what the model sees in them


class Kept(Generic[T]):
    """What was made of pictures, up to so many bytes; what was made first goes first."""

    def __init__(self, size: Callable[[T], int]) -> None:
        self.size, self.bytes = size, 0
        self.whole = True  # nothing had to go yet
        self._held: OrderedDict[int, tuple[Image.Image, T]] = OrderedDict()  # a held picture keeps its id

    def each(
        self, pictures: Sequence[Image.Image], make: Callable[[list[Image.Image]], Sequence[T]]
    ) -> list[T]:
        """Return what is made of each picture; `make` is asked together for those that are not held."""
        new = [p for p in {id(p): p for p in pictures}.values() if id(p) not in self._held]
        made = dict(zip(map(id, new), make(new), strict=True)) if new else {}
        found = [made[id(p)] if id(p) in made else self._held[id(p)][1] for p in pictures]
        for picture in new:
            self._held[id(picture)] = (picture, made[id(picture)])
            self.bytes += self.size(made[id(picture)])
        while self.bytes > KEPT_BYTES:
            _, (_, value) = self._held.popitem(last=False)
            self.bytes, self.whole = self.bytes - self.size(value), False
        return found


@dataclass
class Asking:
    """Answers under the weights as they are. A picture is prepared once, and looked at once under each
    weights that look, as far as memory allows.
    """

    answerer: Answerer
    batch: int
    say: Callable[[str], None] = lambda _: None
    asked: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._seen = Kept[Tensor](lambda t: t.numel() * t.element_size())
        self._others: dict[str, Kept[Tensor]] = {}  # by the weights that saw
        self._looking = ""
        self._prepared = Kept[Tensor](lambda t: t.numel() * t.element_size())

    def under(self, looking: str) -> None:
        """Look at pictures with these weights from now on: what they saw before, all of it, counts again.

        Of what did not fit nothing is kept: pictures that are looked at in other company come out with other
        last bits.
        """
        self.asked = 0
        if looking == self._looking and self._seen.whole:
            return
        if self._looking and self._seen.whole:
            self._others[self._looking] = self._seen
        while self._others and sum(k.bytes for k in self._others.values()) > KEPT_BYTES:
            self._others.pop(next(iter(self._others)))
        fresh = Kept[Tensor](self._seen.size)
        self._seen = self._others.pop(looking) if looking in self._others else fresh
        self._looking = looking

    def forget(self) -> None:
        """Look at every picture anew from now on."""
        self._seen, self._looking = Kept[Tensor](self._seen.size), ""
        self._others.clear()

    def __call__(
        self, pictures: Sequence[Image.Image], questions: Sequence[str], max_new_tokens: int
    ) -> list[str]:
        """Return the answers, in order."""
        several = {id(p): p for p in pictures}
        rows = {key: i for i, key in enumerate(several)}
        asked = [Question(rows[id(p)], q) for p, q in zip(pictures, questions, strict=True)]
        said = greedy(self.answerer, self.look(list(several.values())), asked, max_new_tokens, self.batch)
        return self._counted(said)

    def words(self, questions: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return the answers to questions about no picture."""
        asked = [Question(None, q) for q in questions]
        return self._counted(self.answerer.answers([], asked, max_new_tokens, self.batch))

    @torch.no_grad()
    def look(self, pictures: Sequence[Image.Image]) -> list[Tensor]:
        """Return the tokens [t, d] of each picture behind the projector."""
        return self._seen.each(pictures, lambda new: self.answerer.features(self._pixels(new)))

    def _pixels(self, pictures: Sequence[Image.Image]) -> Pixels:
        """Return prepared pictures. Those with tiles are padded to the longest among them, and not kept."""
        if self.answerer.variant is Variant.LLAVA_NEXT:
            return self.answerer.preprocess(pictures)
        rows = self._prepared.each(pictures, lambda new: list(self.answerer.preprocess(new).values))
        return Pixels(torch.stack(rows))

    def _counted(self, said: list[str]) -> list[str]:
        self.asked += len(said)
        self.say(f"{self.asked} questions answered")
        return said
