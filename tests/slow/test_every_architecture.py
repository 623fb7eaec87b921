"""Every architecture of open_clip, small, with random weights: the table of docs/architectures.md anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
from loading_cases import small

from razor_cli.errors import WeightsError
from razor_cli.families.clip.architectures import check_served, configuration_of

__all__ = ["small"]  # a fixture
pytestmark = pytest.mark.slow
NAMES = tuple(open_clip.list_models())
SERVED = 125  # at the least


@pytest.mark.parametrize("name", NAMES)
def test_an_architecture_is_patched_or_refused_by_name(small: Any, tmp_path: Path, name: str) -> None:
    from small_trial import examine

    found = examine(name, 0, tmp_path)
    assert found.get("patched", 0) > 0 or found["refused"]


def test_most_are_served_once_the_hub_gave_what_they_need(small: Any, tmp_path: Path) -> None:
    served = 0
    for name in NAMES:
        small.write_hub(tmp_path / "hub", configuration_of(name))
        try:
            check_served(name)
        except WeightsError as error:
            assert "is not served" in error.what and error.fix
        else:
            served += 1
    assert served >= SERVED
