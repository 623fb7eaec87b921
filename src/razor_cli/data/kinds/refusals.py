"""What several kinds of data refuse in the same words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from razor_cli.data.ask import Ask
from razor_cli.errors import ConfigError, nearest

PHOTOGRAPHS = "data=folder data.root=DIR (DIR/<concept>/*.jpg|png|webp)"
SHARDS = "data=webdataset data.root=DIR (.tar shards with captions)"
LIKE = 0.7  # of a name's letters; with less a neighbour is another folder
PATTERN = "*?[{"  # a pattern of shards is expanded by its source


def check_aliases(aliases: Sequence[str]) -> None:
    """Raise ConfigError for a name that is empty."""
    if any(not alias.strip() for alias in aliases):
        raise ConfigError(
            "data.aliases must not contain an empty name", allowed="[name, name]", found=aliases
        )


def rooted(root: Path | None, kind: str) -> Path:
    """Return the folder of pictures. Raises ConfigError where none is named."""
    if root is None:
        raise no_root(kind)
    return root


def no_root(
    kind: str, without: str = "the stand-in needs no pictures: model=clip_tiny data=standin"
) -> ConfigError:
    """Return the refusal of a kind that reads a folder without being told which; `without` says what needs
    none.
    """
    return ConfigError(
        f"data.root is needed by data={kind}",
        allowed="a folder of pictures",
        found="null",
        fix=f"data.root=DIR; {without}",
    )


def nothing_in(root: Path) -> ConfigError:
    """Return the refusal of a folder that holds nothing, the target no more than anything else."""
    return ConfigError(
        f"data.root={root} is empty: it shows neither the target nor anything else",
        allowed="DIR/<concept>/*.jpg|png|webp, a folder for each concept",
        found="an empty folder",
        fix="put the pictures there, or data.root=DIR; `razor data inspect DIR` shows what it holds",
    )


def not_there(named: Mapping[str, Path | None]) -> Iterator[ConfigError]:
    """Yield a refusal for every setting that names a file or folder which does not exist."""
    for key, path in named.items():
        if path is None or path.exists() or any(c in path.name for c in PATTERN):
            continue
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, siblings, like=LIKE)
        yield ConfigError(
            f"data.{key}: no such file or folder",
            found=str(path),
            fix=f"did you mean {path.parent / close[0]}?" if close else None,
        )


def only_objects(kind: str, ask: Ask, *, classes: str, example: str) -> Iterator[ConfigError]:
    """Yield the refusal of a scenario about something else than the objects of a benchmark."""
    if ask.domain != "object":
        yield ConfigError(
            f"scenario={ask.scenario} with data={kind}: {classes} of objects, no {ask.domain}",
            allowed=f"data=standin with model=clip_tiny, {PHOTOGRAPHS}, {SHARDS}",
            found=f"data={kind}",
            fix=f"scenario=class data={kind} target={example}",
        )


def no_labels(kind: str, ask: Ask) -> Iterator[ConfigError]:
    """Yield the refusal of a scenario with a taxonomy by pictures without one."""
    if ask.taxonomy:
        yield ConfigError(
            f"scenario={ask.scenario} needs fine and coarse labels, which data={kind} has not",
            allowed="data=standin, data=imgnetdogs, data=compcars, data=labelled",
            found=f"data={kind}",
            fix="data=labelled data.root=DIR",
        )


def jointly_only(forget: Sequence[str], ask: Ask) -> Iterator[ConfigError]:
    """Yield the refusal of a list of concepts where a single one goes."""
    if forget and not ask.taxonomy:
        yield ConfigError(
            "data.forget names concepts that go together",
            allowed="scenario=fine_grained",
            found=f"scenario={ask.scenario}",
            fix="scenario=fine_grained, or one concept as target=NAME",
        )


def repeated(aliases: Sequence[str], ask: Ask) -> Iterator[ConfigError]:
    """Yield the refusal of an alias that is the target and says nothing."""
    same = [a for a in aliases if a.casefold() == ask.target.casefold()]
    if same:
        yield ConfigError(
            "data.aliases repeats the target", found=same[0], allowed="other names of the target"
        )
