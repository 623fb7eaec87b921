"""`razor run-again`: a recorded run's settings once more, and whether the code of today gives the same."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from razor_cli.config.settings import Experiment
    from razor_cli.runs.folder import Run
    from razor_cli.runs.provenance import Provenance

SHOWN = 12  # scores that differ, those that differ most first
CONDITIONS = (
    "package_version",
    "code_version",
    "git_commit",
    "python",
    "platform",
    "device",
    "dtype",
    "threads",
)


def run_again(
    run: Annotated[
        str, typer.Argument(help="a run's folder, the beginning of its id, or `latest`")
    ] = "latest",
    output_dir: Annotated[Path, typer.Option(help="where runs are recorded")] = Path("outputs"),
    into: Annotated[
        Path | None, typer.Option(help="record the new run below this folder; without it nothing is kept")
    ] = None,
    allow_code: Annotated[
        list[str] | None,
        typer.Option(help="a package of yours that the settings name; its code is run"),
    ] = None,
) -> None:
    """Compute a recorded run again from its resolved settings; say what of code, versions and data is not as
    it was, and which scores differ. The recorded run stays as it is, and nothing comes from its caches.

    It ends with code 1 where a score differs.
    """
    from razor_cli.printing import note, say
    from razor_cli.runs.known import find_run
    from razor_cli.screen import Screen

    before = find_run(output_dir, run, note)
    with _place(output_dir, into) as folder:
        experiment = experiment_of(before, folder, frozenset(allow_code or ()))
        say(f"run {before.run_id} again: {before.record.method}, {before.record.target}")
        from razor_cli.run import perform

        after, _ = perform(experiment, Screen())
        for line in conditions(before.record.provenance, after.record.provenance):
            say(line)
        lines, count = differences(before, after)
        for line in lines:
            say(line)
        if into is not None:
            say(f"recorded: {after.folder}")
    raise typer.Exit(1 if count else 0)


@contextmanager
def _place(output_dir: Path, into: Path | None) -> Iterator[Path]:
    from razor_cli.errors import ConfigError
    from razor_cli.writable import require_writable

    if into is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    if into.resolve() == output_dir.resolve():
        raise ConfigError("--into: the recorded run lies there", found=into, fix="--into DIR, another folder")
    require_writable(into / "runs", "--into")
    yield into


def experiment_of(run: Run, output_dir: Path, allowed: frozenset[str] = frozenset()) -> Experiment:
    """Return the experiment that a run's resolved_config.yaml describes, recorded below another folder.

    Raises UserError where DONE does not vouch for the file, ConfigError for settings that this version does
    not take, or for classes of a package that is not `allowed`.
    """
    from razor_cli.config.check import check
    from razor_cli.runs.folder import CONFIG
    from razor_cli.runs.reading import parsed

    settings: Any = parsed(_loaded, run.read(CONFIG), run.folder, CONFIG)
    _refuse_foreign(run, settings, allowed)
    more = {
        "output_dir": str(output_dir),
        "threads": run.record.provenance.threads,
        "allow_code": sorted(allowed),
    }
    return check({**settings, **more, "force": True}, allowed=allowed, typed=run.record.overrides)


def _refuse_foreign(run: Run, settings: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Raise ConfigError for settings whose classes lie in packages that are not allowed."""
    from razor_cli.errors import ConfigError

    named = [part.get("_target_") for part in settings.values() if isinstance(part, Mapping)]
    packages = {name.partition(".")[0] for name in named if isinstance(name, str)}
    if foreign := sorted(packages - {"razor_cli"} - allowed):
        words = " ".join(f"--allow-code {package}" for package in foreign)
        raise ConfigError(
            f"run {run.run_id} names classes of {', '.join(foreign)}, which are not run unasked",
            found=", ".join(str(n) for n in named if str(n).partition(".")[0] in foreign),
            fix=f"razor run-again {run.run_id} {words}, if you trust that code",
        )


def conditions(before: Provenance, after: Provenance) -> list[str]:
    """Return a line for each thing that is not as it was when the run was recorded."""
    found = {name: (getattr(before, name), getattr(after, name)) for name in CONDITIONS}
    found["weights"] = before.weights_hash, after.weights_hash
    for kind, old, new in (
        ("", before.libraries, after.libraries),
        ("data: ", before.data_fingerprints, after.data_fingerprints),
    ):
        found |= {f"{kind}{name}": (old.get(name), new.get(name)) for name in dict.fromkeys((*old, *new))}
    other = [
        f"  {name}: {_short(old)} then, {_short(new)} now" for name, (old, new) in found.items() if old != new
    ]
    return (
        ["not as it was:", *other]
        if other
        else ["code, versions, machine, weights and data are as they were"]
    )


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:16]}…"


def differences(before: Run, after: Run) -> tuple[list[str], int]:
    """Return what is to be said of scores that differ, those that differ most first, and their number."""
    old, new = _scores(before), _scores(after)
    keys = list(dict.fromkeys((*old, *new)))
    other = [key for key in keys if old.get(key, "not scored") != new.get(key, "not scored")]
    lines = [f"scores: {len(keys) - len(other)} of {len(keys)} are equal"]
    other.sort(key=lambda key: -_distance(old.get(key), new.get(key)))
    for key in other[:SHOWN]:
        state, width, attack, step, metric, variant = key
        where = " ".join(str(part) for part in (state, width, attack, step) if part not in ("", "none", None))
        lines.append(f"  {metric} {variant} of {where}: {_said(old, key)} then, {_said(new, key)} now")
    if len(other) > SHOWN:
        lines.append(f"  and {len(other) - SHOWN} more that differ less")
    return lines, len(other)


Key = tuple[Any, ...]


def _scores(run: Run) -> dict[Key, float | None]:
    return {
        (r.state, r.quantization, r.attack, r.step, r.score.metric, r.score.variant): r.score.value
        for r in run.measured
    }


def _distance(old: float | None, new: float | None) -> float:
    """Return how far two values are apart, as a share of the larger; of what is not there, all of it."""
    if old is None or new is None:
        return 1.0
    return abs(old - new) / max(abs(old), abs(new), 1e-12)


def _said(scores: Mapping[Key, float | None], key: Key) -> str:
    value = scores.get(key)
    return f"{value:.6g}" if value is not None else "not computed" if key in scores else "not scored"


def _loaded(text: str) -> dict[str, Any]:
    """Return settings. Raises ValueError for a text that holds none."""
    import yaml  # type: ignore[import-untyped]

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    if not isinstance(found, dict):
        raise ValueError("no settings")
    return found


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run-again")(run_again)
