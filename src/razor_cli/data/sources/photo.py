"""What sources of the user's own pictures share: whether bytes are a whole picture, how they are read, what
was left out.
"""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from PIL import Image, ImageOps, UnidentifiedImageError

from razor_cli.errors import DataError

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
FORMATS = ("JPEG", "PNG", "WEBP")  # no other parser of the image library ever sees the bytes
MAX_PIXELS = 80_000_000  # below the size at which the image library itself begins to complain
MAX_BYTES = 200_000_000
SHORT_SIDE = (
    512  # pixels; larger pictures are reduced when read: models take 224 or 336, and memory stays bounded
)
NAMED = 10  # so many left-out files are named in one message
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")


def flaw(data: bytes) -> str | None:
    """Return why `data` is not a whole JPEG, PNG or WebP picture, or None if it is. Decodes all of it."""
    if not data:
        return "empty file"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return f"{width} x {height} pixels, more than {MAX_PIXELS:,}"
            image.draft(
                None, (width // 8, height // 8)
            )  # JPEG: still reads every byte, but computes fewer pixels
            image.load()
    except UnidentifiedImageError:
        return "not a JPEG, PNG or WebP picture"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"more than {MAX_PIXELS:,} pixels"
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError) as error:
        return f"damaged ({error})"
    return None


def decode(data: bytes) -> Image.Image:
    """Return a checked picture as RGB, upright by its EXIF orientation, reduced to 512 pixels on the shorter
    side.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.draft(
            None, (SHORT_SIDE, SHORT_SIDE)
        )  # JPEG: decode at a half, a quarter, ... where that is still enough
        upright = ImageOps.exif_transpose(image).convert("RGB")
    scale = SHORT_SIDE / min(upright.size)
    if scale >= 1:
        return upright
    size = (max(1, round(upright.width * scale)), max(1, round(upright.height * scale)))
    return upright.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def content_key(source: str, data: bytes) -> str:
    """Return the key of a picture file: equal bytes have equal keys, whatever their names."""
    return f"{source}/{hashlib.sha256(data).hexdigest()[:16]}"


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


@dataclass(kw_only=True)
class Tally:
    """What one place of pictures held that is not used. `setting` is the configuration key that named the
    place.
    """

    setting: str
    examined: int = 0
    duplicates: int = 0
    corrupt: dict[str, str] = field(default_factory=dict)  # file -> why
    skipped: Counter[str] = field(
        default_factory=Counter
    )  # why -> rows of metadata that have no usable picture
    caps: list[str] = field(default_factory=list)  # where a setting left out pictures that there are

    def named(self) -> str:
        """Return the corrupt files with their flaws, the first ten by name."""
        shown = [f"{name} ({why})" for name, why in sorted(self.corrupt.items())[:NAMED]]
        more = len(self.corrupt) - len(shown)
        return "; ".join(shown) + (f"; and {more} more" if more else "")

    def notes(self) -> list[str]:
        """Return what a reader of the run must know, one sentence each."""
        notes = []
        if self.corrupt:
            notes.append(
                f"{self.setting}: {len(self.corrupt)} of {self.examined} are corrupt and left out: "
                f"{self.named()}"
            )
        if self.duplicates:
            notes.append(f"{self.setting}: {self.duplicates} exact duplicates left out")
        if self.skipped:
            why = ", ".join(f"{n} {reason}" for reason, n in self.skipped.most_common())
            notes.append(f"{self.setting}: {self.skipped.total()} rows of the metadata skipped: {why}")
        return [*notes, *self.caps]

    def check(self, max_corrupt: float) -> None:
        """Raise DataError if a larger share than `max_corrupt` of what was examined is corrupt."""
        if len(self.corrupt) > max_corrupt * self.examined:
            share = len(self.corrupt) / self.examined
            raise DataError(
                f"{self.setting}: {len(self.corrupt)} of {self.examined} pictures are corrupt",
                allowed=f"a share of at most data.max_corrupt={max_corrupt:g} (this is {share:.2g})",
                found=self.named(),
                fix="replace or remove these files, or raise data.max_corrupt",
            )
