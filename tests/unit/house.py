"""The package as its source says: modules, imports (lazy and type-checking ones too), and what they name."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/razor_cli"
NAME = PACKAGE.name
PAGE = ROOT / "docs/architecture.md"
HEAVY = ("torch", "torchvision", "open_clip", "transformers", "safetensors.torch", "bitsandbytes")
PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")  # of a name, at underscores and capitals
OF_TORCH = re.compile(r"clip_grad_(norm|value)_|\.clip_?(?=\()")  # clipping, which is no model
Graph = Mapping[str, frozenset[str]]


@cache
def modules() -> dict[str, Path]:
    """Return every module by its name inside the package; a folder's own is called like the folder."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def rooms() -> list[list[str]]:
    """Return the rooms that the page on architecture names, row by row from the top."""
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.findall(r"`([^`]+)`", row) for row in rows]


def rank(module: str) -> int:
    """Return in which row of the page a module's room stands; the package's own file stands below all."""
    room = module.split(".", maxsplit=1)[0]
    for i, row in enumerate(rooms()):
        if f"{room}/" in row or f"{room}.py" in row:
            return i
    return len(rooms())


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _inside(name: str) -> str | None:
    """Return the module of the package that an imported name belongs to."""
    first, *rest = name.split(".")
    while first == NAME and rest:
        if ".".join(rest) in modules():
            return ".".join(rest)
        rest.pop()
    return "" if first == NAME else None


@cache
def arrows() -> Graph:
    """Return which modules each module imports, anywhere in its file."""
    return {
        module: frozenset(
            found
            for node in ast.walk(parsed(path))
            for name in _named(node)
            if (found := _inside(name)) not in (None, module)
        )
        for module, path in modules().items()
    }


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules in which each reaches every other one."""
    reach = {m: reachable(m, graph) for m in graph}
    groups = {tuple(sorted(n for n in reach[m] if m in reach[n])) for m in graph if m in reach[m]}
    return sorted(map(list, groups))


def reachable(start: str, graph: Graph) -> frozenset[str]:
    """Return what can be reached from a module by one arrow or more."""
    seen: set[str] = set()
    todo = list(graph[start])
    while todo:
        if (module := todo.pop()) not in seen:
            seen.add(module)
            todo += graph.get(module, ())
    return frozenset(seen)


def _at_load(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the imports that run when a module is loaded."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _at_load(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from _at_load(getattr(node, part, []))


def loads_heavy(module: str) -> bool:
    """Tell whether importing a module imports torch, or a library that does."""
    seen, todo = set(), [module]
    while todo:
        own = todo.pop()
        if own in seen:
            continue
        seen.add(own)
        for name in (n for node in _at_load(parsed(modules()[own]).body) for n in _named(node)):
            inside = _inside(name)
            if inside is None and any(name == h or name.startswith(f"{h}.") for h in HEAVY):
                return True
            if inside is not None:
                steps = inside.split(".")
                todo += [".".join(steps[:i]) for i in range(len(steps) + 1)]
    return False


def names_clip(path: Path) -> bool:
    """Tell whether a file names CLIP: in an identifier, a string, an import, a docstring or a comment."""
    text = OF_TORCH.sub("", path.read_text(encoding="utf-8"))
    kinds = {tokenize.NAME, tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return any("clip" in map(str.lower, PART.findall(t.string)) for t in tokens if t.type in kinds)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every function of a file with its number of lines."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


def asks_for_family(path: Path) -> bool:
    """Tell whether a file compares a family's name with a word of its own."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = {getattr(side, "attr", getattr(side, "id", "")) for side in sides}
            words = (ast.Constant, ast.Tuple, ast.List, ast.Set)
            if "family" in named and any(isinstance(side, words) for side in sides):
                return True
    return False
