"""README and docs/: links and paths lead somewhere, commands compose, and tables are those of their file."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from loading_cases import hf_folder, open_clip_folder
from tiny_llava import tiny_companion, tiny_llava
from tiny_sd import tiny_sd15
from tiny_world import make_clip, make_sets, run

from razor_cli.config.command_line import read, values_of
from razor_cli.config.compose import checked
from razor_cli.config.overrides import quote
from razor_cli.errors import RazorError
from razor_cli.grid import blocks, points
from razor_cli.main import COMMANDS, build_app, parse
from razor_cli.tables import in_page, score_file
from razor_cli.tables.registry import TABLES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HISTORY = ROOT / "docs/results/clip_0.1.md"  # as it was: paths and presets of its time
TEXT = {p: p.read_text(encoding="utf-8") for p in PAGES}
FLAGS = re.MULTILINE | re.DOTALL
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", FLAGS)
LINK = re.compile(r"\]\(([^)\s]+)\)")
INVENTED = ("shrink", "birds")  # examples of what a reader adds
WRONG = "method.roh=0.2"  # shown because it is refused
PROGRAMS = ("razor-run", ".venv/bin/razor-run", "razor", "make", "python")


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", TEXT[page])):
        file, _, anchor = link.partition("#")
        if not file.startswith(("http:", "https:")):
            place = (page.parent / file).resolve() if file else page
            assert place.exists(), link
            assert not anchor or anchor in anchors(place), link


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / link).resolve() for link in LINK.findall(TEXT[index])}
    assert {p.resolve() for p in PAGES} - {index, ROOT / "README.md"} == listed


@pytest.mark.parametrize("page", [p for p in PAGES if p != HISTORY], ids=title)
def test_paths_exist(page: Path) -> None:
    named = re.findall(r"`((?:src|conf|tests|scripts|docs)/[\w./-]+)`", TEXT[page])
    named += re.findall(r"^ *python (scripts/\S+)", TEXT[page], re.MULTILINE)
    gone = [n for n in named if not (ROOT / n).exists()]
    assert [n for n in gone if not any(word in n for word in INVENTED)] == []
    rooms = re.findall(r"`((?:[a-z]+/)+\w+\.(?:py|json))`", TEXT[page])
    inside = [r for r in rooms if not r.startswith(("src/", "conf/", "tests/", "scripts/"))]
    assert [r for r in inside if not (ROOT / "src/razor_cli" / r).exists()] == []


def commands() -> list[tuple[str, str]]:
    """Return (page, command) of every line of a code block that calls one of our programs."""
    found = []
    for page in (p for p in PAGES if p != HISTORY):
        for line in itertools.chain.from_iterable(b.splitlines() for b in BLOCK.findall(TEXT[page])):
            text = line.strip().removeprefix("# ")
            if text.startswith(tuple(f"{p} " for p in PROGRAMS)):
                found.append((title(page), text))
    return found


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


RUNS = [(page, c) for page, c in commands() if "razor-run" in words(c)[0]]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders with a model in them, by the library that describes it."""
    folder = tmp_path_factory.mktemp("models")
    made = {"transformers": hf_folder(folder / "hf"), "open_clip": open_clip_folder(folder / "open_clip")}
    llava = tiny_llava(folder / "llava")
    tiny_companion(llava, folder / "llava_clip")
    return made | {"diffusers": tiny_sd15(folder / "sd"), "llava": llava}


@pytest.fixture
def filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: dict[str, Path]
) -> Callable[[str], list[str]]:
    """Return what puts something that exists in place of DIR, FILE and the like."""
    for concept in ("Taylor Swift", "Elon Musk", "tench"):
        (tmp_path / "photos" / concept).mkdir(parents=True)
    (tmp_path / "prepared" / "cifar10").mkdir(parents=True)
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "prepared"))
    file = tmp_path / "model.safetensors"
    file.touch()
    somewhere = {
        "FILE_OR_TAG": "laion400m_e32",
        "FILE": str(file),
        "dogs.csv": str(file),
        "cars.csv": str(file),
    }
    somewhere |= dict.fromkeys(("DIR", "DIR2", "IMAGENET", "COMPCARS"), str(tmp_path / "photos"))

    def fill(command: str) -> list[str]:
        pairs = [w.partition("=") for w in words(command)[1:]]
        folder = described["open_clip" if "local-dir:" in command else "transformers"]
        somewhere.update({"FOLDER": str(folder), "local-dir:FOLDER": f"local-dir:{folder}"})
        if "model=sd" in command:
            pairs = [(k, e, str(described["diffusers"]) if k == "model.weights" else v) for k, e, v in pairs]
        if "model=llava" in command:
            own = {"model.weights": described["llava"], "model.companion": f"{described['llava']}_clip"}
            pairs = [(k, e, str(own.get(k, v))) for k, e, v in pairs]
        return [f"{key}{equals}{somewhere.get(value, value)}" for key, equals, value in pairs]

    return fill


def first_point(arguments: list[str]) -> list[str]:
    """Return the words of a single run that a command line stands for: of a sweep or a grid the first."""
    flags = parse(arguments)
    if not flags.multirun and (asked := blocks.chosen_blocks(flags.overrides)):
        found = blocks.read(flags.overrides, *asked)
        own = shlex.split(points.alone(found, blocks.points(found.blocks)[0]))[1:]
        return [w for w in own if not w.startswith("targets=")]
    if not flags.multirun:
        return list(flags.overrides)
    single = []
    for text in read(flags.overrides, multirun=True).overrides:
        key, values, _ = values_of(text)
        first = values[0]
        single.append(f"{key}={quote(first) if isinstance(first, str) else first}")
    return single


@pytest.mark.parametrize(("page", "command"), RUNS)
def test_runs_compose_and_pass_the_check(page: str, command: str, filled: Callable[[str], list[str]]) -> None:
    arguments = filled(command)
    if any(i in command for i in (*INVENTED, WRONG)):
        with pytest.raises(RazorError):
            checked(read(first_point(arguments)))
        return
    assert checked(read(first_point(arguments))).target


def test_there_are_commands_of_every_kind() -> None:
    assert len(RUNS) > 25
    used = {words(c)[1] for _, c in commands() if words(c)[0] == "razor"}
    assert set(COMMANDS) == used


@pytest.mark.parametrize(("page", "command"), [c for c in commands() if words(c[1])[0] == "razor"])
def test_commands_and_their_options_exist(page: str, command: str) -> None:
    _, name, *rest = words(command)
    assert name in COMMANDS
    found = typer.main.get_command(build_app(name))
    for word in (name, *rest):
        found = getattr(found, "commands", {}).get(word, found)
    options = {o for p in found.params for o in p.opts} | {"--help"}
    assert {w.partition("=")[0] for w in rest if w.startswith("-")} <= options
    if name == "tables" and rest and not rest[0].startswith("-"):
        assert rest[0] in {*TABLES, "all", "scores", "NAME"}


@pytest.mark.parametrize(("page", "command"), [c for c in commands() if words(c[1])[0] == "make"])
def test_make_targets_exist(page: str, command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert words(command)[1] in targets


def test_the_example_of_a_method_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = re.findall(r"^```(?:python|yaml)\n(.*?)^```", TEXT[ROOT / "docs/add-a-method.md"], FLAGS)[:2]
    (tmp_path / "shrink.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    method = importlib.import_module("shrink").Shrink(layer=0, share=0.5)
    model = make_clip()
    edit = run(method, model, make_sets())
    assert edit.components == ["visual.0.mlp"] and edit.values
    live = dict(model.module.named_parameters())
    assert all(torch.allclose(v.float(), live[n] / 2, atol=1e-3) for n, v in edit.values.items())


def test_tables_of_the_results_are_those_of_the_committed_scores() -> None:
    page, scores = ROOT / "docs/results/clip.md", ROOT / "docs/results/clip_scores.csv.gz"
    assert scores.stat().st_size < 300_000
    assert in_page.names(TEXT[page])
    assert in_page.filled(TEXT[page], score_file.load(scores)) == TEXT[page]
    outside = re.sub(r"<!-- razor tables .*?<!-- end -->", "", TEXT[page], flags=re.DOTALL)
    assert not re.search(r"^\|", outside, re.MULTILINE)  # no table by hand
