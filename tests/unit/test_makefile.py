"""What `make standins` would run, for each model that the script trains."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def standins(*words: str, dry: bool = True) -> tuple[int, list[str], str]:
    """Return exit code, the models that would be trained in order, and all that was said."""
    command = ["make", *(["-n"] if dry else []), "-o", ".venv/.ready", "standins", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, re.findall(r"train_standins\.py (\w+)", done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize("model", ["clip", "siglip", "sd", "judges", "sd3", "llava"])
def test_a_model_is_trained_alone(model: str) -> None:
    code, found, said = standins(f"MODEL={model}", "CIFAR=pictures", "ARGS=--seed 1")
    assert (code, found) == (0, [model]) and "--seed 1" in said
    described = re.findall(r"^    python scripts/train_standins\.py (\w+)", _doc(), re.MULTILINE)
    assert model in described


def test_without_a_model_all_are_trained_each_after_what_it_needs() -> None:
    assert standins("CIFAR=pictures")[:2] == (0, ["clip", "siglip", "sd", "judges", "sd3", "llava"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give CIFAR=DIR"),
        (("MODEL=clip",), "give CIFAR=DIR"),
        (("MODEL=siglip",), "give CIFAR=DIR"),
        (("MODEL=sdxl",), "MODEL=sdxl"),
    ],
)
def test_what_cannot_be_trained_is_said_and_nothing_starts(words: tuple[str, ...], said: str) -> None:
    code, _, told = standins(*words, dry=False)
    assert code == 2 and said in told and "Traceback" not in told and "train_standins" not in told


def test_help_names_every_model() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if "make standins" in line)
    assert all(model in line for model in ("clip", "sd,", "judges", "sd3", "llava"))


def _doc() -> str:
    return (ROOT / "scripts/train_standins.py").read_text(encoding="utf-8")
