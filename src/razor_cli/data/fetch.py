"""Fetching CIFAR-10 once, from the hub or from a folder, into the place where runs look for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from razor_cli.atomic import staged
from razor_cli.data.sources.cifar10 import CLASSES, PARTS, SIDE, Cifar10, part_files
from razor_cli.errors import DataError, RunError

REPOSITORY = "uoft-cs/cifar10"
FILES = ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet")
COUNTS = {"train": 50_000, "test": 10_000}
SAMPLE = 50  # photographs of each part that are decoded to see that they are photographs
BY_HAND = (
    "fetch cifar-10-binary.tar.gz (or the parquet files of the hub data set uoft-cs/cifar10) on a "
    "machine with a network, "
    "unpack it here, and run `razor data prepare cifar10 --from DIR`"
)


def prepare_cifar10(to: Path, source: Path | None = None, *, counts: Mapping[str, int] = COUNTS) -> bool:
    """Put a checked copy of CIFAR-10 into the folder `to`, from `source` or the hub; False if it is there
    already.

    The folder appears whole or not at all, and nothing in it is ever replaced. Raises DataError if `source`
    or what lies at `to` is not CIFAR-10, RunError if the hub cannot be reached or sends something else.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        try:
            check_cifar10(to, counts)
        except DataError as error:
            fix = "remove it yourself, or choose another place with --to"
            raise DataError(f"'{to}' exists and is not CIFAR-10", found=error.what, fix=fix) from error
        return False
    if source is not None and not source.is_dir():
        raise DataError(
            f"--from: '{source}' is not a folder",
            fix="give the folder with CIFAR-10's parquet or binary files",
        )
    with staged(to) as part:
        part.mkdir()
        (download if source is None else _copier(source))(part)
        try:
            check_cifar10(part, counts)
        except DataError as error:
            if source is not None:
                raise DataError(
                    f"--from: '{source}' is not all of CIFAR-10", found=error.message(), fix=BY_HAND
                ) from error
            raise RunError(
                f"the hub's {REPOSITORY} is not the CIFAR-10 expected", found=error.message(), fix=BY_HAND
            ) from error
        part.replace(to)
    return True


def check_cifar10(root: Path, counts: Mapping[str, int] = COUNTS) -> None:
    """Raise DataError unless the folder holds so many photographs in each part, evenly labelled, 32 x 32."""
    cifar = Cifar10(root)
    for part in PARTS:
        labels = cifar.labels[part]
        per_class = np.bincount(labels, minlength=len(CLASSES)).tolist()
        if per_class != [counts[part] // len(CLASSES)] * len(CLASSES):
            found = ", ".join(f"{n} {c}" for n, c in zip(per_class, CLASSES, strict=True))
            raise DataError(
                f"'{root}': the {part} part is not {counts[part]:,} photographs, as many of each class",
                found=found,
            )
        for row in np.linspace(0, len(labels) - 1, SAMPLE, dtype=int).tolist():
            if (why := cifar.flaw(part, row)) is not None:
                raise DataError(
                    f"'{root}': row {row} of the {part} part is no {SIDE} x {SIDE} photograph", found=why
                )


def download(to: Path) -> None:
    """Fetch the two parquet files from the hub (an optional extra); raises RunError with another way."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        fix = f"pip install 'razor-cli[hub]', or {BY_HAND}"
        raise RunError("fetching from the hub needs the package huggingface_hub", fix=fix) from error
    for file in FILES:
        try:
            hf_hub_download(REPOSITORY, file, repo_type="dataset", local_dir=to)
        except Exception as error:  # the client passes on the errors of whichever HTTP library it uses
            raise RunError(
                f"the hub's {REPOSITORY} cannot be fetched",
                found=(str(error) or type(error).__name__).splitlines()[0],
                fix=BY_HAND,
            ) from error
    shutil.rmtree(to / ".cache", ignore_errors=True)


def _copier(source: Path) -> Callable[[Path], None]:
    def copy(to: Path) -> None:
        for part in PARTS:
            for file in part_files(source, part):
                shutil.copyfile(file, to / file.name)

    return copy
