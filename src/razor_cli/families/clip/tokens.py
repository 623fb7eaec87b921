"""Whether a tokenizer belongs to its model, asked of the ids it gives and of nothing that a library says."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from razor_cli.errors import WeightsError
from razor_cli.families.clip.text import Tokenizer

PROBES = ("photo", "cat", "a photo of a cat", "a drawing of two dogs")  # words that every CLIP was shown
LARGEST = "largest"
FIX = "give the tokenizer that the model was trained with"


def within(tokenizer: Tokenizer, rows: int, what: str) -> Tokenizer:
    """Return a tokenizer that raises WeightsError for an id outside an embedding table of `rows` rows."""

    def tokenize(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts)
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < rows:
            raise WeightsError(
                f"{what}: the tokenizer gives ids that the model has no embedding for",
                allowed=f"0 to {rows - 1}",
                found=f"{int(tokens.min())} to {int(tokens.max())}",
                fix=FIX,
            )
        return tokens

    return tokenize


def check_tokenizer(
    tokenizer: Tokenizer,
    what: str,
    *,
    unknown: int | None = None,
    end: int | str | None = None,
    pad: int | None = None,
) -> None:
    """Raise WeightsError unless different texts have different ids, words are more than special and `unknown`
    tokens, and the token by whose place the model reads a text stands in every one: the id `end`, or the
    LARGEST; None where it reads texts in another way. `pad` is what short texts must be filled up with, where
    the model looks for it.
    """
    rows = [_ids(tokenizer, text) for text in PROBES]
    special = {*_ids(tokenizer, ""), unknown}
    blank = next((t for t, ids in zip(PROBES, rows, strict=True) if special.issuperset(ids)), None)
    if blank is not None:
        raise WeightsError(
            f"{what}: the tokenizer does not know words",
            found=f"{blank!r} is nothing but special and unknown tokens",
            fix=FIX,
        )
    for i, ids in enumerate(rows):
        if ids in rows[:i]:
            raise WeightsError(
                f"{what}: the tokenizer gives different texts the same ids",
                found=f"{PROBES[rows.index(ids)]!r} and {PROBES[i]!r}",
                fix=FIX,
            )
    if pad is not None and rows[0][-1] != pad:
        raise WeightsError(
            f"{what}: the tokenizer fills texts up with another id than the model leaves out",
            allowed=pad,
            found=rows[0][-1],
            fix=FIX,
        )
    if end is not None:
        ends = {max(ids) for ids in rows} if end == LARGEST else {end}
        if len(ends) > 1 or not all(ends.issubset(ids) for ids in rows):
            raise WeightsError(
                f"{what}: the end token that the model reads a text by is not the tokenizer's",
                found="the largest id differs" if end == LARGEST else f"no token {end} in {PROBES[0]!r}",
                fix=FIX,
            )


def _ids(tokenizer: Tokenizer, text: str) -> Sequence[int]:
    found: list[int] = tokenizer([text])[0].tolist()
    return found
