"""`razor doctor` as a person meets it: what it prints, what it refuses, and its exit codes."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from razor_cli import main
from razor_cli.acceptance.checks import Check, Report, Request, Status
from razor_cli.acceptance.clip import edit, groups, patch
from razor_cli.commands import doctor_environment as environment


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def fake(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> list[Request]:
    """Stand in for the work of an acceptance; returns the requests that reach it."""
    asked: list[Request] = []

    def answer(request: Request, _: object) -> Report:
        asked.append(request)
        return Report(
            preset=request.preset,
            architecture="ViT-B-32",
            checkpoint="ViT-B-32/x",
            claim="said",
            weights="w.pt",
            weights_hash="ab" * 32,
            stand_in=False,
            random_weights=False,
            checks=checks,
            seconds=1.0,
        )

    monkeypatch.setattr(groups, "accept", answer)
    return asked


# ------------------------------------------------------------------ at a glance


def test_glance_says_what_is_here_and_what_is_missing(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.razor_command(["doctor", "output_dir=elsewhere"]) == 0
    out = capsys.readouterr().out
    for part in (
        "Python",
        "cores for this process",
        "GB",
        "torch ",
        "elsewhere, writable",
        "stand-in clip_tiny",
        "razor data prepare",
    ):
        assert part in out, part
    assert "laion400m_e32 are not in the hub's cache" in out and "model.weights=FILE" in out
    assert list(room.iterdir()) == []  # a look leaves nothing behind


def test_glance_keeps_what_is_ready_apart_from_what_is_not(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.razor_command(["doctor"]) == 0
    _, _, text = capsys.readouterr().out.partition("ready to run")
    ready, _, lacking = text.partition("possible once something is added")
    assert "model=llava_tiny" in ready and "model=clip_tiny" in ready and "fix:" not in ready
    assert "model=sd15" in lacking and lacking.count("fix:") >= 4


def test_glance_is_quick_and_imports_no_torch(room: Path) -> None:
    code = (
        "import sys\nfrom razor_cli.main import razor_command\ncode = razor_command(['doctor'])\n"
        "print('end', code, *(m in sys.modules for m in ('torch', 'open_clip', 'transformers')))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=room)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.endswith("end 0 False False False\n"), done.stdout
    assert (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0
    )  # of the processor, whatever else runs


def test_glance_fails_when_something_needed_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = environment._installed
    monkeypatch.setattr(
        environment, "_installed", lambda name: "0.1" if name == "safetensors" else right(name)
    )
    assert main.razor_command(["doctor"]) == 1
    out = capsys.readouterr().out
    assert (
        "0.1, >=0.4.3 asked for" in out
        and "pip install 'safetensors>=0.4.3'" in out
        and "missing, and needed: safetensors" in out
    )
    monkeypatch.undo()
    monkeypatch.setattr("razor_cli.writable.writable", lambda _: False)
    assert main.razor_command(["doctor"]) == 1
    assert "cannot write" in capsys.readouterr().out


def test_glance_finds_cached_weights_and_photographs(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = room / "hub" / "models--timm--vit_base_patch32_clip_224.laion400m_e32" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "open_clip_model.safetensors").touch()
    photographs = room / "photographs"
    photographs.mkdir()
    for name in ("train-0.parquet", "test-0.parquet"):
        (photographs / name).touch()
    assert main.razor_command(["doctor", f"data.cifar_root={photographs}"]) == 0
    out = capsys.readouterr().out
    assert "laion400m_e32 are in the hub's cache" in out and "CIFAR-10 is here" in out
    assert "laion400m_e32 are not in the hub's cache" in out  # ViT-L/14 still


# ------------------------------------------------------------------ acceptance: requests


def test_overrides_reach_the_acceptance(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake(monkeypatch)
    words = [
        "model.architecture=ViT-L-14-quickgelu",
        "model.weights=openai",
        f"data.cifar_root={room}",
        "output_dir=there",
    ]
    assert main.razor_command(["doctor", "--acceptance", "open_clip", *words, "--pictures", "40"]) == 0
    request = asked[0]
    assert (request.model.full_architecture, request.model.weights) == ("ViT-L-14-quickgelu", "openai")
    assert (request.data.cifar_root, request.output_dir, request.pictures) == (room, Path("there"), 40)
    assert request.target is None  # the scenario's default is not the user's word
    assert main.razor_command(["doctor", "--acceptance", "clip_vitb32", "target=Ada Lovelace"]) == 0
    assert asked[1].target == "Ada Lovelace"
    assert main.razor_command(["doctor", "--acceptance", "clip_vitb32", f"data.root={room}"]) == 0
    assert (asked[2].data.root, asked[2].data.cifar_root) == (room, None)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--acceptance", "clip_vitb23"], ["there is no such model", "did you mean model=clip_vitb32"]),
        (["--acceptance", "clip_tiny", "model.wieghts=x"], ["model.wieghts", "did you mean model.weights"]),
        (
            ["--acceptance", "clip_tiny", "method.rho=1"],
            ["method.rho=1: not a setting of an acceptance", "model.…=VALUE"],
        ),
        (
            ["--acceptance", "clip_tiny", "data.cifar_root=nowhere"],
            ["data.cifar_root: no such folder", "nowhere"],
        ),
        (["--acceptance", "sd_tiny"], ["nothing is published of such a model", "model=sd_tiny method=none"]),
        (["--acceptance", "open_clip"], ["model.architecture is needed", "fix"]),
        (
            ["--acceptance", "clip_vitb32", "--random-weights", "model.weights=x"],
            ["makes its own weights", "leave one"],
        ),
        (
            ["--random-weights"],
            ["--random-weights belongs to --acceptance", "razor doctor --acceptance MODEL"],
        ),
        (["model.weights=x"], ["not a setting of razor doctor", "--acceptance MODEL"]),
    ],
)
def test_wrong_requests_are_refused_with_what_is_allowed(
    words: list[str], parts: list[str], room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.razor_command(["doctor", *words]) == 2
    err = capsys.readouterr().err
    assert [p for p in parts if p not in err] == [] and "Traceback" not in err, err
    assert not (room / "outputs").exists()


def test_without_weights_the_ways_to_get_them_are_named(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.razor_command(["doctor", "--acceptance", "clip_vitb32"]) == 2
    err = capsys.readouterr().err
    said, _, error = err.partition("\n")
    assert said.startswith("asking the hub for laion400m_e32") and "a minute" in said
    assert error.startswith("WeightsError: model.weights=laion400m_e32") and "Traceback" not in err
    assert all(part in err for part in ("model.weights=FILE_OR_TAG", "hub", "model=clip_tiny"))
    assert not (room / "outputs").exists()


# ------------------------------------------------------------------ acceptance: what is printed


def test_a_failed_check_ends_with_1_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (
        Check(name="parameters", status=Status.PASS, expected="5", found="5"),
        Check(
            name="logit scale",
            status=Status.FAIL,
            expected="100",
            found="14.29",
            deviation="-85.71",
            why="untrained",
            fix="train",
        ),
        Check(name="zero-shot", status=Status.SKIPPED, why="no [photographs]", fix="fetch them"),
    )
    fake(monkeypatch, *rows)
    assert main.razor_command(["doctor", "--acceptance", "clip_vitb32"]) == 1
    out = capsys.readouterr().out
    assert "not accepted: 1 passed, 1 failed, 1 skipped" in out
    assert out.index("14.29") < out.index("untrained") < out.index("no [photographs]")
    fake(monkeypatch, rows[0], rows[2])
    assert main.razor_command(["doctor", "--acceptance", "clip_vitb32"]) == 0  # a skipped check is no failure
    assert "accepted: 1 passed, 0 failed, 1 skipped" in capsys.readouterr().out


def test_random_weights_of_the_stand_in_are_turned_down(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for group in (edit, patch):  # tested apart, and the slow part
        monkeypatch.setattr(group, "checks", lambda *_: [])
    assert main.razor_command(["doctor", "--acceptance", "clip_tiny", "--random-weights"]) == 1
    out = capsys.readouterr().out
    assert (
        "acceptance of random weights of clip_tiny" in out
        and "not trained" in out
        and "the value before training" in out
    )
    assert (room / "outputs" / "doctor" / "doctor.json").is_file()


def test_attempts_of_the_hub_are_told_in_a_line_of_ours(
    room: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_: object) -> str:
        logging.getLogger("huggingface_hub.utils").warning("Retrying in 8s [Retry 4/5].")
        raise OSError("no network")

    monkeypatch.setattr("open_clip.download_pretrained", unreachable)
    assert main.razor_command(["doctor", "--acceptance", "clip_vitb32"]) == 2
    err = capsys.readouterr().err
    assert "asking the hub for laion400m_e32" in err and "Retrying" not in err
    assert "could not be fetched" in err and logging.getLogger("huggingface_hub").level < logging.CRITICAL
