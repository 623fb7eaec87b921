"""Whatever is damaged, hostile or does not belong is refused with the reason, and nothing is written."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import pytest
import safetensors.torch
import torch
from patch_cases import fill, make_base, make_values, refused, reseal, same

from razor_cli.errors import PatchError, WeightsError
from razor_cli.weights import patch_format
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import apply, read_patch, revert, undo_path_for, verify, write_patch


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return fill(tmp_path)


def test_wrong_base_is_refused(room):
    other = make_base()
    other["visual.proj"][0, 0] += 1
    safetensors.torch.save_file(other, room / "base.safetensors")
    refused(room, "visual.proj", "other values")


def test_base_that_differs_only_in_a_tensor_the_patch_leaves_alone_is_refused(room):
    other = make_base()
    other["ids"][3] = 9
    safetensors.torch.save_file(other, room / "base.safetensors")
    refused(room, "tensors that the patch does not change")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda b: b | {"visual.proj": b["visual.proj"].double()}, "stored as float64"),
        (lambda b: b | {"visual.proj": b["visual.proj"].reshape(5, 6)}, "shape [5, 6]"),
        (lambda b: {n: t for n, t in b.items() if n != "visual.proj"}, "unknown to these weights"),
    ],
)
def test_base_of_another_form_is_refused(room, change, part):
    safetensors.torch.save_file(change(make_base()), room / "base.safetensors")
    refused(room, "visual.proj", part)


def test_patch_cannot_be_applied_twice(room):
    out = apply(room / "p.safetensors", room / "base.safetensors", room / "out.safetensors")
    assert verify(room / "p.safetensors", out) == ["these weights already have the values of this file"]


def test_every_truncation_and_any_bit_flip_is_refused(room):
    path, content = room / "p.safetensors", (room / "p.safetensors").read_bytes()
    for length in [*range(12), *range(12, len(content), 61), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(PatchError):
            read_patch(path)
    rng = random.Random(0)
    places = [*range(9), *rng.sample(range(9, len(content)), 500)]
    for place in places:
        path.write_bytes(
            content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
        )
        with pytest.raises(PatchError):
            read_patch(path)
    path.write_bytes(content + b"\0")
    refused(room, "damaged")


def test_flipped_value_is_named(room):
    path, content = room / "p.safetensors", bytearray((room / "p.safetensors").read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused(room, "do not match their hash")


def test_header_that_says_another_shape_or_dtype_than_the_file_is_refused(room):
    _, values = read_patch(room / "p.safetensors")
    for wrong in (values["visual.proj"].reshape(5, 6), values["visual.proj"].view(torch.int32)):
        write_patch(room / "p.safetensors", make_values(make_base()), make_base(), method="m", target=None)
        reseal(room / "p.safetensors", {}, {**values, "visual.proj": wrong})
        refused(room, "visual.proj", "another dtype or shape")


def test_tensors_that_header_and_file_do_not_share_are_refused(room):
    _, values = read_patch(room / "p.safetensors")
    reseal(room / "p.safetensors", {}, {**values, "extra": torch.ones(1)})
    refused(room, "'extra' only in the file")


def test_unknown_format_version_and_fields_are_refused(room):
    content = (room / "p.safetensors").read_bytes()
    reseal(room / "p.safetensors", {"format_version": 2, "new_field": 1})
    refused(room, "unknown format version", "found: 2")
    (room / "p.safetensors").write_bytes(content)
    reseal(room / "p.safetensors", {"new_field": 1})
    refused(room, "not valid", "new_field")


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/x",
        "a\0b",
        "a\\b",
        "a\nb",
        "a/b",
        "a..b",
        "~x",
        ".x",
        "",
        "\x1b[2J",
        "a\u202eb",
        "x" * 600,
    ],
    ids=repr,
)
def test_path_tricks_in_names_are_refused(room, name):
    reseal(room / "p.safetensors", {}, rename={"visual.proj": name})
    refused(room, "header")


def test_control_characters_in_texts_are_refused(room):
    reseal(room / "p.safetensors", {"method": "\x1b[2Jrazor"})
    refused(room, "control character")


def test_promise_of_other_weights_is_refused_before_writing(room):
    reseal(room / "p.safetensors", {"new_hash": "0" * 64})
    refused(room, "promises")


def test_pickles_and_other_files_are_refused_and_never_opened(room):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(room / "sprung"),))

    for content in (pickle.dumps(Trap()), b"PK\x03\x04" + bytes(100)):
        (room / "p.safetensors").write_bytes(content)
        refused(room, "pickle or zip")
    for content in (b"hello, this is no patch at all", b"", b"\x00" * 40):
        (room / "p.safetensors").write_bytes(content)
        refused(room)
    torch.save({"w": Trap()}, room / "base.pt")
    with pytest.raises(WeightsError, match="plain weights"):
        read_state(room / "base.pt")
    assert not (room / "sprung").exists()


def test_header_too_large_is_refused_without_reading_it(room):
    with (room / "p.safetensors").open("wb") as file:
        file.write((patch_format.MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{")
        file.truncate(patch_format.MAX_HEADER_BYTES * 2)  # sparse
    with pytest.raises(PatchError, match="too large"):
        read_patch(room / "p.safetensors")


def test_weights_are_no_patch_and_an_undo_file_is_not_applied(room):
    (room / "p.safetensors").rename(room / "q.safetensors")
    (room / "p.safetensors").write_bytes((room / "base.safetensors").read_bytes())
    refused(room, "not a patch")
    out = apply(room / "q.safetensors", room / "base.safetensors", room / "x.safetensors")
    (room / "p.safetensors").write_bytes(undo_path_for(out).read_bytes())
    refused(room, "not a patch file", "found: undo")


def test_outputs_that_would_harm_are_refused(room):
    refused(room, "one of the inputs", out="base.safetensors", force=True)
    refused(room, "one of the inputs", out="p.safetensors", force=True)
    (room / "link.safetensors").symlink_to(room / "base.safetensors")
    refused(room, "one of the inputs", out="link.safetensors", force=True)
    (room / "hard.safetensors").hardlink_to(room / "base.safetensors")
    refused(room, "one of the inputs", out="hard.safetensors", force=True)
    (room / "old.safetensors").write_bytes(b"mine")
    refused(room, "exists already", "--force", out="old.safetensors")
    (room / "new.safetensors.undo.safetensors").write_bytes(b"mine")
    refused(room, "exists already", out="new.safetensors")
    refused(room, "not of the kind", out="out.pt")
    apply(room / "p.safetensors", room / "base.safetensors", room / "old.safetensors", force=True)
    assert same(read_state(room / "old.safetensors"), make_base() | make_values(make_base()))


def test_revert_refuses_what_does_not_belong(room):
    out = apply(room / "p.safetensors", room / "base.safetensors", room / "out.safetensors")
    before = sorted(room.iterdir())
    undo = undo_path_for(out)
    with pytest.raises(PatchError, match="does not belong"):
        revert(room / "base.safetensors", room / "r.safetensors", undo_path=undo)
    with pytest.raises(PatchError, match="one of them only"):
        revert(out, room / "r.safetensors")
    with pytest.raises(PatchError, match="one of them only"):
        revert(out, room / "r.safetensors", undo_path=undo, base_path=room / "base.safetensors")
    with pytest.raises(PatchError, match="not an undo file"):
        revert(out, room / "r.safetensors", undo_path=room / "p.safetensors")
    with pytest.raises(PatchError, match="not the base"):
        revert(out, room / "r.safetensors", base_path=room / "p.safetensors")
    assert sorted(room.iterdir()) == before
