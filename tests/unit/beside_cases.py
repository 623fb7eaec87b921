"""A folder as transformers saves a CLIP, changed in one place and then refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loading_cases import hf_folder

from razor_cli.errors import WeightsError
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.clip.spec import ClipSpec

SIDE = 16  # of hf_folder's pictures


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = hf_folder(tmp_path_factory.mktemp("saved") / "hf")
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path, saved: dict[str, bytes]) -> Path:
    for name, content in saved.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def refused(folder: Path, *parts: str) -> None:
    """Expect the problem from the settings alone, before weights, and the same of loading."""
    spec = ClipSpec(name="hf", stand_in=False, library=Library.HF, weights=str(folder))
    said = [str(problem.error()) for problem in spec.problems()]
    assert len(said) == 1
    with pytest.raises(WeightsError) as caught:
        load_hugging_face("hf", str(folder))
    assert caught.value.exit_code == 2
    for part in parts:
        assert part in said[0] and part in str(caught.value)
