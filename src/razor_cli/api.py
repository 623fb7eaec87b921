"""One call from Python: a model in memory, a concept, and the model without it.

The same path as a command line: the settings are composed and checked by the same code, the edit is the same
to the bit, and what is asked wrongly is refused with the same words, as an exception.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from razor_cli.alone import edit_alone
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked_for
from razor_cli.config.overrides import quote
from razor_cli.config.pairings import exam_problems
from razor_cli.config.schema import together
from razor_cli.contract.handed import Handed, Handing
from razor_cli.errors import ConfigError, RunError
from razor_cli.run import perform
from razor_cli.runs.judged import by_bounds
from razor_cli.screen import Screen

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.config.settings import Experiment
    from razor_cli.runs.folder import Run
    from razor_cli.runs.records import Verdict
    from razor_cli.runs.rows import ScoreRow

FAMILIES = Path(__file__).parent / "families"
PATCH = "patch.safetensors"
OF_COMMANDS = ("dry_run", "jobs", "grid", "fail_fast", "exit_on", "debug", "experiment", "family")
log = logging.getLogger("razor_cli")


@dataclass(frozen=True, kw_only=True, repr=False)
class Finished:
    """A finished edit: what it changed, how it was found, and how it was judged where that was asked."""

    patch: bytes  # of a patch file, as `razor patch` reads it
    values: Mapping[str, Tensor]  # new values, by name, in the dtype of the model
    log: list[dict[str, str]]  # the rows of edit_log.csv
    scores: list[ScoreRow] | None  # of base, control and edit; None: not asked
    verdict: Verdict | None  # of the scenario's bounds
    notes: list[str]

    def __repr__(self) -> str:
        """Return how large it is and how it was judged: its tensors would fill a screen."""
        numbers = sum(value.numel() for value in self.values.values())
        told = "not judged" if self.verdict is None else self.verdict.decision
        return f"Finished({len(self.values)} tensors of {numbers:,} numbers, {len(self.log)} steps, {told})"

    def save(self, path: str | Path) -> Path:
        """Write the patch to a file, whole or not at all, and return its path."""
        from razor_cli.runs.folder import write_atomic

        write_atomic(Path(path), self.patch)
        return Path(path)


@dataclass(frozen=True, kw_only=True, repr=False)
class Unlearned:
    """A model without the concept, and the edit that made it so."""

    model: Any
    edit: Finished

    def __repr__(self) -> str:
        """Return the class of the model, and the edit in short."""
        return f"Unlearned(model={type(self.model).__name__}, edit={self.edit!r})"


def unlearn(
    model: Any,
    target: str,
    *,
    method: str = "razor",
    scenario: str | None = None,
    data: str | None = None,
    companion: Any = None,
    inplace: bool = False,
    **settings: Any,
) -> Unlearned:
    """Return the model without the concept `target`, and the edit; the model itself stays as it is, to the
    bit, unless `inplace`.

    `model` is a pipeline of diffusers, a model of open_clip, or a CLIPModel or LLaVA of transformers.
    `method`, `scenario` and `data` are options as on the command line, `settings` all other keys of it:
    `seed=1`, `method__rho=0.2` for `method.rho`, `data__root=DIR`. What a model needs beside it goes there
    too: `tokenizer` and `preprocess` with open_clip, `processor` with transformers. `scores=True` also
    evaluates base and edit. With `output_dir` the run is recorded there, and found again; without one
    nothing stays.

    Raises ConfigError, DataError or WeightsError for what the caller can mend, RunError for a failure.
    """
    handing = _handing_of(model)
    beside = {name: settings.pop(name) for name in handing.BESIDE if name in settings}
    scored = settings.pop("scores", False)
    if not isinstance(scored, bool):
        raise ConfigError("scores has the wrong type", allowed="True or False", found=repr(scored))
    own = {"companion": companion} if companion is not None else {}
    keys = {_key(name): value for name, value in settings.items()}
    own |= {k.removeprefix("model."): keys.pop(k) for k in list(keys) if k.startswith("model.")}
    if not isinstance(target, str):
        raise ConfigError("target has the wrong type", allowed="a name", found=repr(target))
    if "weights" in own:
        raise ConfigError("model__weights: the model is what is handed over", fix="leave it out")
    groups = {"method": method, "scenario": scenario, "data": data}
    chosen = {name: value for name, value in groups.items() if value is not None}
    with _place(keys) as folder:
        words = [_word(key, value) for key, value in (chosen | {"target": target} | keys).items()]
        ready = handing.handed(model, beside, own)
        experiment = checked_for(read([f"model={handing.MODEL}", *words]), ready.settings)
        finished = _finished(experiment, ready, Path(folder), scored=scored)
    changed = model if inplace else handing.copied(model)
    handing.write(changed, finished.values)
    return Unlearned(model=changed, edit=finished)


@cache
def _handings() -> dict[str, Handing]:
    """Return by family what takes a model in memory."""
    places = sorted(FAMILIES.glob("*/loaded.py"))
    return {
        p.parent.name: cast(Handing, import_module(f"razor_cli.families.{p.parent.name}.loaded"))
        for p in places
    }


def _handing_of(model: Any) -> Handing:
    for handing in _handings().values():
        if handing.serves(model):
            return handing
    kind = type(model)
    raise ConfigError(
        "unlearn serves no model of this kind",
        allowed="; ".join(h.SERVED for h in _handings().values()),
        found=f"{kind.__module__}.{kind.__qualname__}",
    )


def _key(name: str) -> str:
    """Return the key of a keyword: `method__rho` stands for `method.rho`."""
    key = name.replace("__", ".")
    if key.partition(".")[0] in OF_COMMANDS:
        raise ConfigError(f"{name} belongs to a command line, and not to a call", fix="leave it out")
    if key == "model":
        raise ConfigError("model is what is handed over", found=name, fix="leave it out")
    return key


def _word(key: str, value: Any) -> str:
    """Return a setting as a word of a command line: a text as it is typed there, without quotes."""
    value = value.value if isinstance(value, Enum) else value
    return f"{key}={value if isinstance(value, str | Path) else _written(value, key)}"


def _written(value: Any, key: str) -> str:
    if isinstance(value, Enum):
        return _written(value.value, key)
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return quote(str(value))
    if isinstance(value, list | tuple):
        return f"[{','.join(_written(v, key) for v in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{k}:{_written(v, key)}' for k, v in value.items())}}}"
    raise ConfigError(
        f"{key} has the wrong type",
        allowed="a text, a number, True, False, None, a path, or a list or dict of these",
        found=type(value).__name__,
    )


@contextmanager
def _place(keys: dict[str, Any]) -> Iterator[str]:
    """Give a folder for what is written on the way, which goes afterwards; results go there too where nobody
    says where else.
    """
    with tempfile.TemporaryDirectory(prefix="razor-") as folder:
        keys.setdefault("output_dir", Path(folder) / "outputs")
        yield folder


def _finished(experiment: Experiment, ready: Handed, folder: Path, *, scored: bool) -> Finished:
    """Compute what was asked and return it, read from what a run writes."""
    console = Screen(file=_Lines())
    if scored:
        if wrong := exam_problems(experiment.metrics, experiment.model):
            raise together(wrong)
        run, _ = perform(experiment, console, opener=lambda _: ready.family)
        verdict = by_bounds(run, experiment.scenario.acceptance)
        notes = list(run.record.notes)
    else:
        alone = folder / "edit"
        alone.mkdir()
        run, verdict = edit_alone(experiment, console, alone, opener=lambda _: ready.family), None
        notes = []
    content, values = _patch_of(run, experiment)
    return Finished(
        patch=content,
        values=values,
        log=run.events,
        scores=run.scores if scored else None,
        verdict=verdict,
        notes=notes,
    )


def _patch_of(run: Run, experiment: Experiment) -> tuple[bytes, Mapping[str, Tensor]]:
    from razor_cli.weights.patch import read_patch

    path = run.path(PATCH)
    if not path.is_file():
        raise RunError(
            f"method={experiment.method.name} changed no weights, so there is no other model to return",
            fix="razor-run evaluates it; unlearn returns new weights",
        )
    return path.read_bytes(), read_patch(path)[1]


class _Lines(io.StringIO):
    """Hands every line that a run prints to the log."""

    def write(self, text: str) -> int:
        for line in filter(None, map(str.rstrip, text.splitlines())):
            log.info("%s", line)
        return len(text)
