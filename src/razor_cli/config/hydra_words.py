"""What a command line may say to Hydra itself: which launcher and sweeper a sweep has, and their values.

All else of Hydra's node (callbacks, folders, logging, the environment) would call whatever it names, write
elsewhere or change the process.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

from razor_cli.config import interpolations
from razor_cli.errors import Problem

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

ALLOWED = "with -m: hydra/launcher=NAME, hydra.launcher.KEY=VALUE, and the same of hydra/sweeper"
GROUP = re.compile(r"hydra/(launcher|sweeper)(/\w+)?")
SETTING = re.compile(r"hydra\.(launcher|sweeper)(\.[A-Za-z]\w*)+")
CALLED = {"params", "custom_search_space"}  # would add words unseen, or name code that is called
PACKAGES = {  # launchers that documentation names -> what installs them
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
}
PLACE = re.compile(r"(^|[\s/@.])hydra([/.@]|$)")


def is_hydra(key: str) -> bool:
    """Tell whether a key or a group is Hydra's own."""
    return re.split(r"[./@]", key.lstrip("+~"), maxsplit=1)[0] == "hydra"


def problems(argument: str, override: Override, *, multirun: bool) -> list[Problem]:
    """Return what is wrong with a word of the command line that speaks to Hydra."""
    key = override.key_or_group
    value = None if override.is_sweep_override() else override.value()
    known = GROUP.fullmatch(key) or (SETTING.fullmatch(key) and not CALLED & set(key.split(".")))
    if not known or override.package is not None or override.is_delete():
        return [
            Problem(
                what=f"{argument}: Hydra's own settings are not open to the command line",
                allowed=ALLOWED,
                fix="leave it out; output_dir=DIR says where results go",
            )
        ]
    if GROUP.fullmatch(key):
        wrong = not (isinstance(value, str) and re.fullmatch(r"\w+", value))
    else:
        wrong = override.is_sweep_override() or not _plain(value)
    if wrong:
        return [Problem(what=f"{key} has the wrong type", allowed="one plain value", found=argument)]
    if not multirun:
        return [Problem(what=f"{argument}: launcher and sweeper are those of a sweep", fix="add -m")]
    return interpolations.problems({key: value})


def not_installed(group: str, name: str) -> Problem:
    """Return the problem of a launcher or a sweeper that no installed package brings."""
    from hydra.core.global_hydra import GlobalHydra

    hydra = GlobalHydra.instance()
    there = hydra.config_loader().get_group_options(group) if hydra.is_initialized() else []
    package = PACKAGES.get(name) if group == "hydra/launcher" else None
    return Problem(
        what=f"{group}={name}: there is no such {group.partition('/')[2]}",
        allowed=", ".join(sorted(there)) or None,
        fix=f"pip install {package}" if package else f"{group}=NAME, or install the package that brings it",
    )


def cannot_start(name: str) -> Problem | None:
    """Return what keeps a launcher from starting on this machine, None for one that may."""
    if name != "submitit_slurm" or shutil.which("srun"):
        return None
    return Problem(
        what=f"hydra/launcher={name} starts jobs of Slurm, and there is no srun on this machine",
        fix="hydra/launcher=joblib hydra.launcher.n_jobs=2, or hydra/launcher=submitit_local, which starts "
        "all points at once",
    )


def _plain(value: Any) -> bool:
    """Tell whether a value is a scalar, or a list of them as submitit's `setup`."""
    items = value if isinstance(value, list) else [value]
    return all(item is None or isinstance(item, str | int | float) for item in items)


def in_file(file: str, place: str, content: Any) -> list[Problem]:
    """Return what a yaml file says to Hydra; `place` is where its settings land. No file may."""
    said = [f"# @package {place}"] if is_hydra(place.removeprefix("_global_.")) else []
    if isinstance(content, dict):
        said += [f"{key}:" for key in content if is_hydra(str(key))]
        entries = content.get("defaults")
        for entry in entries if isinstance(entries, list) else []:
            words = map(str, entry) if isinstance(entry, dict) else [str(entry)]
            said += [f"defaults: {word}" for word in words if PLACE.search(word)]
    return [
        Problem(
            what=f"{file}: a file sets nothing of Hydra's own",
            allowed="settings of the groups and of config.yaml",
            found=", ".join(said),
            fix="what a sweep runs on is said on the command line: -m hydra/launcher=NAME",
        )
        for _ in said[:1]
    ]
