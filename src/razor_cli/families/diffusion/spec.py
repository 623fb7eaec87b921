"""The settings that a model that draws is opened from (conf/model/sd*.yaml). Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.config.amounts import least
from razor_cli.contract.budget import free_memory
from razor_cli.contract.choices import Device
from razor_cli.contract.family import BOARD, DENOISER, DUAL
from razor_cli.contract.goals import Goals
from razor_cli.contract.spec import Estimate, Work
from razor_cli.errors import ConfigError, Problem, WeightsError
from razor_cli.families.diffusion.choices import (
    FORGET_LOSSES,
    GOALS,
    RETAIN_LOSSES,
    Precision,
    ThirdEncoder,
    no_float16,
    refused_losses,
)
from razor_cli.families.diffusion.companion_files import (
    companion_problems,
    companions_of,
    fetched_clip,
    folder_hash,
)
from razor_cli.families.diffusion.files import OWNER, T5, PipelineFiles
from razor_cli.families.diffusion.folder import read_folder
from razor_cli.families.diffusion.hub import cached, fetched, is_hub_name
from razor_cli.families.diffusion.kinds import Draws, Sampler
from razor_cli.families.diffusion.memory import (
    Need,
    check_memory,
    cost,
    memory_note,
    needed,
    without_gpu,
)
from razor_cli.families.diffusion.oracle_files import ORACLE, oracle_of, oracle_problems
from razor_cli.families.diffusion.refusals import check_alone, refusals
from razor_cli.families.diffusion.schemes import REFUSED_SCHEMES
from razor_cli.families.diffusion.standins import stand_in_folder, stand_in_names
from razor_cli.weights.model_files import refused, sensible

if TYPE_CHECKING:
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.families.diffusion.settings import DrawnMetrics

OFFERS = frozenset({BOARD, DUAL, DENOISER})


@dataclass(frozen=True, kw_only=True)
class DiffusionSpec:
    """A Stable Diffusion to load: where it lies, and how it is held."""

    family: ClassVar[str] = "diffusion"
    offers: ClassVar[frozenset[str]] = OFFERS  # of one without a paired CLIP: no DUAL
    libraries: ClassVar[tuple[str, ...]] = ("diffusers", "transformers", "accelerate", "torchmetrics")
    goals: ClassVar[Goals] = GOALS
    losses: ClassVar[tuple[str, ...]] = FORGET_LOSSES
    retain_losses: ClassVar[tuple[str, ...]] = RETAIN_LOSSES
    refused_schemes: ClassVar[Mapping[str, str]] = REFUSED_SCHEMES

    name: str = "sd_tiny"  # label in tables; of a stand-in without weights its folder
    stand_in: bool = True  # its numbers are never printed in a column of a real model
    weights: str | None = None  # folder, file or name of the hub; null: the embedded ones
    variant: str | None = None  # of weights files, e.g. fp16; components without it are taken plain
    companion: str | dict[str, str] | None = None  # paired CLIP, or encoder -> CLIP; null: NAME_clip beside
    oracle: str | dict[str, str] | None = None  # trained without the target; or target -> one
    t5: ThirdEncoder = ThirdEncoder.LOAD
    device: Device = Device.AUTO
    dtype: Precision = Precision.AUTO
    draws: int = 8  # >= 1; how often the retain loss noises each picture
    batch: int = 16  # >= 1; noised pictures in the net at once, in a gradient pass
    checkpointing: bool = False  # keep less for gradients, compute more

    def __post_init__(self) -> None:
        for name in ("draws", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} is out of range", allowed=">= 1", found=getattr(self, name))
        if self.weights is None and not self.stand_in:
            raise ConfigError(
                "model.weights is needed",
                allowed="a folder of diffusers, a file of Stable Diffusion 1.x, a name of the hub",
                found="null",
                fix="model.weights=DIR",
            )
        if self.dtype is Precision.FLOAT16 and self.device is Device.CPU:
            raise no_float16()
        if not self._may_pair():
            object.__setattr__(self, "offers", OFFERS - {DUAL})

    def _may_pair(self) -> bool:
        """Tell whether a paired CLIP is given, or lies beside the pipeline."""
        if self.companion or self._of_hub():
            return bool(self.companion)
        return bool(companions_of(self._place() or Path(), None))

    def _of_hub(self) -> bool:
        """Tell whether the weights are named as the hub names them."""
        return self.weights is not None and is_hub_name(self.weights)

    def _place(self) -> Path | None:
        """Return the folder or file that the weights are in, or None for a name of the hub that is not in its
        cache.
        """
        if self.weights is None:
            return stand_in_folder(self.name)
        return cached(self.weights) if self._of_hub() else Path(self.weights).expanduser()

    def _read(self, place: Path) -> tuple[PipelineFiles, list[WeightsError]]:
        """Return the pipeline's files, and what is wrong with them. Raises WeightsError where they are none
        of a pipeline.
        """
        if not place.exists():
            raise self._absent(place)
        if place.is_dir():
            files, wrong = read_folder(place, variant=self.variant, t5=self.t5 is ThirdEncoder.LOAD)
        else:
            check_alone(place)
            from razor_cli.families.diffusion.single_file import read_single_file

            files, wrong = read_single_file(place), []
        with sensible(files.source, OWNER):
            return files, [*wrong, *refusals(files)]

    def _absent(self, place: Path) -> WeightsError:
        if self.weights is None:
            names = ", ".join(stand_in_names()) or "none"
            return refused(
                f"no stand-in is called '{self.name}'",
                allowed=f"a folder, or one of the stand-ins: {names}",
                found="null",
                fix="model.weights=DIR",
            )
        fix = "model.weights=DIR with a folder of diffusers, or the embedded stand-in: model=sd_tiny"
        return refused(f"no such file or folder (model={self.name})", found=str(place), fix=fix)

    def _files(self) -> PipelineFiles:
        """Return the pipeline's files, fetched where they are of the hub and not in its cache. Raises
        WeightsError for what is wrong with them.
        """
        place = self._place()
        files, wrong = self._read(place) if place is not None else (None, [])
        if self._of_hub() and (files is None or wrong):
            files, wrong = self._read(
                fetched(self.weights or "", variant=self.variant, t5=self.t5 is ThirdEncoder.LOAD)
            )
        if wrong:
            raise wrong[0]
        assert files is not None
        return files

    def _companions(self, files: PipelineFiles) -> dict[str, Path]:
        """Return the folders of the paired CLIPs, by encoder, fetched where they are of the hub. Raises
        WeightsError for one that it does not give.
        """
        return companions_of(files.path, self.companion, fetched_clip)

    @property
    def refused_losses(self) -> Mapping[str, tuple[str, str]]:
        """Return the losses that it cannot have, each with why and what helps."""
        return refused_losses(DUAL in self.offers)

    def problems(self) -> list[Problem]:
        """Return everything in files and settings that keeps the model from being opened; what the hub's
        cache lacks is fetched when the model loads.
        """
        place = self._place()
        if place is None:
            return []
        wrong: list[WeightsError | ConfigError] = []
        try:
            files, found = self._read(place)
            wrong += [] if self._of_hub() else found
            if not found:
                wrong += companion_problems(files, companions_of(files.path, self.companion))
                wrong += oracle_problems(self.oracle, self._read)
                self._check_held(files)
        except (WeightsError, ConfigError) as error:
            wrong.append(error)
        return [Problem(what=e.what, allowed=e.allowed, found=e.found, fix=e.fix) for e in wrong]

    def _check_held(self, files: PipelineFiles) -> None:
        """Check dtype and memory, as far as the CPU is meant: a GPU is asked when the model loads."""
        if self.dtype is Precision.FLOAT16 and T5 in files.parts:
            raise no_float16_with_t5()
        if self._on_cpu():
            self._check_memory(files, free_memory(), "this machine")

    def _on_cpu(self) -> bool:
        """Tell whether it will be loaded on the CPU, as far as that is known without torch."""
        return self.device is Device.CPU or (self.device is Device.AUTO and without_gpu())

    def _told(self) -> dict[str, object]:
        return {"dtype": self.dtype.chosen, "batch": self.batch, "checkpointing": self.checkpointing}

    def _check_memory(self, files: PipelineFiles, free: int | None, place: str) -> None:
        check_memory(files, self._need(files), free, place, told=self._told())

    def memory_note(self, metrics: DrawnMetrics, allowed: int | None = None) -> str:
        """Return what loading it and drawing for an exam takes, and what takes less; nothing where its files
        are not here yet. `allowed` are the bytes that the settings name.
        """
        place = self._place()
        files, wrong = self._read(place) if place is not None else (None, [])
        if files is None or wrong:
            return ""
        free = free_memory() if self._on_cpu() else None
        room = least(free, allowed)
        return memory_note(self.name, self._need(files), room, told=self._told(), batch=metrics.batch)

    def _need(self, files: PipelineFiles) -> Need:
        with sensible(files.source, OWNER):
            return needed(files, self.dtype.chosen, batch=self.batch, checkpointing=self.checkpointing)

    def missing(self) -> str:
        """Return what is missing before the model can be opened without a network, or nothing."""
        place = self._place()
        lacking = {"weights": f"'{self.weights}' of model={self.name}"} if place is None else {}
        clips = [self.companion] if isinstance(self.companion, str) else list((self.companion or {}).values())
        if len(companions_of(place or Path(), self.companion)) < len(clips):
            lacking["companion"] = f"'{', '.join(filter(is_hub_name, clips))}' of model.companion"
        if not lacking:
            return ""
        given = " ".join(f"model.{name}=DIR" for name in lacking)
        return (
            f"{' and '.join(lacking.values())} is no folder here and not in the hub's cache: fetched when "
            f"the first job starts, which needs the network, or give {given}"
        )

    def weights_hash(self) -> str:
        """Return the hash of all files that decide pictures: weights of every component, settings, tokenizers
        and schedule. Those of weights are remembered by their state.
        """
        return self._files().digest()

    def beside(self, target: str) -> Mapping[str, str]:
        """Return the hashes of the paired CLIPs, by their encoders: losses and judges go through them; and of
        the oracle for a target.
        """
        found = self._companions(self._files())
        oracle = oracle_of(self.oracle, target, self._read)[0]
        paired = {f"paired_{name}": folder_hash(folder) for name, folder in found.items()}
        return paired if oracle is None else paired | {ORACLE: oracle.digest()}

    def cost(self, work: Work) -> Estimate:
        """Return what a job costs by a count of passes through the net."""
        files = self._files()
        return cost(files, work, self._need(files), self.device.value, Sampler())

    def open(self) -> Diffusion:
        """Return the loaded model on its device. Raises WeightsError when it cannot be had, ConfigError for a
        device that is not there or cannot hold it.
        """
        from razor_cli.families.diffusion.load import Wanted, choose_device, free_on, load
        from razor_cli.families.diffusion.oracle import Against

        files = self._files()
        self._check_held(files)
        if (place := choose_device(self.device)) == "cpu" and self.dtype is Precision.FLOAT16:
            raise no_float16()
        self._check_memory(files, free_memory() if place == "cpu" else free_on(place), place)
        companions = self._companions(files)
        if wrong := companion_problems(files, companions):
            raise wrong[0]
        wanted = Wanted(
            device=place,
            dtype=self.dtype.chosen,
            draws=Draws(per_picture=self.draws, batch=self.batch),
            checkpointing=self.checkpointing,
        )

        def against(target: str) -> Against:
            oracle, notes = oracle_of(self.oracle, target, self._read)
            return Against(files=oracle, notes=notes)

        return load(self.name, self.stand_in, files, wanted, companions, against)


def no_float16_with_t5() -> ConfigError:
    """Return the error of a T5 that would be computed in float16."""
    return ConfigError(
        "model.dtype=float16 does not go with T5: its values leave what float16 holds",
        allowed="float32, bfloat16; or float16 with model.t5=off",
        found="float16",
        fix="model.dtype=bfloat16",
    )
