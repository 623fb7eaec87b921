"""Verdicts of today's bounds on recorded runs, from `razor-run`, its sweeps and grids, and `razor judge`; and
the gate.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy_net
from safetensors.torch import load_file, save_file

from razor_cli.commands.judge import _recorded
from razor_cli.main import razor_command, run_command
from razor_cli.runs.folder import Run, complete_runs

CONF = Path(__file__).parents[1] / "toy_conf"
FLAGS = ("--config-dir", str(CONF))
WORDS = ("allow_code=[toy_family,toy_data,toy_methods]", "model=toy", "scenario=identity", "target=owl")
SMALL = ("quantization=none", "control=false")
NOT_RECOGNISED = "the unedited model does not recognise it on these pictures"
NEVER = "scenario.acceptance.gone.at_most=0"  # even none of all pictures may be more than none
REFUSED = ("scenario.acceptance.gone.at_most=null", "+scenario.acceptance.gone.at_least=50")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    text: str


Do = Callable[..., Said]


def called(command: Callable[[list[str]], int], words: list[str]) -> Said:
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = command(words)
    return Said(code, out.getvalue())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder with the toy's weights, and those of one that never learned the owl: it draws a fox."""
    folder = tmp_path_factory.mktemp("judged")
    toy_net.teach(folder / "toy.safetensors")
    weights = load_file(folder / "toy.safetensors")
    weights["embed.weight"][0] = weights["embed.weight"][1]
    save_file(weights, folder / "owl_less.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RAZOR_CACHE", str(folder / "cache"))
        patch.setenv("COLUMNS", "200")
        yield folder


@pytest.fixture(scope="module")
def do(home: Path) -> Do:
    """Give `razor-run` on the toy."""
    return lambda *words, flags=(): called(run_command, [*flags, *FLAGS, *WORDS, *SMALL, *words])


@pytest.fixture(scope="module")
def forgotten(do: Do) -> Run:
    """Run an edit that forgets, by the scenario's own bounds."""
    assert do("method=razor").code == 0
    (run,) = complete_runs(Path("outputs"))
    return run


def contents(run: Run) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.folder.iterdir()}


def razor(*words: str) -> Said:
    return called(razor_command, ["judge", *words])


def test_another_threshold_is_the_same_run_judged_anew(do: Do, forgotten: Run) -> None:
    before = contents(forgotten)
    for words, decision, code in (
        ((), "ACCEPTED", 0),
        ((NEVER,), "UNDECIDED", 0),
        ((NEVER, "exit_on=rejected"), "UNDECIDED", 0),
        ((NEVER, "exit_on=undecided"), "UNDECIDED", 3),
        ((*REFUSED, "exit_on=rejected"), "REJECTED", 3),
        (("exit_on=undecided",), "ACCEPTED", 0),
    ):
        again = do("method=razor", *words)
        assert (again.code, f"Verdict: {decision}" in again.text) == (code, True), (words, again.text)
        assert "already recorded, nothing to compute" in again.text and forgotten.run_id in again.text
        assert ("ACCEPTED when it was recorded" in again.text) == (decision != "ACCEPTED")
    assert contents(forgotten) == before
    assert [r.run_id for r in complete_runs(Path("outputs"))] == [forgotten.run_id]


def test_sweeps_and_grids_judge_recorded_jobs_by_todays_bounds(do: Do, forgotten: Run) -> None:
    swept = do("method=razor", NEVER, "exit_on=undecided", flags=("-m",))
    assert swept.code == 3 and " UNDECIDED · run " in swept.text and "already recorded" in swept.text
    assert do("method=razor", NEVER, "exit_on=rejected", flags=("-m",)).code == 0
    folder = Path("conf")
    (folder / "experiment").mkdir(parents=True)
    for place in CONF.iterdir():
        (folder / place.name).symlink_to(place)
    grid = "# @package _global_\ngrid:\n  - {target: [owl], method: [razor]}\n"
    (folder / "experiment/mine.yaml").write_text(grid)
    command = ["--config-dir", str(folder), *WORDS, *SMALL, "experiment=mine"]
    for gate, code in (("null", 0), ("rejected", 0), ("undecided", 3)):
        listed = called(run_command, [*command, NEVER, f"exit_on={gate}"])
        assert listed.code == code, listed.text
        assert "1 recorded before" in listed.text and "recorded · UNDECIDED · run" in listed.text
    assert called(run_command, [*command, "exit_on=undecided"]).code == 0


def test_a_missing_verdict_does_not_pass_either(do: Do, forgotten: Run) -> None:
    bare = ("method=razor", "~scenario.acceptance.gone", "~scenario.acceptance.kept")
    assert do(*bare, "exit_on=rejected").code == 0
    said = do(*bare, "exit_on=undecided")
    assert said.code == 3 and "Verdict:" not in said.text and "ACCEPTED when it was recorded" in said.text


def test_former_switch_is_the_gate_for_rejections(do: Do, forgotten: Run) -> None:
    for words, code in ((REFUSED, 3), ((NEVER,), 0)):
        said = do("method=razor", *words, "exit_on_reject=true")
        assert said.code == code
    assert do("method=razor", *REFUSED, "exit_on_reject=false").code == 0
    assert do("method=razor", "exit_on=rejecte").code == 2


def test_a_name_the_model_never_knew_is_not_accepted(do: Do, home: Path) -> None:
    for method in ("none", "razor", "slug"):
        said = do(
            f"method={method}", "model.weights=owl_less.safetensors", "output_dir=never", "exit_on=undecided"
        )
        assert said.code == 3 and "Verdict: UNDECIDED" in said.text
        assert NOT_RECOGNISED in said.text[said.text.index("Verdict") :]
        searched = method != "none"
        notes = said.text[: said.text.index("Verdict")]
        assert (f"nothing to forget: {NOT_RECOGNISED}" in notes) == searched
        assert "Target met" not in said.text
    for run in complete_runs(Path("never")):
        if run.record.method == "razor":
            assert [e["note"] for e in run.events if e["action"] == "stop"] in (
                [],
                [f"nothing to forget: {NOT_RECOGNISED}"],
            )


def test_judge_one_run(forgotten: Run) -> None:
    before = contents(forgotten)
    plain = razor(forgotten.run_id[:6])
    assert plain.code == 0 and plain.text.startswith(f"ACCEPTED  {forgotten.run_id}  toy identity")
    assert (
        "gone: fa_top1 all_classes at most 40; unquantized 0.0" in plain.text
        and "recorded as" not in plain.text
    )
    stricter = razor("latest", "acceptance.gone.at_most=0", "exit_on=undecided")
    assert stricter.code == 3 and stricter.text.startswith("UNDECIDED")
    assert "(recorded as ACCEPTED)" in stricter.text
    whole = razor(str(forgotten.folder), "scenario.acceptance.most={metric: others_acc, at_least: 100.5}")
    assert whole.code == 0 and whole.text.startswith("REJECTED") and "most: others_acc" in whole.text
    made = razor(
        "latest", "acceptance.most.metric=others_acc", "acceptance.most.at_least=101", "exit_on=rejected"
    )
    assert made.code == 3
    assert contents(forgotten) == before


def test_judge_all_says_a_line_for_each_and_how_many(do: Do, forgotten: Run) -> None:
    assert do("method=none").code == 0
    bare = ("~scenario.acceptance.gone", "~scenario.acceptance.kept")
    assert do("method=random", *bare).code == 0
    said = razor("all")
    lines = said.text.splitlines()
    assert said.code == 0 and lines[-1] == "3 runs: 1 ACCEPTED, 1 REJECTED, 1 without a verdict"
    assert sorted(line.split()[0] for line in lines[:-1]) == ["ACCEPTED", "REJECTED", "no"]
    assert razor("all", "exit_on=rejected").code == 3
    looser = razor("all", "acceptance.gone.at_least=0", "acceptance.gone.at_most=null", "exit_on=rejected")
    assert looser.code == 0 and "has no such bound" in looser.text  # of the run without bounds
    assert (
        razor("all", "acceptance.gone.at_least=0", "acceptance.gone.at_most=null", "exit_on=undecided").code
        == 3
    )


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("RUN", "acceptance.gon.at_most=3"), "did you mean acceptance.gone"),
        (("all", "acceptance.gon.at_most=3"), "did you mean acceptance.gone"),
        (("RUN", "acceptance.gone.at_mots=3"), "did you mean"),
        (("RUN", "acceptance.gone.at_most=high"), "a number"),
        (("RUN", "acceptance.gone.at_most=[1"), "cannot be read"),
        (("RUN", "acceptance.gone=3"), "must be a bound"),
        (("RUN", "acceptance.gone.quantizations=none"), "acceptance.gone.quantizations"),
        (("RUN", "acceptance.gone.at_least=3"), "exactly one threshold"),
        (("RUN", "method.rho=3"), "not a bound"),
        (("RUN", "exit_on=accepted"), "rejected, undecided"),
        (("nothere",), "nothere"),
    ],
)
def test_judge_refuses_what_no_bound_is(forgotten: Run, words: tuple[str, ...], part: str) -> None:
    said = razor(*(w.replace("RUN", forgotten.run_id) for w in words))
    assert said.code == 2 and part in said.text and "Traceback" not in said.text


def test_reasons_stand_in_the_order_of_the_report() -> None:
    bounds = {"m1_generic": {"at_most": 5}, "m1_mean": {"at_most": 5}}
    reasons = ["ACCEPTED  m1_mean: m1 at most 5", "ACCEPTED  m1_generic: m1 at most 5"]
    record = SimpleNamespace(
        settings={"scenario": {"acceptance": bounds}}, verdict=SimpleNamespace(reasons=reasons)
    )
    assert list(_recorded(SimpleNamespace(record=record))) == ["m1_mean", "m1_generic"]
