"""The commands that README and docs/ print, found in their text."""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HISTORY = ROOT / "docs/results/clip_0.1.md"  # as it was: commands of its time
PROGRAMS = ("razor-run", ".venv/bin/razor-run", "razor", "make", "python", "pip")
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n\\]+)`")
FILE = re.compile(r"^`([\w./-]+)`:\n\n```[a-z]+\n(.*?)^```", re.MULTILINE | re.DOTALL)
LITERAL = ("python", "yaml")  # blocks of files, not of commands


@dataclass(frozen=True)
class Command:
    """A command, as printed, and the page that prints it first."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """Return what a shell makes of it, without a comment behind."""
        return shlex.split(self.text, comments=True)

    @property
    def line(self) -> str:
        """Return the words as one line."""
        return shlex.join(self.words)

    def __str__(self) -> str:
        return f"{Path(self.page).stem}: {self.line}"


def _of(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    lines = itertools.chain.from_iterable(b.splitlines() for b in BLOCK.findall(text))
    in_blocks = [line.strip().removeprefix("# ") for line in lines]
    begun = tuple(f"{p} " for p in PROGRAMS)
    own = [line for line in in_blocks if line.startswith(begun)]
    inline = [re.sub(r"^(\w+=\S+ )+", "", c.strip()) for c in CODE.findall(BLOCK.sub("", text))]
    return own + [c for c in inline if c.startswith(begun)]


def commands() -> list[Command]:
    """Return every command once: lines of code blocks, and code in sentences that begins with a program."""
    found: dict[str, Command] = {}
    for page in (p for p in PAGES if p != HISTORY):
        for text in _of(page):
            command = Command(page.relative_to(ROOT).as_posix(), text)
            found.setdefault(command.line, command)
    return list(found.values())


def files(page: Path, folder: Path) -> list[Path]:
    """Write the files that a page prints (a name in code, a colon, a block) below a folder, as printed."""
    written = []
    for name, content in FILE.findall(page.read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        written.append(path)
    return written
