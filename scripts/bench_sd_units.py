"""Seconds, memory and stored bytes of one unit of work of each method, through the package's own code."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from bench_sd_model import OBJECTS, STYLES, prompt, sets_of
from torch import Tensor

from razor_cli.config.conf_files import labelled, settings_of
from razor_cli.config.schema import build, locate, together
from razor_cli.config.settings import PLACES
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import Named
from razor_cli.engine.changes import Weights
from razor_cli.engine.lab import Lab, device_peak
from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.train import train
from razor_cli.errors import Problem
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.settings import DrawnMetrics

KEPT_PROMPTS = (len(STYLES) - 1) * len(OBJECTS) + 1  # of every other style and object, and no words
PRESETS = {
    "RAZOR": "razor",
    "RAZOR, the paper's losses": "razor_paper",
    "SLUG": "slug",
    "ESD": "esd_canvas",
    "FMN": "fmn_canvas_style",
    "UCE": "uce_canvas_style",
    "EDiff": "ediff_canvas",
    "SalUn": "salun_canvas",
}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What one piece of work takes: the mean over so many of them, and the peak of memory meanwhile."""

    seconds: float
    measured: int
    mb: float


@dataclass(kw_only=True)
class Bench:
    """A model on the bench: what was measured on it so far."""

    family: Diffusion
    side: int
    pairs: int  # pictures of each gradient that is measured
    prompts: int  # likewise
    steps: int  # of each training
    sampler_steps: int | None = None  # instead of those of exam and ESD: tiny nets only say whether it runs
    units: dict[str, Unit] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)  # bytes, by preset
    say: Callable[[str], None] = lambda _: None

    def lab(self) -> Lab:
        """Return a fresh lab over sets as small as what is measured; its scoreboard draws nothing."""
        sets = sets_of(self.side, self.pairs, self.prompts)
        return Lab(family=self.family, sets=sets, settings=DrawnMetrics(search_pictures=0))

    def measure(self) -> None:
        """Measure every unit."""
        with torch.random.fork_rng():
            self._drawn()
            self._gradients()
            self._trials()
            self._closed_form()
            self._trainings()
        self._patches()

    @contextmanager
    def _taken(self, name: str, count: int) -> Iterator[None]:
        """Note what is done inside as `count` units of a name."""
        gc.collect()
        with peak_mb(self.family.device) as peak:
            started = self._now()
            yield
            self._note(name, [(self._now() - started) / count] * count, peak())

    def _note(self, name: str, seconds: Sequence[float], mb: float) -> None:
        mean = sum(seconds) / len(seconds)
        self.units[name] = Unit(seconds=mean, measured=len(seconds), mb=mb)
        self.say(f"{name}: {mean:.4g} s, mean of {len(seconds)}, {mb / 1000:.2f} GB")

    def _now(self) -> float:
        if self.family.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    def _drawn(self) -> None:
        """Draw as search and exam do; the first picture warms up."""
        sampler = DrawnMetrics().sampler
        sampler = replace(sampler, steps=self.sampler_steps or sampler.steps)
        self.family.denoiser.draw(["a"], [0], replace(sampler, steps=1))
        with self._taken("picture", 1):
            self.family.denoiser.draw([prompt("noto", "thing0")], [0], sampler)

    def _gradients(self) -> None:
        """Take the gradients of every loss: of a pair, or of a prompt for losses on texts."""
        lab = self.lab()
        forget, retain = lab.sets.forget, lab.sets.retain
        few = len(lab.sets.target_prompts)
        parts = {
            "anchor": (forget, few),
            "drift": (retain, len(lab.sets.retain_prompts)),
            "cosine": (forget, len(forget)),
            "retain_nce": (retain, len(retain)),
            "retain": (retain, len(retain) * self.family.draws.per_picture),
            "mismatch_squared": (forget, min(few, len(set(forget.captions)))),
        }
        for name, (part, count) in parts.items():
            loss = self.family.loss(name, lab.sets).anchored(Weights())
            with self._taken(f"{name} gradient", count):
                loss.gradient(part, len(part), lab.editable, lab.tick)

    def _trials(self) -> None:
        """Score a changed tensor by the contexts of prompts: per prompt, of the target and of the others."""
        lab = self.lab()
        component = self._tensors()[-1]
        live = parameters(self.family)
        values = {n: live[n].detach() * 1.01 for n in component.params}
        board = lab.board
        board.prepare([component])
        with self._taken("trial by contexts", len(lab.sets.target_prompts) + len(lab.sets.retain_prompts)):
            board.trial(values, [component])

    def _closed_form(self) -> None:
        """Solve for all matrices, against the rows of all prompts; these are encoded apart."""
        from razor_cli.methods.diffusion.entries import TOKENS, inputs, matrices
        from razor_cli.methods.diffusion.token_rows import encoded
        from razor_cli.methods.diffusion.wording import paired_texts

        method, lab = preset("uce_canvas_style"), self.lab()
        own, instead = paired_texts("concepts", method.concepts, method.anchor, lab.sets)
        kept = [*lab.sets.retain_prompts]
        with torch.no_grad():
            with self._taken("context", len(kept)):
                encoded(lab, kept)
            rows = inputs(method, lab, own, instead, kept)
            some = rows[TOKENS].kept
            times = -(-KEPT_PROMPTS * len(some) // len(kept) // len(some))
            every = some.repeat(times, 1)
            every = every + 0.01 * torch.randn(every.shape).to(every)  # no row twice
            rows[TOKENS] = replace(rows[TOKENS], kept=every, prompts=KEPT_PROMPTS)
            weights = {n: parameters(self.family)[n] for n in matrices(lab, method.with_to_k)}
            with self._taken("closed form", 1):
                found = method.solved(lab, weights, rows)
        stored = {n: w.to(self.family.storage_dtype(n)) for n, w in found.items()}
        self.stored["uce_canvas_style"] = size_of(stored)

    def _trainings(self) -> None:
        """Take some steps of every trained method, and before them what it needs once."""
        from razor_cli.methods.diffusion.ediff_phases import Phases
        from razor_cli.methods.diffusion.esd_erasure import Erasure
        from razor_cli.methods.diffusion.fmn_steering import Steering
        from razor_cli.methods.diffusion.relearning import Lessons
        from razor_cli.methods.diffusion.salun import Masked

        lab = self.lab()
        esd = replace(preset("esd_canvas"), epochs=1, steps=self.steps)
        esd = replace(esd, sampler_steps=self.sampler_steps or esd.sampler_steps)
        self._trained(lab, esd, lambda: Erasure(lab, esd), {esd.batch: "ESD step"})
        fmn = replace(preset("fmn_canvas_style"), epochs=1, steps=self.steps, ti_steps=self.steps)
        with self._taken("FMN inversion step", self.steps):
            steering = Steering(lab, fmn)
        self._trained(lab, fmn, lambda: steering, {fmn.batch: "FMN step"})
        ediff = replace(
            preset("ediff_canvas"), epochs=1, rounds=1, pictures=self._whole(preset("ediff_canvas"))
        )
        names = {ediff.batch: "EDiff inner step", 2 * ediff.batch: "EDiff outer step"}
        self._trained(lab, ediff, lambda: Phases(Lessons(lab, ediff), ediff), names)
        salun = replace(preset("salun_canvas"), epochs=1, pictures=self._whole(preset("salun_canvas")))
        lessons = Lessons(lab, salun)
        with self._taken("SalUn mask gradient", len(lab.sets.forget)):
            found = lessons.summed_gradient(salun.trained(self.family), None, salun.mask_guidance)
        from razor_cli.dual.mask import top_fraction

        masks = top_fraction({n: g.abs() for n, g in found.items()}, salun.mask_fraction)
        names = {2 * salun.batch: "SalUn step"}
        self._trained(lab, salun, lambda: Masked(lessons, masks), names)

    def _whole(self, method: Any) -> int:
        """Return pictures for so many whole batches."""
        return int(method.batch) * self.steps

    def _trained(
        self, lab: Lab, method: Any, objective: Callable[[], Objective], names: Mapping[int, str]
    ) -> None:
        gc.collect()
        with peak_mb(self.family.device) as peak:
            timed = Timed(objective(), self._now)
            edit: Edit = train(lab, method, timed)
            mb = peak()
        for pictures, name in names.items():
            self._note(name, timed.seconds[pictures], mb)
        self.stored[method.name] = size_of(edit.change.tensors())

    def _tensors(self) -> Any:
        return self.family.components(Granularity.TENSOR, Towers.BOTH)

    def _patches(self) -> None:
        """Count the largest patch of methods that choose tensors, as random weights choose nothing."""
        live = parameters(self.family)
        sizes = {c.name: sum(_bytes(self.family, n, live[n]) for n in c.params) for c in self._tensors()}
        every = sorted(sizes.values(), reverse=True)
        self.stored["razor"] = sum(every[: preset("razor").max_components])
        self.stored["razor_paper"] = sum(every[: self.chosen()])
        groups = ({s.name for s in self.family.siblings(c)} for c in self._tensors())
        self.stored["slug"] = max(sum(sizes[n] for n in g) for g in groups)

    def chosen(self) -> int:
        """Return how many tensors the paper's quantile of saliency leaves."""
        return max(1, round(len(self._tensors()) * (1 - preset("razor_paper").tau)))


class Timed(Objective):
    """An objective whose steps are timed, the optimiser's part included; by the pictures of a step."""

    def __init__(self, inner: Objective, now: Callable[[], float]) -> None:
        self.inner, self.now = inner, now
        self.seconds: dict[int, list[float]] = {}
        self.running = (0, 0.0)

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the steps, each noting when it begins."""
        return [replace(s, loss=self._begun(s)) for s in self.inner.epoch(number, generator)]

    def _begun(self, step: Step) -> Callable[[], Tensor]:
        def loss() -> Tensor:
            self.running = step.pictures, self.now()
            return step.loss()

        return loss

    def before_step(self, params: Named) -> None:
        """Do what the objective does."""
        self.inner.before_step(params)

    def after_step(self, params: Named, optimizer: torch.optim.Optimizer) -> None:
        """Do what the objective does, and note the step."""
        self.inner.after_step(params, optimizer)
        pictures, started = self.running
        self.seconds.setdefault(pictures, []).append(self.now() - started)


@contextmanager
def peak_mb(device: str) -> Iterator[Callable[[], float]]:
    """Give a function that returns the peak of memory since the beginning, in MB: of the GPU, or of the
    process, whose peak is set back where Linux allows it.
    """
    if device.startswith("cuda"):
        with device_peak(device) as peak:
            yield lambda: peak() * 2**20 / 1e6
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    yield _process_peak


def _process_peak() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024 / 1e6


def _bytes(family: Diffusion, name: str, value: Tensor) -> int:
    return value.numel() * family.storage_dtype(name).itemsize


def size_of(values: Mapping[str, Tensor]) -> int:
    """Return the bytes that tensors take on disk."""
    return sum(v.numel() * v.element_size() for v in values.values())


def preset(name: str) -> Any:
    """Return the method of a preset by its label, as models that draw read it."""
    node = settings_of("method", labelled("method")[name], "diffusion")
    problems: list[Problem] = []
    method = build(locate(node["_target_"], PLACES["method"], "method"), node, "method", problems)
    if problems:
        raise together(problems)
    return method
