"""Patches that earlier versions wrote apply, verify and revert for ever, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import frozen
import pytest
from safetensors import safe_open

from razor_cli.main import razor_command
from razor_cli.weights.patch import apply, read_patch, revert, undo_path_for, verify

VERSIONS = ["0.1"]  # each has a patch, its undo file, and what they must give
every_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return frozen.write_base(tmp_path / "base.safetensors")


def promised(version: str) -> dict[str, str]:
    return json.loads(frozen.patch_file(version, "json").read_text(encoding="utf-8"))


def names(file: Path) -> set[str]:
    """Return the tensors that a file holds, read without the package."""
    with safe_open(file, framework="pt") as opened:
        return set(opened.keys())


@every_version
def test_patch_says_what_it_said(version: str) -> None:
    header, values = read_patch(frozen.patch_file(version, "patch"))
    assert (header.format_version, header.kind, header.method, header.target) == (1, "patch", "razor", None)
    assert header.settings == {"method": "razor", "scenario": "identity", "version": f"{version}.0"}
    assert values.keys() == header.tensors.keys() == names(frozen.patch_file(version, "undo"))


@every_version
def test_patch_applies_and_reverts(version: str, base: Path, tmp_path: Path) -> None:
    patch, undo = (frozen.patch_file(version, kind) for kind in ("patch", "undo"))
    assert frozen.content(base) == promised(version)["base"]
    assert verify(patch, base) == []
    out = apply(patch, base, tmp_path / "out.safetensors")
    assert frozen.content(out) == promised(version)["edited"] != promised(version)["base"]
    assert verify(undo, out) == [] and verify(patch, out) != []
    for number, way in enumerate(
        ({"undo_path": undo}, {"undo_path": undo_path_for(out)}, {"base_path": base})
    ):
        back = revert(out, tmp_path / f"back{number}.safetensors", **way)
        assert frozen.content(back) == promised(version)["base"]


@every_version
def test_undo_file_written_now_holds_what_the_frozen_one_holds(
    version: str, base: Path, tmp_path: Path
) -> None:
    out = apply(frozen.patch_file(version, "patch"), base, tmp_path / "out.safetensors")
    then, now = (read_patch(p)[0] for p in (frozen.patch_file(version, "undo"), undo_path_for(out)))
    assert now == then
    assert frozen.content(undo_path_for(out)) == frozen.content(frozen.patch_file(version, "undo"))


@every_version
def test_command_line_takes_the_patch(
    version: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patch, undo = (str(frozen.patch_file(version, kind)) for kind in ("patch", "undo"))
    out, back = tmp_path / "out.safetensors", tmp_path / "back.safetensors"
    assert razor_command(["patch", "show", patch]) == 0
    assert "razor" in capsys.readouterr().out
    assert razor_command(["patch", "verify", patch, "--base", str(base)]) == 0
    assert razor_command(["patch", "apply", patch, "--base", str(base), "--out", str(out)]) == 0
    assert razor_command(["patch", "revert", str(out), "--undo", undo, "--out", str(back)]) == 0
    assert (
        frozen.content(out) == promised(version)["edited"]
        and frozen.content(back) == promised(version)["base"]
    )
