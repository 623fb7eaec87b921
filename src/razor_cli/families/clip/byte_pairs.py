"""CLIP's tokenizer (Radford et al. 2021) from a list of merges: the same ids as open_clip's SimpleTokenizer,
without loading that library.
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import ftfy
import regex
import torch
from torch import Tensor

START, END = "<start_of_text>", "<end_of_text>"
PIECES = regex.compile(
    rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+", regex.IGNORECASE
)
WORD_END = "</w>"


class BytePairs:
    """Texts as ids [n, context length]: in lower case, the start token, byte pairs, the end token, zeros.
    What is too long loses its end, and keeps the end token.
    """

    def __init__(self, merges: Path, context_length: int) -> None:
        """Read the merges (gzip; a line each, in their order, behind a first line that says what it is)."""
        lines = gzip.decompress(merges.read_bytes()).decode("utf-8").split("\n")[1:]
        pairs = [tuple(line.split()) for line in lines]
        letters = list(_letters().values())
        words = [*letters, *(letter + WORD_END for letter in letters), *map("".join, pairs), START, END]
        self.context_length = context_length
        self.ids = {word: number for number, word in enumerate(words)}
        self.ranks = {pair: number for number, pair in enumerate(pairs)}
        self.known: dict[str, list[int]] = {START: [self.ids[START]], END: [self.ids[END]]}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return the ids [n, context length]."""
        found = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        for row, text in zip(found, texts, strict=True):
            ids = [self.ids[START], *self.encode(text), self.ids[END]]
            if len(ids) > self.context_length:
                ids = [*ids[: self.context_length - 1], self.ids[END]]
            row[: len(ids)] = torch.tensor(ids)
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text without start and end."""
        plain = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        plain = " ".join(plain.split()).lower()
        return [number for piece in PIECES.findall(plain) for number in self._of_piece(piece)]

    def _of_piece(self, piece: str) -> list[int]:
        spelled = "".join(_letters()[byte] for byte in piece.encode("utf-8"))
        if spelled not in self.known:
            self.known[spelled] = [self.ids[part] for part in self._merged(spelled)]
        return self.known[spelled]

    def _merged(self, spelled: str) -> tuple[str, ...]:
        """Return the parts of a word once the pair that was merged first in training is merged everywhere in
        it, again and again.
        """
        parts = (*spelled[:-1], spelled[-1] + WORD_END)
        while len(parts) > 1:
            first = min(pairwise(parts), key=lambda p: self.ranks.get(p, len(self.ranks)))
            if first not in self.ranks:
                break
            parts = _merge(parts, first)
        return parts


def _merge(parts: Sequence[str], pair: tuple[str, ...]) -> tuple[str, ...]:
    """Return the parts with every occurrence of a pair made one, from the left."""
    found: list[str] = []
    at = 0
    while at < len(parts):
        if tuple(parts[at : at + 2]) == pair:
            found.append("".join(pair))
            at += 2
        else:
            found.append(parts[at])
            at += 1
    return tuple(found)


@cache
def _letters() -> dict[int, str]:
    """Return a letter for every byte: itself where it can be printed, else one from 256 on."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return {b: chr(b) for b in printed} | {b: chr(256 + n) for n, b in enumerate(others)}
