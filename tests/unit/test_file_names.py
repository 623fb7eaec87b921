"""split.json says which file a picture was, until somebody takes the names out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_runs import fake_run
from PIL import Image
from typer.testing import CliRunner

from razor_cli.commands.data import app
from razor_cli.data.sets import Pairs, recorded
from razor_cli.data.sources.folder import Folder
from razor_cli.data.sources.tally import Tally
from razor_cli.escape import in_json
from razor_cli.runs import voucher
from razor_cli.runs.file_names import named, take_out
from razor_cli.runs.folder import DONE, Run, complete_runs, write_atomic
from razor_cli.runs.known import find_run


@pytest.fixture
def split(tmp_path: Path) -> dict[str, object]:
    """Return what is recorded of a folder of photographs, one of them there twice."""
    place = tmp_path / "photos" / "Ada Lovelace"
    place.mkdir(parents=True)
    for i in range(4):
        Image.effect_noise((16, 16), 20 + i).convert("RGB").save(place / f"ada {i}.png")
    (place / "copy.png").write_bytes((place / "ada 0.png").read_bytes())
    source = Folder(tmp_path / "photos", domain="person")
    pictures = source.pictures("Ada Lovelace", "train")
    return dict(recorded({"forget": Pairs(tuple(pictures), {source.domain: source})}))


def test_notes_lose_names_and_keep_numbers(tmp_path: Path) -> None:
    tally = Tally(setting="data.root", examined=9, corrupt={"Ada/a.png": "cut off", "Ada/b.png": "cut off"})
    tally.count("pictures without a face", "Ada/c.png", 3)
    notes = tally.notes()
    assert all("Ada" in note for note in notes)
    assert [Tally.unnamed(note) for note in notes] == [
        "data.root: 2 of 9 are corrupt and left out",
        "data.root: pictures without a face: 3",
    ]
    found = fake_run(tmp_path)
    record = json.loads(found.read("run.json"))
    acting = "a title \x9b31m"  # acts on a terminal where it is not escaped
    write_atomic(found.folder / "run.json", json.dumps(record | {"notes": [*notes, acting]}))
    write_atomic(found.folder / DONE, voucher.voucher(found.folder, found.run_id))
    (run,) = named(tmp_path)
    before = run.record
    take_out(tmp_path, run)
    (run,) = complete_runs(tmp_path)
    assert named(tmp_path) == {} and "Ada" not in run.read("run.json") and "\x9b" not in run.read("run.json")
    assert len(run.record.notes) == 3 and run.record.notes[-1] == acting
    assert run.record.model_copy(update={"notes": before.notes}) == before


@pytest.fixture
def run(tmp_path: Path, split: dict[str, object]) -> Run:
    """Return a recorded run on these photographs."""
    found = fake_run(tmp_path / "outputs")
    write_atomic(found.folder / "split.json", in_json(split, indent=1))
    write_atomic(found.folder / DONE, voucher.voucher(found.folder, found.run_id))
    return found


def test_every_key_of_a_file_has_its_name_below_the_root(split: dict[str, object]) -> None:
    assert isinstance(keys := split["forget"], list) and isinstance(files := split["files"], dict)
    assert keys and set(files) == set(keys)
    assert all(name.startswith("Ada Lovelace/ada ") for name in files.values())


def test_names_go_and_all_else_in_the_run_stays(tmp_path: Path, run: Run, split: dict[str, object]) -> None:
    def content() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in run.folder.iterdir()}

    def cleaned(*words: str) -> str:
        result = CliRunner().invoke(app, ["clean", "--output-dir", str(tmp_path / "outputs"), *words])
        assert result.exit_code == 0, result.output
        return result.output

    before = content()
    cleaned()
    assert f"{len(split['forget'])} would be taken out of 1 recorded" in cleaned("--names", "--dry-run")  # type: ignore[arg-type]
    assert content() == before
    assert "taken out of 1 recorded runs" in cleaned("--names")
    after = content()
    assert {n for n in before | after if before.get(n) != after.get(n)} == {"split.json", DONE}
    assert json.loads(after["split.json"]) == {"forget": split["forget"]}
    assert b"Ada" not in b"".join(after.values())
    assert find_run(tmp_path / "outputs", run.run_id).record == run.record
    assert [r.run_id for r in complete_runs(tmp_path / "outputs")] == [run.run_id]
    assert "0 taken out of 0 recorded runs" in cleaned("--names")
