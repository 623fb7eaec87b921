"""From bytes to RGB: depth, transparency, damaged metadata, frames; what is examined is what is used."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import picture_bytes, write_folder
from PIL import Image

from razor_cli.data.sources.base import SPLITS
from razor_cli.data.sources.folder import Folder
from razor_cli.data.sources.pixels import CLEAR, DEEP, MOVING, ONE_COLOUR, decode, examine, read_picture
from razor_cli.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **more: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data))


def test_16_bit_grey_is_its_8_bit_twin() -> None:
    grey = NOISE[..., 0]
    deep = encoded(Image.fromarray(grey.astype(np.uint16) * 257))
    assert np.array_equal(pixels(deep), pixels(encoded(Image.fromarray(grey))))
    odd = np.clip(grey.astype(np.int64) * 257 + 100, 0, 65535).astype(np.uint16)
    assert np.abs(pixels(encoded(Image.fromarray(odd)))[..., 0].astype(int) - grey).max() <= 1
    assert examine(deep).traits == (DEEP,)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_parts_show_white_whatever_colour_hides_below(mode: str, kind: str) -> None:
    hidden = NOISE.copy()
    hidden[..., 3] = 255
    hidden[5:10, 5:10, 3] = 0
    image = Image.fromarray(hidden).convert(mode)
    image = image if kind == "PNG" else image.convert("RGBA")
    data = encoded(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    found = pixels(data)
    assert (found[5:10, 5:10] == 255).all()
    assert np.array_equal(found[11:], np.asarray(image.convert("RGB"))[11:])
    assert examine(data).traits == (CLEAR,)
    half = Image.new("RGBA", (9, 9), (0, 0, 0, 128))
    assert (pixels(encoded(half)) == 127).all()


def test_a_transparent_colour_or_palette_entry_shows_white() -> None:
    grey = Image.fromarray(NOISE[..., 0])
    found = pixels(encoded(grey, transparency=int(NOISE[0, 0, 0])))
    assert (found[0, 0] == 255).all()
    palette = Image.fromarray(NOISE[..., :3]).convert("P")
    index = int(np.asarray(palette)[3, 3])
    data = encoded(palette, transparency=index)
    assert (pixels(data)[3, 3] == 255).all() and examine(data).traits == (CLEAR,)
    deep = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    data = encoded(deep, transparency=int(NOISE[0, 0, 0]) * 257)
    assert (pixels(data)[0, 0] == 255).all() and examine(data).traits == (DEEP, CLEAR)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_opaque_pictures_are_what_they_were(mode: str) -> None:
    solid = NOISE.copy()
    solid[..., 3] = 255
    image = Image.fromarray(solid).convert(mode)
    assert np.array_equal(pixels(encoded(image)), np.asarray(image.convert("RGB")))
    assert examine(encoded(image)).traits == ()


def test_one_colour_and_several_frames_are_worth_a_note() -> None:
    assert examine(encoded(Image.new("CMYK", (9, 9), (0, 99, 0, 0)), "JPEG")).traits == (ONE_COLOUR,)
    assert examine(encoded(Image.new("RGBA", (9, 9), (255, 0, 0, 0)))).traits == (CLEAR, ONE_COLOUR)
    frames = [Image.fromarray(np.roll(NOISE[..., :3], n)) for n in range(3)]
    for kind in ("PNG", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert examine(data).traits == (MOVING,)


def test_pictures_that_would_grow_without_bound_are_refused() -> None:
    assert "200 times as long" in (examine(encoded(Image.new("RGB", (2, 900)))).flaw or "")


def with_exif(kind: str) -> tuple[bytes, bytes]:
    """Return a picture that lies on its side, and the EXIF block in it."""
    image = Image.fromarray(NOISE[..., :3])
    exif = image.getexif()
    exif[0x0112], exif[0x011A], exif[0x0110] = 6, 72.0, "a camera"
    data = encoded(image, kind, exif=exif)
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    assert block in data
    return data, block


def patched(kind: str, data: bytes, block: bytes, fresh: bytes) -> bytes:
    found = data.replace(block, fresh)
    if kind != "PNG":
        return found
    at = found.index(b"eXIf")
    return (
        found[: at + 4 + len(fresh)]
        + struct.pack(">I", zlib.crc32(found[at : at + 4 + len(fresh)]))
        + (found[at + 8 + len(fresh) :])
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_damage_to_metadata_costs_a_picture(kind: str) -> None:
    data, block = with_exif(kind)
    assert decode(data).size == (20, 30)
    rng = random.Random(7)
    sizes = set()
    for _ in range(400):
        fresh = bytearray(block)
        for _ in range(rng.randint(1, 6)):
            fresh[rng.randrange(len(fresh))] = rng.randrange(256)
        damaged = patched(kind, data, block, bytes(fresh))
        assert examine(damaged).flaw is None
        sizes.add(decode(damaged).size)
    assert sizes == {(20, 30), (30, 20)}  # upright where the orientation can be read, else as it lies


def test_orientation_is_followed_beside_a_field_of_the_wrong_type() -> None:
    tags = struct.pack("<HHI", 0x112, 3, 1) + struct.pack("<HH", 6, 0) + struct.pack("<HHI", 0x11A, 2, 4)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + b"72\0\0" + b"\0\0\0\0"
    assert decode(encoded(Image.fromarray(NOISE[..., :3]), "JPEG", exif=exif)).size == (20, 30)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_passes_the_examination_decodes(kind: str) -> None:
    data, rng = picture_bytes(1, kind, (40, 30)), random.Random(3)
    passed = 0
    for _ in range(300):
        fresh = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            fresh[rng.randrange(len(fresh))] = rng.randrange(256)
        if examine(bytes(fresh)).flaw is None:
            passed += 1
            assert decode(bytes(fresh)).mode == "RGB"
    assert passed < 300


def test_traits_are_counted_in_notes(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"Ada": 6})
    for n in range(3):
        Image.new("RGB", (9, 9), (n, n, n)).save(root / "Ada" / f"plain{n}.png")
    folder = Folder(root)
    assert sum(len(folder.pictures("Ada", s)) for s in SPLITS) == 9
    assert folder.tally.notes() == [f"data.root: {ONE_COLOUR}: 3, such as Ada/plain0.png"]


def test_a_picture_that_changes_after_it_was_examined_is_refused(tmp_path: Path) -> None:
    folder = Folder(write_folder(tmp_path, {"Ada": 4}))
    pictures = folder.pictures("Ada", "train")
    for file in (tmp_path / "Ada").iterdir():
        file.write_bytes(picture_bytes(500))
    with pytest.raises(DataError, match="no longer the picture that was examined"):
        folder.load(pictures)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png")[1].flaw == "no file"
