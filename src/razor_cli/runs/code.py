"""Which version of the code computes a run: a hash of what its numbers depend on, and of nothing else.

Of the package that is the shared rooms, the folder of the run's family, and the files of its methods; not
other families, other methods, or what only asks, shows and tabulates. A class from outside brings the package
it lives in. Sources count by their syntax, so layout, comments and docstrings change nothing; data that ships
with the package counts by its bytes.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from razor_cli.errors import RunError
from razor_cli.runs.remembered import remember

PACKAGE = Path(__file__).resolve().parents[1]
NAME = "razor_cli"
CHOSEN = ("families", "methods")  # rooms of which a run needs its own part only
# What chooses settings, which stand in the run id themselves, or only shows recorded numbers.
NOT_COMPUTING = (
    "__init__.py",
    "acceptance",
    "alone.py",
    "api.py",
    "caches.py",
    "commands",
    "conf",
    "config/command_line.py",
    "config/compose.py",
    "config/conf_files.py",
    "config/output_place.py",
    "config/overrides.py",
    "config/pairings.py",
    "escape.py",
    "figure.py",
    "grid",
    "launch.py",
    "main.py",
    "metrics/bounds.py",
    "metrics/verdict.py",
    "plain_yaml.py",
    "printing.py",
    "progress.py",
    "report",
    "runs/archive.py",
    "runs/index.py",
    "runs/indexing.py",
    "runs/judged.py",
    "runs/known.py",
    "runs/sql.py",
    "runs/typed.py",
    "screen.py",
    "stopping.py",
    "streams.py",
    "sweep.py",
    "studies",
    "tables",
    "writable.py",
)
DATA = (".csv", ".gz", ".json")
UNREAD = ("kind", "type_comment", "type_ignores")  # fields of a syntax tree that change nothing
HOLD_STATEMENTS = (
    "body",
    "orelse",
    "finalbody",
    "handlers",
    "cases",
)  # fields of a statement, all of them lists
FORM = "1"  # of the hash


def code_version(family: str, *classes: type) -> str:
    """Return 16 hex digits over the code that computes a run of this family with these classes, such as its
    method's.

    Raises RunError for a class whose source is in no file.
    """
    return _version_here(family, classes)


@cache
def _version_here(family: str, classes: tuple[type, ...]) -> str:
    return version_in(PACKAGE, family, classes)


def version_in(package: Path, family: str, classes: Iterable[type]) -> str:
    """Return the version of the package in a folder, as remembered for its files or read from them."""
    classes = sorted(classes, key=lambda c: (c.__module__, c.__qualname__))
    beside = {name: path for cls in classes if not _is_ours(cls) for name, path in _beside(cls)}
    modules = [c.__module__.removeprefix(f"{NAME}.") for c in classes if _is_ours(c)]
    package_files, outside = read_sources(dict(_files(package))), read_sources(beside)
    digest = hashlib.sha256()
    counted = package_files.keys() & _counted(package_files, outside, family, modules)
    for name, source in sorted([*outside.items(), *((n, package_files[n]) for n in counted)]):
        digest.update(f"{name}\0{source.digest}\n".encode())
    return digest.hexdigest()[:16]


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == NAME


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every source and every data file that may count, by its path within the folder."""
    for root, folders, names in os.walk(folder):
        here = Path(root).relative_to(folder)
        folders[:] = sorted(f for f in folders if not _is_left_out(here / f))
        for name in sorted(names):
            if name.endswith((".py", *DATA)) and not _is_left_out(here / name):
                yield (here / name).as_posix(), Path(root, name)


def _is_left_out(relative: Path) -> bool:
    return relative.name == "__pycache__" or relative.as_posix() in NOT_COMPUTING


def _beside(cls: type) -> Iterator[tuple[str, Path]]:
    """Yield the sources of the package, or of the one module, that a class from outside lives in."""
    top = sys.modules[cls.__module__.partition(".")[0]]
    places = [Path(p) for p in getattr(top, "__path__", ())]
    if not places and not getattr(top, "__file__", None):
        raise RunError(
            f"{cls.__qualname__} is written in no file, so its runs could not be told apart",
            fix="put the class into a module",
        )
    for folder in places:
        yield from ((f"{top.__name__}/{p.relative_to(folder)}", p) for p in sorted(folder.rglob("*.py")))
    if not places:
        yield f"{top.__name__}.py", Path(str(top.__file__))


@dataclass(frozen=True, kw_only=True)
class Source:
    """What counts of one file: a hash of its content, and the full names of what it imports."""

    digest: str
    imports: list[str]


def read_sources(files: Mapping[str, Path]) -> dict[str, Source]:
    """Return what counts of files, by name; of the files as they are now, whatever is remembered."""
    if not files:
        return {}

    def compute() -> str:
        read = {n: _read(p.read_bytes(), is_python=n.endswith(".py")) for n, p in files.items()}
        return json.dumps({name: vars(source) for name, source in read.items()})

    found = json.loads(remember(f"syntax {FORM} {' '.join(files)}", list(files.values()), compute))
    return {name: Source(**source) for name, source in found.items()}


@cache
def _read(content: bytes, *, is_python: bool) -> Source:
    """Return what counts of one file; a source that Python cannot read counts by its bytes."""
    try:
        tree = ast.parse(content) if is_python else None
    except (SyntaxError, ValueError):
        tree = None
    counts = content if tree is None else syntax(tree).encode()
    imports = sorted(imported(tree)) if tree is not None else []
    return Source(digest=hashlib.sha256(counts).hexdigest(), imports=imports)


def _counted(
    files: Mapping[str, Source], outside: Mapping[str, Source], family: str, modules: Iterable[str]
) -> set[str]:
    """Return the names of the files that count: shared ones, a family's, those of modules and what they
    import.
    """

    def needed(source: Source, rooms: Iterable[str]) -> list[str]:
        inside = [i.removeprefix(f"{NAME}.") for i in source.imports if i.startswith(f"{NAME}.")]
        return [f for i in inside if i.split(".")[0] in rooms for f in _files_of(i, files)]

    found = {n for n in files if n.split("/")[0] not in CHOSEN}
    waiting = [n for n in files if n.startswith(f"families/{family}/")]
    waiting += [f for source in outside.values() for f in needed(source, CHOSEN)]
    waiting += [f for m in (f"families.{family}", *modules) for f in _files_of(m, files)]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += needed(files[name], CHOSEN)
    return found


def _files_of(module: str, files: Collection[str]) -> list[str]:
    """Return the file of a module, or of the module that a name stands in, and of the packages around."""
    parts = module.split(".")
    ways = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    return [f for way in ways for f in (f"{way}.py", f"{way}/__init__.py") if f in files]


def imported(tree: ast.AST) -> set[str]:
    """Return the full names that a source imports, late imports included, but for what only annotations
    need.
    """
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        for name in HOLD_STATEMENTS:
            waiting += getattr(node, name, ())
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:  # our sources import by full names only
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def syntax(node: object) -> str:
    """Return a syntax tree as text without positions, docstrings, and what an interpreter leaves empty."""
    if isinstance(node, ast.AST):
        fields = [(n, getattr(node, n, None)) for n in node._fields if n not in UNREAD]
        body = [f"{n}={syntax(v)}" for n, v in fields if v is not None and v != []]
        return f"{type(node).__name__}({','.join(body)})"
    if isinstance(node, list):
        return f"[{','.join(syntax(n) for n in node if not _is_text(n))}]"
    return repr(node)


def _is_text(node: object) -> bool:
    """Tell whether a statement is nothing but a string: a docstring, or a comment written like one."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
