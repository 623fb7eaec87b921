"""The yaml files of the configuration: where they lie, which groups and options there are, what each says of
itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GROUPS = ("model", "scenario", "data", "method", "quantization", "metrics")


def conf_dir() -> Path:
    """Return the Hydra root: inside an installed package, or beside `src` in an editable one.

    Raises:
        FileNotFoundError: the package was built without it.

    """
    package = Path(__file__).resolve().parents[1]
    for place in (package / "conf", package.parents[1] / "conf"):
        if (place / "config.yaml").is_file():
            return place
    raise FileNotFoundError(
        f"razor-cli was installed without its configuration: no conf/config.yaml in or above {package}"
    )


def groups(roots: Sequence[Path]) -> dict[str, list[str]]:
    """Return the options of every group, those of the known groups first; later roots add to earlier ones."""
    found: dict[str, set[str]] = {name: set() for name in GROUPS}
    for root in roots:
        for folder in sorted(p for p in root.iterdir() if p.is_dir()):
            found.setdefault(folder.name, set()).update(f.stem for f in folder.glob("*.yaml"))
    return {name: sorted(options) for name, options in found.items() if options}


def file_of(group: str, option: str) -> Path:
    """Return the yaml file of one option."""
    return conf_dir() / group / f"{option}.yaml"


def values(file: Path) -> dict[str, Any]:
    """Return what a yaml file itself sets, without the files it builds on."""
    import yaml  # type: ignore[import-untyped]

    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {k: v for k, v in content.items() if k != "defaults"} if isinstance(content, Mapping) else {}


def settings_of(group: str, option: str) -> dict[str, Any]:
    """Return every setting of conf/<group>/<option>.yaml, those it inherits included."""
    file = file_of(group, option)
    merged: dict[str, Any] = {}
    for base in bases(file):
        merged |= settings_of(group, base)
    return merged | values(file)


def description(file: Path) -> str:
    """Return the first comment at the head of a file that is not the command it starts with."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        if text and not text.startswith(("razor-run", "@package")):
            return text
    return ""


def bases(file: Path) -> list[str]:
    """Return the options of the same group that a file builds on."""
    import yaml

    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    listed = content.get("defaults", []) if isinstance(content, Mapping) else []
    return [d for d in listed if isinstance(d, str) and d != "_self_"]


def default_option(group: str) -> str | None:
    """Return the option that config.yaml chooses."""
    found = re.search(
        rf"^  - {group}: (\S+)$", (conf_dir() / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else None


def targets(roots: Sequence[Path], group: str) -> set[str]:
    """Return the classes that a group's files name."""
    files = [f for root in roots for f in sorted((root / group).glob("*.yaml"))]
    return {
        t
        for f in files
        for t in re.findall(r"^_target_: *(\S+)", f.read_text(encoding="utf-8"), re.MULTILINE)
    }


def comments(file: Path) -> list[tuple[str, str, str]]:
    """Return (key, value, comment) of every commented top-level setting of a yaml file, in order."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        key, colon, rest = line.partition(":")
        if colon and key.isidentifier() and key != "defaults":
            value, _, comment = rest.partition(" #")
            rows.append((key, value.strip(), comment.strip()))
    return rows
