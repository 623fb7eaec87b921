"""What a run finds here and lacks, told in well under three seconds: torch and open_clip are asked for their
version only.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from razor_cli.acceptance.clip.known import Checkpoint, known_checkpoint
from razor_cli.commands.doctor_machine import GIB, Row, machine
from razor_cli.config.conf_files import conf_dir, file_of, groups, values
from razor_cli.data.prepared import prepared
from razor_cli.families.clip.standins import stand_in_folder, stand_in_names
from razor_cli.families.diffusion.files import INDEX
from razor_cli.families.diffusion.hub import NAME
from razor_cli.families.diffusion.standins import STAND_INS
from razor_cli.families.diffusion.standins import stand_in_folder as drawing_folder
from razor_cli.families.diffusion.standins import stand_in_names as drawing_stand_ins
from razor_cli.families.llava.standins import STAND_INS as ANSWERING
from razor_cli.families.llava.standins import stand_in_folder as answering_folder
from razor_cli.writable import existing, remedy, why_not

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "razor-cli"
READY, LACKING = "ready to run", "possible once something is added"
MIN_FREE = 2 * GIB  # cached gradients of one ViT-B/32 target, its patch, and room


def rows(output_dir: Path, cifar_root: Path | None = None) -> list[Row]:
    """Return everything that the glance shows; nothing is created or changed."""
    cifar = cifar_root or prepared("cifar10")
    return [*machine(), *_versions(), *_places(output_dir, cifar), *_commands(cifar)]


def _versions() -> Iterator[Row]:
    """Compare what is installed with what the package asks for."""
    from packaging.requirements import Requirement

    section = "packages"
    try:
        asked = [Requirement(r) for r in importlib.metadata.requires(PACKAGE) or []]
    except importlib.metadata.PackageNotFoundError:
        yield Row(
            section=section,
            name=PACKAGE,
            value="not installed as a package",
            state="note",
            fix="pip install -e . in the checkout",
        )
        return
    needed = [r for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [row for r in needed if (row := _version(r.name, r)) is not None]
    yield Row(
        section=section,
        name="needed",
        value=f"{len(needed) - len(wrong)} of {len(needed)} as {PACKAGE} asks for: {_main_versions()}",
    )
    yield from wrong
    for name, what in (
        ("bitsandbytes", "quantization=bitsandbytes"),
        ("huggingface_hub", "fetching data and weights from the hub"),
    ):
        version = _installed(name)
        extra = "hub" if name == "huggingface_hub" else name
        fix = "" if version else f"pip install 'razor-cli[{extra}]'"
        yield Row(
            section=section,
            name=name,
            value=version or f"absent: no {what}",
            state="ok" if version else "note",
            fix=fix,
        )


def _version(name: str, requirement: Requirement) -> Row | None:
    version, wanted = _installed(name), requirement.specifier
    if version is not None and wanted.contains(version, prereleases=True):
        return None
    found = f"{version}, {wanted} asked for" if version else f"absent, {wanted} asked for"
    return Row(
        section="packages", name=name, value=found, state="missing", fix=f"pip install '{name}{wanted}'"
    )


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _main_versions() -> str:
    names = ("torch", "open_clip_torch", "transformers", "diffusers", "numpy")
    return ", ".join(f"{n} {_installed(n) or 'absent'}" for n in names)


def _places(output_dir: Path, cifar: Path) -> Iterator[Row]:
    from razor_cli.caches import cache_dir

    section = "places"
    there, problem = existing(output_dir), why_not(output_dir)
    yield Row(
        section=section,
        name="output_dir",
        value=str(output_dir) + (f": {problem}" if problem else ", writable"),
        state="missing" if problem else "ok",
        fix=remedy("output_dir") if problem else "",
    )
    free = shutil.disk_usage(there).free
    tight = free < MIN_FREE
    yield Row(
        section=section,
        name="disk",
        value=f"{free / GIB:.1f} GB free there",
        state="note" if tight else "ok",
        fix="a real model's gradients and patches need 2 GB and more" if tight else "",
    )
    yield Row(section=section, name="gradients kept in", value=_with_size(output_dir / "cache"))
    yield Row(section=section, name="drawn pictures kept in", value=_with_size(cache_dir()))
    yield Row(section=section, name="hub's cache", value=_with_size(hub_cache(), counted=False))
    reason = cifar_problem(cifar)
    yield Row(
        section=section,
        name="CIFAR-10",
        value=f"{cifar}: {reason}" if reason else str(cifar),
        state="note" if reason else "ok",
        fix="razor data prepare cifar10, or data.cifar_root=DIR" if reason else "",
    )


def _with_size(folder: Path, *, counted: bool = True) -> str:
    if not folder.is_dir():
        return f"{folder} (not there yet)"
    if not counted:
        return str(folder)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return f"{folder} ({size / 2**20:,.0f} MB)"


def hub_cache() -> Path:
    """Return where the hub's client keeps what it fetched, by the variables it reads itself."""
    home = (
        os.environ.get("HF_HOME")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def is_cached(checkpoint: Checkpoint) -> bool:
    """Tell whether the hub's cache holds a snapshot of a checkpoint's repository with weights in it."""
    if checkpoint.hub is None:
        return False
    folder = hub_cache() / f"models--{checkpoint.hub.replace('/', '--')}" / "snapshots"
    return any(p.suffix in (".safetensors", ".bin") for p in folder.glob("*/*"))


def cifar_problem(folder: Path) -> str:
    """Return why a folder is not CIFAR-10, or nothing; only names of files are looked at."""
    from razor_cli.data.sources.cifar10 import PARTS, part_files
    from razor_cli.errors import DataError

    if not folder.is_dir():
        return "not here"
    try:
        for part in PARTS:
            part_files(folder, part)
    except DataError as error:
        return str(error.found or error.what)
    return ""


def _drawing(section: str) -> Iterator[Row]:
    """Return the commands of models that draw: stand-ins, and those that the hub has."""
    for option in groups([conf_dir()])["model"]:
        node = values(file_of("model", option))
        weights = node.get("weights")
        if option in STAND_INS:
            there = option in drawing_stand_ins()
            size = sum(f.stat().st_size for f in drawing_folder(option).rglob("*") if f.is_file())
            text = (
                f"stand-in {option}, {size / 2**20:.1f} MB" if there else f"stand-in {option} has no weights"
            )
            fix = "" if there else "reinstall razor-cli, or train it: scripts/train_standins.py"
            name = f"razor-run model={option} scenario=style"
            yield Row(section=section, name=name, value=text, state="ok" if there else "note", fix=fix)
        elif isinstance(weights, str) and NAME.fullmatch(weights):
            folder = hub_cache() / f"models--{weights.replace('/', '--')}" / "snapshots"
            there = any(folder.glob(f"*/{INDEX}"))
            yield Row(
                section=section,
                name=f"razor-run model={option} scenario=style data=generated target=NAME",
                state="ok" if there else "note",
                value=f"{weights} is {'' if there else 'not '}in the hub's cache",
                fix="" if there else "the hub gives it on first use; else model.weights=DIR",
            )


def _commands(cifar: Path) -> list[Row]:
    """Return the headline commands, those that are ready before those that lack something."""
    found = list(_headlines(cifar, READY))
    ready = [row for row in found if row.state == "ok"]
    return ready + [replace(row, section=LACKING) for row in found if row.state != "ok"]


def _answering(section: str) -> Iterator[Row]:
    """Return the commands of the stand-ins that answer; others need a folder of the user's."""
    for name in ANSWERING:
        there = answering_folder(name).is_dir()
        size = sum(f.stat().st_size for f in answering_folder(name).rglob("*") if f.is_file())
        text = f"stand-in {name}, {size / 2**20:.1f} MB" if there else f"stand-in {name} has no weights"
        fix = "" if there else "reinstall razor-cli, or train it: scripts/train_standins.py"
        state = "ok" if there else "note"
        yield Row(section=section, name=f"razor-run model={name}", value=text, state=state, fix=fix)


def _headlines(cifar: Path, section: str) -> Iterator[Row]:
    """Return the headline commands, and what each of them lacks."""
    for name in stand_in_names():
        file = stand_in_folder(name) / f"{name}.safetensors"
        there = file.is_file()
        text = (
            f"stand-in {name}, {file.stat().st_size / 2**20:.1f} MB"
            if there
            else f"stand-in {name} has no weights"
        )
        fix = "" if there else "reinstall razor-cli, or run `make standins`"
        yield Row(
            section=section,
            name=f"razor-run model={name}",
            value=text,
            state="ok" if there else "missing",
            fix=fix,
        )
    yield from _drawing(section)
    yield from _answering(section)
    reason = cifar_problem(cifar)
    yield Row(
        section=section,
        name="razor-run scenario=class data=cifar10 target=dog",
        state="note" if reason else "ok",
        value="CIFAR-10 is not here" if reason else "CIFAR-10 is here",
        fix="razor data prepare cifar10" if reason else "",
    )
    for option in groups([conf_dir()])["model"]:
        node = values(file_of("model", option))
        checkpoint = known_checkpoint(node.get("architecture"), node.get("weights"))
        if checkpoint is None or node.get("stand_in"):
            continue
        there = is_cached(checkpoint)
        yield Row(
            section=section,
            name=f"razor-run model={option} data=folder data.root=DIR",
            state="ok" if there else "note",
            value=f"weights {checkpoint.tag} are {'' if there else 'not '}in the hub's cache; pictures "
            "are yours to give",
            fix=f"razor doctor --acceptance {option}"
            if there
            else "the hub gives them on first use; else model.weights=FILE",
        )
