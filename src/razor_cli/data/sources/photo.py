"""What sources of the user's own pictures share: which files are pictures, what a picture's key is, how names
are compared and found.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from razor_cli.errors import DataError

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")


def content_key(source: str, data: bytes) -> str:
    """Return the key of a picture file: equal bytes have equal keys, whatever their names."""
    return f"{source}/{hashlib.sha256(data).hexdigest()[:16]}"


def unchanged(key: str, data: bytes, where: object) -> bytes:
    """Return the bytes of a picture that is read again. Raises DataError if they are not those that were
    examined.
    """
    if content_key("", data) != f"/{hash_of(key)}":
        raise DataError(
            f"'{where}' is no longer the picture that was examined",
            found=f"{len(data):,} other bytes" if data else "nothing that can be read",
            fix="leave the pictures alone while a run works, and start it again",
        )
    return data


def hash_of(key: str) -> str:
    """Return the content's hash in a key of `content_key`, which is the same whichever source read the
    file.
    """
    return key.partition("/")[2]


def same(name: str) -> str:
    """Return the form in which names are compared: no case, `_` and `-` as spaces, one apostrophe, one
    Unicode form.
    """
    return (
        re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).replace("\u2019", "'")).strip().casefold()
    )


def mention(names: Iterable[str], *, joined: bool = False) -> re.Pattern[str]:
    """Return a pattern that finds any of `names` as whole words in the `same` form of a caption.

    `joined` also finds a name written without its spaces (`#taylorswift`): for keeping pictures out, where a
    miss is worse than a false hit. Names in scripts without spaces need no word boundary.
    """
    gap = " ?" if joined else " "
    wanted = sorted((same(n) for n in names), key=len, reverse=True)
    return re.compile(
        "|".join(
            _edge(n[0], "<!") + re.escape(n).replace("\\ ", gap) + _edge(n[-1], "!") for n in wanted if n
        )
    )


def _edge(letter: str, kind: str) -> str:
    """Return the word boundary beside a name's first or last letter."""
    return "" if unicodedata.name(letter, "").startswith(UNSPACED) else f"(?{kind}[^\\W_])"


def halves(count: int) -> tuple[int, int]:
    """Return the borders that cut `count` things into 50 % train, 25 % validation and 25 % evaluation."""
    first = (count + 1) // 2
    return first, first + (count - first) // 2
