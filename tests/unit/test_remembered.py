"""What is computed from files is computed again exactly when one of them may have changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from razor_cli.runs import remembered
from razor_cli.runs.remembered import file_hash, remember


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep memories in a folder of this test, and take every file for settled."""
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "SETTLED", -(10**12))
    return tmp_path / "cache" / remembered.FOLDER


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"abc")
    return path


class Counted:
    """Reads files, and counts how often."""

    def __init__(self, *files: Path) -> None:
        self.files, self.calls = files, 0

    def __call__(self) -> str:
        self.calls += 1
        return " ".join(f.read_text() for f in self.files)

    def asked(self, kind: str = "text") -> str:
        return remember(kind, self.files, self)


def test_hash_is_that_of_the_bytes_and_is_taken_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hashlib.sha256(b"abc").hexdigest()
    assert file_hash(file) == expected
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert file_hash(file) == file_hash(str(file)) == expected


def test_nothing_is_computed_while_no_file_changes_and_kinds_are_apart(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "config.json"
    other.write_text("x")
    both = Counted(file, other)
    assert [both.asked(), both.asked()] == ["abc x"] * 2 and both.calls == 1
    both.asked("another")
    assert both.calls == 2
    other.write_text("longer")
    assert both.asked() == "abc longer" and both.calls == 3


def test_same_size_and_a_time_set_back_do_not_hide_a_change(file: Path) -> None:
    counted, before = Counted(file), file.stat()
    counted.asked()
    time.sleep(0.02)  # more than the clock of a file system
    file.write_bytes(b"xyz")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert counted.asked() == "xyz"


def test_a_file_that_changed_a_moment_ago_is_not_trusted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "SETTLED", 2 * 10**9)
    counted = Counted(file)
    counted.asked()
    counted.asked()
    assert counted.calls == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(file: Path) -> None:
    def compute() -> str:
        text = file.read_text()
        file.write_text(text + "!")
        return text

    assert remember("text", [file], compute) == "abc" and remember("text", [file], compute) == "abc!"


def test_a_link_that_points_elsewhere_is_another_file(file: Path, tmp_path: Path) -> None:
    other, link = tmp_path / "other.bin", tmp_path / "link"
    other.write_bytes(b"xyz")
    link.symlink_to(file)
    assert Counted(link).asked() == "abc"
    link.unlink()
    link.symlink_to(other)
    assert Counted(link).asked() == "xyz"


def test_missing_file_is_an_error_of_who_reads_it_and_nothing_is_kept(tmp_path: Path, store: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_hash(tmp_path / "nowhere")
    assert remember("text", [tmp_path / "nowhere"], lambda: "absent") == "absent"
    assert not store.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stats": 3, "value": "x"}', "\x00", '"x"'])
def test_damaged_memory_is_made_anew(file: Path, store: Path, text: str) -> None:
    counted = Counted(file)
    counted.asked()
    (memory,) = store.iterdir()
    sound = memory.read_text()
    memory.write_text(text)
    assert counted.asked() == "abc" and counted.calls == 2 and memory.read_text() == sound
    memory.write_text(sound.replace('"abc"', "7"))
    assert counted.asked() == "abc" and counted.calls == 3


def test_without_a_place_to_keep_it_the_answer_is_the_same(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "no folder"))
    counted = Counted(file)
    assert [counted.asked(), counted.asked()] == ["abc"] * 2 and counted.calls == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written_is_no_failure(file: Path, store: Path) -> None:
    store.parent.mkdir(parents=True)
    store.parent.chmod(0o500)
    try:
        assert Counted(file).asked() == "abc" and not store.exists()
    finally:
        store.parent.chmod(0o700)


def test_processes_beside_one_another_agree_and_leave_one_memory(file: Path, store: Path) -> None:
    file.write_bytes(bytes(2**20))
    code = (
        "import sys; from razor_cli.runs import remembered; remembered.SETTLED = -10**12\n"
        "print({remembered.file_hash(sys.argv[1]) for _ in range(50)})"
    )
    command = [sys.executable, "-c", code, str(file)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert {c.communicate()[0].strip() for c in children} == {
        f"{{{hashlib.sha256(bytes(2**20)).hexdigest()!r}}}"
    }
    assert len(list(store.iterdir())) == 1
