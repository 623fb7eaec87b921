"""The settings that a LLaVA is opened from (conf/model/llava*.yaml). Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.config.amounts import least
from razor_cli.contract.budget import free_memory
from razor_cli.contract.choices import Device
from razor_cli.contract.family import ANSWERS, BOARD, CLASSES, DUAL
from razor_cli.contract.goals import Goals
from razor_cli.contract.spec import Estimate, Work
from razor_cli.errors import ConfigError, Problem, WeightsError
from razor_cli.families.diffusion.choices import Precision, no_float16
from razor_cli.families.diffusion.companion_files import folder_hash
from razor_cli.families.diffusion.memory import without_gpu
from razor_cli.families.llava.choices import FORGET_LOSSES, GOALS, IN_BATCHES, MISMATCHES, RETAIN_LOSSES
from razor_cli.families.llava.files import LlavaFiles, read_folder
from razor_cli.families.llava.kinds import Candidates, Language, Pool, Tiles
from razor_cli.families.llava.memory import Need, check_memory, cost, memory_note, needed
from razor_cli.families.llava.refusals import companion_problems, refusals
from razor_cli.families.llava.settings import AskedMetrics
from razor_cli.families.llava.standins import stand_in_folder
from razor_cli.weights.model_files import refused

if TYPE_CHECKING:
    from razor_cli.families.llava.family import Llava

BESIDE = "_clip"  # what a paired CLIP that lies beside a folder is called: like it, and this


@dataclass(frozen=True, kw_only=True)
class LlavaSpec:
    """A LLaVA to load: where it and its CLIP lie, what may be edited, and how it is held."""

    family: ClassVar[str] = "llava"
    offers: ClassVar[frozenset[str]] = frozenset({BOARD, DUAL, CLASSES, ANSWERS})
    libraries: ClassVar[tuple[str, ...]] = ("transformers", "accelerate")
    goals: ClassVar[Goals] = GOALS
    losses: ClassVar[tuple[str, ...]] = FORGET_LOSSES
    retain_losses: ClassVar[tuple[str, ...]] = RETAIN_LOSSES
    in_batches: ClassVar[tuple[str, ...]] = IN_BATCHES
    mismatches: ClassVar[tuple[str, ...]] = MISMATCHES

    name: str = "llava_tiny"  # label in tables; of a stand-in without weights its folder
    stand_in: bool = True  # its numbers are never printed in a column of a real model
    weights: str | None = None  # folder; null: the embedded one
    companion: str | None = None  # folder of the CLIP that the image tower comes from; null: WEIGHTS_clip
    candidates: Candidates = Candidates.VISION_EFFECTIVE
    vision_pool: Pool = Pool.CLS
    loss_tiles: Tiles = Tiles.BASE
    min_alignment: float = 0.5  # in [0, 1]; share of the CLIP's accuracy that tower and CLIP must reach
    answer_weights: Language = Language.FULL
    device: Device = Device.AUTO
    dtype: Precision = Precision.AUTO

    def __post_init__(self) -> None:
        if not 0 <= self.min_alignment <= 1:
            raise ConfigError(
                "model.min_alignment is out of range", allowed="0 to 1", found=self.min_alignment
            )
        if self.weights is None and not self.stand_in:
            raise ConfigError(
                "model.weights is needed",
                allowed="a folder of a LLaVA of transformers",
                found="null",
                fix="model.weights=DIR",
            )
        if self.dtype is Precision.FLOAT16 and self.device is Device.CPU:
            raise no_float16()
        if self.answer_weights is Language.INT8:
            from razor_cli.config.quantization import require_bitsandbytes

            require_bitsandbytes()

    @property
    def place(self) -> Path:
        """Return the folder of the weights."""
        return stand_in_folder(self.name) if self.weights is None else Path(self.weights).expanduser()

    @property
    def companion_folder(self) -> Path | None:
        """Return the folder of the CLIP, or None where none is given and none lies beside the weights."""
        if self.companion is not None:
            return Path(self.companion).expanduser()
        beside = self.place.with_name(self.place.name + BESIDE)
        return beside if beside.is_dir() else None

    def _files(self) -> LlavaFiles:
        """Return the model's files. Raises WeightsError for a folder that is none of a LLaVA."""
        if not self.place.is_dir():
            embedded = self.weights is None
            raise refused(
                f"no such folder (model={self.name})",
                allowed="a folder of a LLaVA of transformers",
                found="no stand-in of that name" if embedded else str(self.place),
                fix="model.weights=DIR, or the embedded stand-in: model=llava_tiny",
            )
        return read_folder(self.place)

    def problems(self) -> list[Problem]:
        """Return everything in files and settings that keeps the model from being opened; no weight is
        read.
        """
        wrong: list[WeightsError | ConfigError] = []
        try:
            files = self._files()
            wrong += refusals(files)
            wrong += companion_problems(files, self.companion_folder)
            if not wrong and self.device is Device.CPU:
                self._check_memory(files, free_memory(), "this machine")
        except (WeightsError, ConfigError) as error:
            wrong.append(error)
        return [Problem(what=e.what, allowed=e.allowed, found=e.found, fix=e.fix) for e in wrong]

    def _need(self, files: LlavaFiles) -> Need:
        return needed(files, self.dtype.chosen, self.answer_weights)

    def _check_memory(self, files: LlavaFiles, free: int | None, place: str) -> None:
        told = {"dtype": self.dtype.chosen, "language": self.answer_weights}
        check_memory(files, self._need(files), free, place, told=told)

    def memory_note(self, metrics: AskedMetrics, allowed: int | None = None) -> str:
        """Return that the answers of an exam do not fit into memory as many at once as the settings say;
        nothing where they do. `allowed` are the bytes that the settings name.
        """
        here = self.device is Device.CPU or (self.device is Device.AUTO and without_gpu())
        room = least(free_memory() if here else None, allowed)
        return memory_note(self.name, self._need(self._files()), room, metrics.batch)

    def missing(self) -> str:
        """Return nothing: a folder is here, or is a problem."""
        return ""

    def weights_hash(self) -> str:
        """Return the hash of all files that decide answers; those of weights are remembered by their
        state.
        """
        return self._files().digest()

    def beside(self, target: str) -> Mapping[str, str]:
        """Return the hash of the paired CLIP: losses and metrics go through it."""
        folder = self.companion_folder
        return {} if folder is None else {"paired": folder_hash(folder)}

    def cost(self, work: Work) -> Estimate:
        """Return what a job costs by a count of passes."""
        files = self._files()
        return cost(files, work, self._need(files), self.device.value)

    def open(self) -> Llava:
        """Return the loaded model on its device. Raises WeightsError when it cannot be had, ConfigError for a
        device that is not there or cannot hold it.
        """
        from razor_cli.families.clip.load import choose_device
        from razor_cli.families.llava.paired import Wanted, free_on, load

        files, companion = self._files(), self.companion_folder
        if wrong := [*refusals(files), *companion_problems(files, companion)]:
            raise wrong[0]
        assert companion is not None
        if (place := choose_device(self.device)) == "cpu" and self.dtype is Precision.FLOAT16:
            raise no_float16()
        self._check_memory(files, free_memory() if place == "cpu" else free_on(place), place)
        wanted = Wanted(
            device=place,
            dtype=self.dtype.chosen,
            language=self.answer_weights,
            candidates=self.candidates,
            pool=self.vision_pool,
            tiles=self.loss_tiles,
            min_alignment=self.min_alignment,
        )
        return load(self.name, self.stand_in, files, wanted, companion)
