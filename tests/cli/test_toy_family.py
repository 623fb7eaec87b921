"""A family that the package has never heard of goes through `razor-run`, from the command line to a table."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import toy_net
from safetensors.torch import load_file

from razor_cli.main import razor_command, run_command
from razor_cli.runs.folder import Run, complete_runs

CONF = Path(__file__).parents[1] / "toy_conf"
ALLOWED = "allow_code=[toy_family,toy_data,toy_methods]"
WORDS = ["--config-dir", str(CONF), ALLOWED, "model=toy", "scenario=identity", "target=owl"]


@dataclass(frozen=True)
class Said:
    """How a command ended, what it printed, and the runs that were recorded by then."""

    code: int
    text: str
    runs: list[Run]

    def run(self, method: str) -> Run:
        """Return the run of a method on the owl."""
        return next(r for r in self.runs if (r.record.method, r.record.target) == (method, "owl"))

    def score(self, method: str, state: str, width: str = "none", metric: str = "fa_top1") -> float:
        """Return a score in %."""
        rows = (r for r in self.run(method).scores if (r.state, r.quantization) == (state, width))
        value = next(r.score.value for r in rows if r.score.metric == metric)
        assert value is not None
        return value


Do = Callable[..., Said]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder with the toy's weights, as the current one."""
    folder = tmp_path_factory.mktemp("toy")
    toy_net.teach(folder / "toy.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RAZOR_CACHE", str(folder / "cache"))
        patch.setenv("COLUMNS", "140")
        yield folder


@pytest.fixture(scope="module")
def do(home: Path) -> Do:
    """Give `razor-run` on the toy."""

    def call(*words: str, flags: tuple[str, ...] = ()) -> Said:
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            code = run_command([*flags, *WORDS, *words])
        return Said(code, out.getvalue(), complete_runs(home / "outputs"))

    return call


@pytest.fixture(scope="module")
def swept(do: Do) -> Said:
    """Run all methods in one sweep, at three widths."""
    return do("method=razor,slug,random,none,gate,low_rank", flags=("-m",))


@pytest.mark.parametrize("method", ["razor", "slug", "gate", "low_rank"])
def test_the_word_is_forgotten_at_every_width_and_the_others_stay(swept: Said, method: str) -> None:
    assert swept.code == 0 and "6 jobs, 6 finished, 0 failed" in swept.text
    for width in ("none", "int8", "int4"):
        assert swept.score(method, "base", width) == 100 and swept.score(method, "edit", width) == 0
        assert swept.score(method, "edit", width, "others_acc") >= 95
    verdict = swept.run(method).record.verdict
    assert verdict is not None and verdict.decision == "ACCEPTED"


def test_the_null_edit_scores_as_the_base(swept: Said) -> None:
    assert swept.score("none", "edit") == swept.score("none", "base") == swept.score("none", "control")


def test_control_of_the_same_size_or_why_there_is_none(swept: Said) -> None:
    for method in ("razor", "slug", "low_rank"):
        assert swept.score(method, "control") > 50
    assert "control" not in {r.state for r in swept.run("gate").scores}
    assert any(n.startswith("no control: a switch") for n in swept.run("gate").record.notes)


def test_what_is_stored_of_each_kind_of_change(swept: Said, home: Path) -> None:
    assert swept.run("razor").path("patch.safetensors").is_file()
    adapter = load_file(swept.run("low_rank").path("adapter.safetensors"))
    assert set(adapter) == {"up", "down"} and swept.run("low_rank").record.cost.patch_bytes
    assert not list(swept.run("gate").folder.glob("*.safetensors"))
    assert swept.run("gate").record.cost.patch_bytes is None


def test_report_shows_every_score_though_nobody_laid_it_out(do: Do, swept: Said) -> None:
    again = do("method=razor")
    assert again.code == 0 and "already recorded, nothing to compute" in again.text
    assert len(again.runs) == len(swept.runs)  # resumed, not computed anew
    for words in ('forget "owl" · razor', "toy (toy)", "What was measured", "fa_top1", "Verdict: ACCEPTED"):
        assert words in again.text


def test_patch_applies_verifies_and_reverts(
    swept: Said, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patch, base = str(swept.run("razor").path("patch.safetensors")), str(home / "toy.safetensors")
    out, back = str(home / "out.safetensors"), str(home / "back.safetensors")
    assert razor_command(["patch", "verify", patch, "--base", base]) == 0
    assert razor_command(["patch", "apply", patch, "--base", base, "--out", out]) == 0
    undo = f"{out}.undo.safetensors"
    assert razor_command(["patch", "revert", out, "--undo", undo, "--out", back]) == 0
    before, edited, after = (load_file(p) for p in (base, out, back))
    assert all(torch.equal(before[n], after[n]) for n in before)
    assert {n for n in before if not torch.equal(before[n], edited[n])} == set(load_file(patch))


def test_query_and_table_read_the_runs(swept: Said, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select family, count(distinct run_id) n from scores group by 1"
    assert razor_command(["query", "--format", "csv", sql]) == 0
    assert capsys.readouterr().out == "family,n\ntoy,6\n"
    assert razor_command(["tables", "measured", "--format", "md"]) == 0
    table = capsys.readouterr().out
    assert all(f"| {method} " in table for method in ("razor", "slug", "random", "low_rank", "gate"))
    assert "fa_top1" in table and "toy" in table


def test_door_is_closed_unless_the_command_line_opens_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shut = [w for w in WORDS if w != ALLOWED]
    assert run_command([*shut, "method=none"]) == 2
    assert "no code outside razor_cli" in (said := capsys.readouterr().err)
    assert "allow_code=toy_family, if you trust that code" in said
    own = tmp_path / "conf" / "experiment"
    own.mkdir(parents=True)
    (own / "sly.yaml").write_text("# @package _global_\nallow_code: [toy_family]\n")
    assert run_command(["--config-dir", str(tmp_path / "conf"), "experiment=sly"]) == 2
    assert "on the command line only" in capsys.readouterr().err
    assert run_command(["allow_code=no_such_package_anywhere"]) == 2
    assert "there is no such package" in capsys.readouterr().err


def test_package_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine_alone.py").write_text(
        "from dataclasses import dataclass\n\n\n@dataclass(frozen=True, kw_only=True)\nclass Mine:\n"
        "    needs = frozenset({'telepathy'})\n    stochastic = False\n    name: str = 'mine'\n"
    )
    method = tmp_path / "conf" / "method"
    method.mkdir(parents=True)
    (method / "mine.yaml").write_text("_target_: mine_alone.Mine\nname: mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    words = ["--config-dir", str(tmp_path / "conf"), "allow_code=mine_alone", "method=mine"]
    assert run_command(words) == 2  # its class was found, and needs what no family offers
    assert "offers no telepathy" in capsys.readouterr().err
