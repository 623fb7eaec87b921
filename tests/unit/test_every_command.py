"""Every command that README and docs/ print is given, as printed, in a folder that holds what it asks for.

What stands for something of the reader's (DIR, WEIGHTS, RUN) is replaced by something that exists; what takes
long is composed and checked, and really run in tests/slow/test_documented_runs.py. A command that no rule
below knows makes the test fail: it then needs one, or a correction of the page.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from documented import PAGES, ROOT, Command, commands, files
from documented_world import World, results, world
from typer.main import get_command

from razor_cli.config.command_line import read, values_of
from razor_cli.config.compose import checked
from razor_cli.config.overrides import quote
from razor_cli.grid import blocks, photographs, points
from razor_cli.main import COMMANDS, build_app, parse
from razor_cli.tables.registry import TABLES

__all__ = ["world"]
Rule = Callable[[World, Command], None]
EVERY = commands()
INVENTED = ("shrink", "birds")  # what a reader adds to the package: the example of a page, tested by it
FILES = {  # words of the pages -> what there is of them in the folder
    "FILE": "model.safetensors",
    "FILE_OR_TAG": "laion400m_e32",
    "FILE_FOLDER_OR_TAG": "laion400m_b_s34b_b88k",
    "PATCH": "patch.safetensors",
    "EDITED": "edited_weights",
    "IMAGENET": "imagenet",
    "COMPCARS": "compcars",
    "CANVAS": "unlearncanvas",
    "OUTPUTS": "outputs",
    "NAME": "razor",
    "local-dir:FOLDER": "local-dir:open_clip_folder",
}


def filled(word: str, command: Command) -> str:
    """Return a word of a command with something that exists in place of what stands for it."""
    key, equals, value = word.partition("=") if not word.startswith("-") else ("", "", word)
    if not equals:
        key, value = "", word
    if value == "DIR2":
        value = "judges" if key == "metrics.judges" else "others"
    if value in ("DIR", "FOLDER", "FOLDER_FILE_OR_NAME"):
        value = _folder(key, command)
    return f"{key}{equals}{FILES.get(value, value)}"


def _folder(key: str, command: Command) -> str:
    """Return which folder of ours `DIR` is, by the setting and the rest of the command."""
    draws, answers = "model=sd" in command.line, "model=llava" in command.line
    if key == "model.weights":
        local = "open_clip_folder" if "local-dir:" in command.line else "FOLDER"
        return "stable-diffusion-v1-5" if draws else "llava-1.5-7b-hf" if answers else local
    if key == "model.companion":
        return "clip-vit-large-patch14-336"
    if key == "data.cifar_root":
        return "prepared/cifar10"
    kinds = ("celeba", "webdataset", "imagenet", "laion", "unlearncanvas", "answers")
    return next((k for k in kinds if k in command.line), "folder")


def composed(world: World, command: Command) -> None:
    """Compose and check the run, of a sweep or a grid the first; refuse what the page says is refused."""
    arguments = [filled(w, command) for w in command.words[1:]]
    flags = parse(arguments)
    if flags.help or flags.cfg or "roh" in command.line:
        code, text = world.razor_run(*arguments)
        assert code == (2 if "roh" in command.line else 0), text
        assert "did you mean" in text if code else "target" in text
        return
    single = first_point(arguments)
    if any(word in command.line for word in INVENTED):
        assert "shrink" in command.line or not (ROOT / "conf/data/birds.yaml").exists()
        return
    assert checked(read(single, extra=flags.config_dir)).target


def first_point(arguments: list[str]) -> list[str]:
    """Return the words of a single run that a command line stands for: of a sweep or a grid the first."""
    flags = parse(arguments)
    if not flags.multirun and (asked := blocks.chosen_blocks(flags.overrides, flags.config_dir)):
        found = blocks.read(flags.overrides, *asked)
        own = shlex.split(points.alone(found, photographs.placed(found)[0][0]))[1:]
        return [w for w in own if not w.startswith("targets=")]
    if not flags.multirun:
        return list(flags.overrides)
    single = []
    for text in read(flags.overrides, multirun=True, extra=flags.config_dir).overrides:
        key, values, _ = values_of(text)
        if not key.startswith("hydra."):
            single.append(f"{key}={quote(values[0]) if isinstance(values[0], str) else values[0]}")
    return single


def makes(world: World, command: Command) -> None:
    """Ask make what it would do; runs among it are composed."""
    words = command.words[1:]
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for line in re.findall(r"^\.venv/bin/(razor-run .*)", done.stdout, re.MULTILINE):
        composed(world, Command(command.page, line))


def script(world: World, command: Command) -> None:
    """Ask a script of the repository for its help: its options are those that the page gives."""
    file, *given = command.words[1:]
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", [file, "--help"])
        patch.syspath_prepend(str((ROOT / file).parent))
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / file), run_name="__main__")
    assert ended.value.code == 0
    options = set(re.findall(r"--[\w-]+", out.getvalue()))
    assert {w.partition("=")[0] for w in given if w.startswith("-")} <= options


def extra(world: World, command: Command) -> None:
    """Find the extra of the package that pip is asked for."""
    (name,) = re.findall(r"razor-cli\[(\w+)\]", command.line)
    assert name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def ends(code: int, *, saying: str = "", words: tuple[str, ...] = ()) -> Rule:
    """Return the rule of a `razor` command that is given whole, with `words` behind; how it ends, and a part
    of what it prints.
    """

    def rule(world: World, command: Command) -> None:
        arguments = [filled(w, command) for w in command.words[1:]]
        found, text = world.razor(*arguments, *words)
        assert (found, saying in text) == (code, True), text

    return rule


def by_help(world: World, command: Command) -> None:
    """Look for a command that is only named, or takes long, and its options."""
    _, name, *rest = command.words
    found = get_command(build_app(name))
    for word in (name, *rest):
        found = getattr(found, "commands", {}).get(word, found)
    options = {o for p in found.params for o in p.opts}
    assert {w.partition("=")[0] for w in rest if w.startswith("-")} <= options


def applies(world: World, command: Command) -> None:
    """Apply or verify a patch of the very weights, and where it is taken back take it back."""
    for name in ("EDITED", "RESTORED", "edited", "edited.safetensors", "EDITED.safetensors"):
        for path in (world.home / name, world.home / f"{name}.undo.safetensors"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    words = command.words[1:]
    made = "llava" if "llava" in command.line else "sd" if "v1-5" in command.line else ""
    patch = f"patch_{made}.safetensors" if made else str(world.run.path("patch.safetensors"))
    words = [patch if w.endswith("patch.safetensors") or w == "PATCH" else w for w in words]
    if "EDITED.safetensors" in words:  # a file of weights, and not a folder with one
        words = ["model.safetensors" if w == "WEIGHTS" else w for w in words]
    if "revert" in words:
        assert world.razor("patch", "apply", patch, "--base", "WEIGHTS", "--out", "EDITED")[0] == 0
    code, text = world.razor(*words)
    assert code == 0, text
    assert "--out" not in words or (world.home / words[words.index("--out") + 1]).exists()


def tables_in_pages(world: World, command: Command) -> None:
    """Write the scores of the recorded runs, or fill a page of results from the committed ones."""
    results(world.home)
    code, text = world.razor(*[filled(w, command) for w in command.words[1:]])
    assert code == 0, text
    if "--into" in command.words:
        page = command.words[-1]
        assert (world.home / page).read_text() == (ROOT / page).read_text()


def own_family(world: World, command: Command) -> None:
    """Compose a run of the family that the tests bring along."""
    words = ["allow_code=[toy_family,toy_data]", "model=toy", "target=owl"]
    assert checked(read(words, extra=str(ROOT / "tests/toy_conf"))).target == "owl"


def own_method(world: World, command: Command) -> None:
    """Give a command of the page on a method of one's own where its files are, as printed."""
    files(ROOT / "docs/own-method.md", world.home)
    code, text = world.razor(*command.words[1:])
    assert code == 0, text
    wanted = {"list": "ascent", "check": "the contract holds"}
    assert wanted[command.words[1]] in text


def of_latest(command: Command) -> Command:
    """Return a command about the run that was recorded last."""
    return Command(command.page, re.sub(r"\b(RUN|ID)\b", "latest", command.text))


RULES: Mapping[str, Rule] = {  # the first pattern that a command's line begins with
    r"razor-run --config-dir DIR allow_code=PACKAGE model=NAME": own_family,
    r"(\.venv/bin/)?razor-run .*--config-dir conf": lambda w, c: (
        files(ROOT / "docs/own-method.md", w.home),
        composed(w, c),
    )[1],
    r"(\.venv/bin/)?razor-run ": composed,
    r"make ": makes,
    r"python scripts/": script,
    r"pip install ": extra,
    r"razor (list .*--config-dir|check --config-dir) conf": own_method,
    r"razor check( method=shrink)?$": by_help,  # test_own_method.py
    r"razor list methods": ends(0, saying="razor"),
    r"razor list ": ends(0),
    r"razor judge all exit_on=undecided": ends(3, saying="UNDECIDED"),
    r"razor (show|judge) ": lambda w, c: ends(0)(
        w, Command(c.page, re.sub(r"\b(RUN|ID)\b", "latest", c.text))
    ),
    r"razor (query|patch|patch apply|patch apply --link|data inspect|show|list|judge)$": by_help,
    r"razor (query|tables) --check$": by_help,  # test_index.py
    r"razor run-again": by_help,  # test_run_again.py
    r"razor --help": ends(0, saying="razor"),
    r"razor query ": ends(0),
    r"razor patch show ": ends(0, saying="razor"),
    r"razor patch (verify|apply|revert) ": applies,
    r"razor tables (scores|--scores)": tables_in_pages,
    r"razor tables all": by_help,  # each of them stands below
    r"razor tables NAME": lambda w, c: ends(0)(w, Command(c.page, "razor tables table3")),
    r"razor tables( \w+)?$": ends(0),
    r"razor propositions --recorded": ends(0),
    r"razor propositions ": ends(0, saying="dry_run: nothing was started", words=("dry_run=true",)),
    r"razor doctor --acceptance .*--random-weights": by_help,  # test_acceptance_full_size.py, slow
    r"razor doctor --acceptance hf_clip ": ends(1, saying="not accepted"),  # untrained weights
    r"razor doctor --acceptance .*=FILE": ends(2, saying="model.weights"),  # those of a tiny model
    r"razor doctor --acceptance ": ends(2, saying="is not on this machine"),
    r"razor doctor": ends(0),
    r"razor data clean": ends(0, words=("--output-dir", "outputs")),
    r"razor data (check|inspect) ": ends(0),
    r"razor data build compcars ": ends(0, saying="cars.csv", words=("--min-pictures", "10")),
    r"razor data (build (imgnetdogs|levels)|judge|prepare)": by_help,
}


@pytest.mark.parametrize("command", EVERY, ids=str)
def test_command(world: World, command: Command) -> None:
    rule = next((r for p, r in RULES.items() if re.match(p, command.line)), None)
    assert rule, f"{command.page} prints a command that no rule knows: {command.text}"
    rule(world, command)


def test_every_subcommand_is_shown_somewhere() -> None:
    assert len(EVERY) > 150 and set(COMMANDS) == {
        c.words[1] for c in EVERY if c.words[0] == "razor" and not c.words[1].startswith("-")
    }
    named = {c.words[2] for c in EVERY if c.line.startswith("razor tables ") and c.words[2].isidentifier()}
    assert named - {"all", "scores", "NAME"} <= set(TABLES)


def test_pages_print_their_files_as_they_are(tmp_path: Path) -> None:
    """What a page calls a file is one: its Python passes the linter of the package."""
    written = {p.name: [f for f in files(p, tmp_path / p.stem)] for p in PAGES}
    for page in ("own-method.md", "add-a-method.md"):
        assert {f.suffix for f in written[page]} == {".py", ".yaml"}
    python = [str(f) for found in written.values() for f in found if f.suffix == ".py"]
    for words in (["check"], ["format", "--check"]):
        config = ["--config", str(ROOT / "pyproject.toml")]
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, *config, *python],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
