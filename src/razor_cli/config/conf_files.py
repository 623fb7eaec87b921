"""The yaml files of the configuration: where they lie, which groups and options there are, what each says of
itself.

An option may lie in a folder: `razor/paper` is a variant of the method `razor`. A file whose defaults name
`${family}` is answered by a file of the model's family beside it: `razor` by `razor/<family>`. Runs are
composed by Hydra; what is read here is read for lists and tables, so that its comments are at hand.
"""

from __future__ import annotations

import filecmp
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from razor_cli import plain_yaml
from razor_cli.errors import ConfigError

GROUPS = ("model", "scenario", "data", "method", "quantization", "metrics")
FAMILY = "family"  # the group that nobody chooses from: a model says its own
ASKED = "${family}"


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


def roots_of(extra: str | None) -> list[Path]:
    """Return the folders that options come from: ours, then one of the user's. Raises ConfigError."""
    return [conf_dir()] if extra is None else [conf_dir(), _folder(extra)]


def _folder(extra: str) -> Path:
    """Return the user's folder of options. Raises ConfigError for what is none, or hides a file of ours."""
    try:
        folder = Path(extra).resolve()
        found = "a file" if folder.is_file() else "nothing" if not folder.is_dir() else ""
        if not found:
            list(folder.iterdir())
            _refuse_hidden(folder)
    except (OSError, ValueError, RuntimeError) as error:
        found = getattr(error, "strerror", None) or str(error)
    if found or not extra:
        raise ConfigError(
            f"--config-dir {extra[:200]}: not a folder that can be read",
            allowed="a folder laid out like conf/: method/NAME.yaml, experiment/NAME.yaml ...",
            found=found or "nothing",
            fix="give such a folder, or leave --config-dir out",
        )
    return folder


def _refuse_hidden(folder: Path) -> None:
    """Raise ConfigError for files of the user's that would never be read: ours of that name go first."""
    ours = sorted(conf_dir().rglob("*.yaml"))
    pairs = ((file, folder / file.relative_to(conf_dir())) for file in ours)
    hidden = [own for file, own in pairs if own.is_file() and not filecmp.cmp(file, own, shallow=False)]
    if hidden:
        raise ConfigError(
            f"--config-dir: {hidden[0]} would not be read, because there is an option of that name already",
            allowed="options with names of their own; a copy that says the same",
            found=", ".join(str(own.relative_to(folder)) for own in hidden[:5]),
            fix=f"call it otherwise, such as {hidden[0].with_stem(f'my_{hidden[0].stem}').name}",
        )


def families(roots: Sequence[Path]) -> set[str]:
    """Return the families that are declared: conf/family/<name>.yaml."""
    return {file.stem for root in roots for file in (root / FAMILY).glob("*.yaml")}


def groups(roots: Sequence[Path]) -> dict[str, list[str]]:
    """Return the options of every group, those of the known groups first; later roots add to earlier ones.

    A variant stands behind its method (`razor`, `razor/paper`); files that answer `${family}` are no options.
    """
    found: dict[str, set[str]] = {name: set() for name in GROUPS}
    answers = families(roots)
    for root in roots:
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and p.name != FAMILY):
            files = [f for f in folder.rglob("*.yaml") if f.parent == folder or f.stem not in answers]
            found.setdefault(folder.name, set()).update(_option(f, folder) for f in files)
    return {name: sorted(options) for name, options in found.items() if options}


def _option(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def labelled(group: str) -> dict[str, str]:
    """Return the options of a group by the label that runs and tables have for them: `razor_paper` for
    `razor/paper`.
    """
    return {option.replace("/", "_"): option for option in groups([conf_dir()]).get(group, [])}


def option_of(group: str, label: str) -> str:
    """Return the option that a label stands for; a label that nothing shipped has stands for itself."""
    return labelled(group).get(label, label)


def file_of(group: str, option: str) -> Path:
    """Return the yaml file of one option."""
    return conf_dir() / group / f"{option}.yaml"


def first_file(roots: Sequence[Path], group: str, option: str) -> Path:
    """Return the yaml file of one option, in the first folder that has it."""
    files = [root / group / f"{option}.yaml" for root in roots]
    return next((f for f in files if f.is_file()), files[0])


def values(file: Path) -> dict[str, Any]:
    """Return what a yaml file itself sets, without the files it builds on."""
    content = plain_yaml.load(file)
    return {k: v for k, v in content.items() if k != "defaults"} if isinstance(content, Mapping) else {}


def settings_of(group: str, option: str, family: str | None = None) -> dict[str, Any]:
    """Return every setting of conf/<group>/<option>.yaml, those it inherits included; those of the default
    family where it asks for one and none is given.
    """
    return merged_settings(file_of(group, option), family)


def merged_settings(file: Path, family: str | None = None) -> dict[str, Any]:
    """Return what a file sets together with all that it builds on, for a family or the default one."""
    merged: dict[str, Any] = {}
    for layer in layers(file, family):
        merged = _over(merged, values(file) if layer == file else merged_settings(layer, family))
    return merged


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with what `above` sets; mappings are merged key by key, as Hydra does."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def description(file: Path) -> str:
    """Return the first comment at the head of a file that is not the command it starts with."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        if text and not text.startswith(("razor-run", "@package")):
            return text
    return ""


def layers(file: Path, family: str | None = None) -> list[Path]:
    """Return the files that make up an option, itself among them, later ones over earlier ones."""
    found = [f for entry in _defaults(file) if (f := _file_named(entry, file, family)) is not None]
    return found if file in found else [*found, file]


def bases(file: Path, family: str | None = None) -> list[Path]:
    """Return the files that a file builds on."""
    return [layer for layer in layers(file, family) if layer != file]


def answers(file: Path, family: str | None = None) -> list[Path]:
    """Return the files of a family that a file asks for by `${family}`."""
    asking = [e for e in _defaults(file) if isinstance(e, Mapping) and ASKED in e.values()]
    return [f for e in asking if (f := _file_named(e, file, family)) is not None]


def unanswered(file: Path, family: str) -> bool:
    """Tell whether a file, or one that it builds on, asks a family for a file that it does not have."""
    asking = [e for e in _defaults(file) if isinstance(e, Mapping) and ASKED in e.values()]
    needed = [e for e in asking if not str(next(iter(e))).startswith("optional ")]
    return any(_file_named(e, file, family) is None for e in needed) or any(
        unanswered(base, family) for base in bases(file, family)
    )


def _defaults(file: Path) -> list[Any]:
    content = plain_yaml.load(file)
    found = content.get("defaults") if isinstance(content, Mapping) else None
    return found if isinstance(found, list) else []


def _file_named(entry: Any, file: Path, family: str | None) -> Path | None:
    """Return the file that an entry of a defaults list names; None for what lands in another place."""
    if entry == "_self_":
        return file
    if not isinstance(entry, str) and not (isinstance(entry, Mapping) and entry):
        return None
    key, option = (entry, "") if isinstance(entry, str) else map(str, next(iter(entry.items())))
    path, _, package = key.removeprefix("optional ").partition("@")
    if " " in path or package not in ("", "_here_"):  # an override lands elsewhere
        return None
    if option:
        path = f"{path}/{option}".replace(ASKED, family or default_option(FAMILY) or "")
    absolute = path.startswith("/")
    places = [*file.parents, conf_dir()] if absolute else [file.parent, conf_dir() / file.parent.name]
    found = [place / f"{path.lstrip('/')}.yaml" for place in places]
    return next((f for f in found if f.is_file()), None)


def default_option(group: str) -> str | None:
    """Return the option that config.yaml chooses."""
    text = (conf_dir() / "config.yaml").read_text(encoding="utf-8")
    found = re.search(rf"^  - {group}: (\S+)", text, re.MULTILINE)
    return found[1] if found else None


def targets(roots: Sequence[Path], group: str) -> set[str]:
    """Return the classes that a group's files name."""
    files = [f for root in roots for f in sorted((root / group).rglob("*.yaml"))]
    return {
        t.decode(errors="replace")
        for f in files
        if f.is_file()
        for t in re.findall(rb"^_target_: *(\S+)", _head(f), re.MULTILINE)
    }


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(plain_yaml.MOST_BYTES)


def comments(file: Path) -> list[tuple[str, str, str]]:
    """Return (key, value, comment) of every commented top-level setting of a yaml file, in order."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        key, colon, rest = line.partition(":")
        if colon and key.isidentifier() and key != "defaults":
            value, _, comment = rest.partition(" #")
            rows.append((key, value.strip(), comment.strip()))
    return rows
