"""The one way from the bytes of a picture file to RGB, and what of it is worth knowing beforehand.

`examine` goes the whole way that `decode` goes, so that what a run cannot use is found when files are
examined.
"""

from __future__ import annotations

import io
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")  # no other parser of the image library ever sees the bytes
MAX_PIXELS = 80_000_000  # below the size at which the image library itself begins to complain
MAX_BYTES = 200_000_000
MAX_RATIO = 200  # long to short side: a model's input would be enlarged along with the short one
SHORT_SIDE = (
    512  # pixels; larger pictures are reduced when read: models take 224 or 336, and memory stays bounded
)
BACKGROUND = (255, 255, 255)  # what shows through transparent parts
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TO_BYTE = ((np.arange(1 << 16, dtype=np.uint32) + 128) // 257).astype(np.uint8)  # 16 bits to the nearest of 8

ONE_COLOUR = "pictures of one colour after decoding"
CLEAR = "pictures with transparent parts, laid on white"
DEEP = "pictures of 16-bit grey, scaled to 8 bits"
MOVING = "pictures of several frames, of which the first is used"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What examining a picture file found: why it cannot be used, and what a reader of a run may want to
    know.
    """

    flaw: str | None = None
    traits: tuple[str, ...] = ()


class _RefusedError(ValueError):
    """A whole picture of a kind that is not used."""


def examine(data: bytes) -> Look:
    """Return what is to be known of the bytes of a picture file. Decodes all of it."""
    if not 0 < len(data) <= MAX_BYTES:
        return Look(flaw=f"more than {MAX_BYTES:,} bytes" if data else "empty file")
    try:
        image, traits = _read(data)
    except UnidentifiedImageError:
        return Look(flaw="not a JPEG, PNG or WebP picture")
    except _RefusedError as error:
        return Look(flaw=str(error))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Look(flaw=f"more than {MAX_PIXELS:,} pixels")
    except Exception as error:  # damaged bytes lead a decoder to any exception there is
        return Look(flaw=f"damaged ({error or type(error).__name__})")
    bands = image.getextrema()
    if all(low == high for low, high in bands):  # type: ignore[misc]  # RGB has a pair for each band
        traits = (*traits, ONE_COLOUR)
    return Look(traits=traits)


def read_picture(path: Path) -> tuple[bytes, Look]:
    """Return the bytes of a picture file and what is to be known of them; no bytes if it cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"", Look(flaw="no file")
        if status.st_size > MAX_BYTES:
            return b"", Look(flaw=f"more than {MAX_BYTES:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        return b"", Look(flaw=f"cannot be read ({error.strerror})")
    return data, examine(data)


def bytes_of(path: Path) -> bytes:
    """Return the bytes of a file; none if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def decode(data: bytes, short_side: int = SHORT_SIDE) -> Image.Image:
    """Return a checked picture as RGB, upright by its EXIF orientation, reduced to 512 pixels on the shorter
    side, or to those named.
    """
    return _read(data, short_side)[0]


def _read(data: bytes, short_side: int = SHORT_SIDE) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the picture, and which of the traits it had in its file."""
    with _opened(data) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise _RefusedError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")
        if max(width, height) > MAX_RATIO * min(width, height):
            raise _RefusedError(f"{width} x {height} pixels, more than {MAX_RATIO} times as long as wide")
        image.draft(
            None, (short_side, short_side)
        )  # JPEG: decode at a half, a quarter, ... where that is still enough
        frames = image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1
        turn = _turn(image)
        upright, traits = _rgb(image)
    if frames:
        traits = (*traits, MOVING)
    if turn is not None:
        upright = upright.transpose(turn)
    scale = short_side / min(upright.size)
    if scale >= 1:
        return upright, traits
    size = (max(1, round(upright.width * scale)), max(1, round(upright.height * scale)))
    return upright.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0), traits


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        bare = _without_exif(data)  # damaged metadata can keep the library from seeing a JPEG as one
        if len(bare) == len(data):
            raise
        return Image.open(io.BytesIO(bare), formats=FORMATS)


def _without_exif(data: bytes) -> bytes:
    """Return a JPEG file less its APP1 segments, which hold metadata alone; other bytes as they are."""
    if not data.startswith(b"\xff\xd8"):
        return data
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"", b"\xda"):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xE1:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what turns a picture upright; None where it is upright or where its EXIF cannot be read."""
    try:
        found = image.getexif().get(ORIENTATION)
    except Exception:  # as above; the picture itself is sound
        return None
    return TURNS.get(found) if isinstance(found, int) else None


def _rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey(image)
    if image.mode == "F":
        raise _RefusedError("grey values as floating-point numbers, which are not read")
    if image.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and "transparency" not in image.info:
        return image.convert("RGB"), ()
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):
        return layer.convert("RGB"), ()
    ground = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
    return Image.alpha_composite(ground, layer).convert("RGB"), (CLEAR,)


def _grey(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Return 16-bit grey as RGB of 8 bits; the value that the file declares transparent shows the
    background.
    """
    values = np.asarray(image)
    if image.mode == "I" and (values.min() < 0 or values.max() >= len(TO_BYTE)):
        raise _RefusedError("grey values of 32 bits, which are not read")
    found = Image.fromarray(TO_BYTE[values]).convert("RGB")
    hidden = image.info.get("transparency")
    if not isinstance(hidden, int) or not (values == hidden).any():
        return found, (DEEP,)
    found.paste(BACKGROUND, mask=Image.fromarray(values == hidden))
    return found, (DEEP, CLEAR)
