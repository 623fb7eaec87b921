"""`razor data clean`: what goes, what stays, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from razor_cli.atomic import staged
from razor_cli.commands.data import app

MB = 2**20


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an output folder with three entries of 1 MB, `c` used last, a training's state and a run."""
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "user"))
    for number, name in enumerate("abc"):
        put(tmp_path / f"outputs/cache/{name}.safetensors", MB)
        os.utime(tmp_path / f"outputs/cache/{name}.safetensors", (number, number))
    put(tmp_path / "outputs/cache/a.lock", 0)
    put(tmp_path / "outputs/cache/training/x/state.safetensors", MB)
    put(tmp_path / "outputs/runs/one/scores.csv", 10)
    put(tmp_path / "user/rendered/v1/faces/1.png", MB)
    put(tmp_path / "user/hashes/1.json", 10)
    return tmp_path


def put(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def cleaned(place: Path, *words: str) -> tuple[str, set[str]]:
    result = CliRunner().invoke(app, ["clean", "--output-dir", str(place / "outputs"), *words])
    assert result.exit_code == 0, result.output
    left = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    return result.output.replace(str(place), ""), left


RUN, STATE = "outputs/runs/one/scores.csv", "outputs/cache/training/x/state.safetensors"
PICTURE, HASH = "user/rendered/v1/faces/1.png", "user/hashes/1.json"


def test_gradients_go_and_nothing_else_unasked(place: Path) -> None:
    said, left = cleaned(place)
    assert left == {RUN, STATE, PICTURE, HASH}
    assert "gradients and embeddings in /outputs/cache: 3.0 MB removed, 0.0 MB left" in said
    assert "drawn pictures in /user/rendered: 0.0 MB removed, 1.0 MB left (--pictures removes them)" in said


def test_what_was_used_last_is_kept_up_to_a_size(place: Path) -> None:
    said, left = cleaned(place, "--keep-gb", str(1 / 1024))
    assert "outputs/cache/c.safetensors" in left and "2.0 MB removed, 1.0 MB left" in said
    assert not left & {"outputs/cache/a.safetensors", "outputs/cache/b.safetensors"}


def test_all_goes_that_is_asked_for_with_its_folders(place: Path) -> None:
    _, left = cleaned(place, "--pictures", "--training")
    assert left == {RUN, HASH}
    assert not (place / "outputs/cache").exists()


def test_a_dry_run_says_it_and_removes_nothing(place: Path) -> None:
    before = {p for p in place.rglob("*") if p.is_file()}
    said, _ = cleaned(place, "--dry-run", "--pictures")
    assert {p for p in place.rglob("*") if p.is_file()} == before
    assert "3.0 MB would be removed, 0.0 MB left" in said and "1.0 MB would be removed" in said


def test_what_dead_processes_left_goes_and_what_living_ones_write_stays(place: Path) -> None:
    places = (place / "outputs/cache", place / "outputs/cache/training", place / "user/rendered/v1/faces")
    for folder in places:
        put(folder / ".razor-tmp-00000000/x.safetensors", MB)
        put(folder / ".razor-tmp-00000000/.lock", 0)
    with staged(places[2] / "y.safetensors") as part:
        put(part, 10)
        _, left = cleaned(place, "--pictures", "--training")
        assert part.is_file()
    assert not [name for name in left if "razor-tmp-00000000" in name]


def test_nothing_there_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "user"))
    said, left = cleaned(tmp_path)
    assert not left and said.count("0.0 MB removed, 0.0 MB left") == 3
