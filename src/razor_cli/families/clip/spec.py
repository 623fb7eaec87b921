"""The settings that a CLIP is opened from (conf/model/clip_*.yaml and its like). Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.contract.choices import Device
from razor_cli.contract.family import BOARD, CLASSES, DUAL, RETAIN
from razor_cli.contract.goals import Goals, Instead
from razor_cli.contract.spec import Estimate, Work
from razor_cli.dual.choices import FORGET_LOSSES
from razor_cli.dual.goals import GOALS, SIGMOID
from razor_cli.errors import ConfigError, Problem, WeightsError
from razor_cli.families.clip.architectures import (
    check_served,
    fetched_config,
    fetched_tokenizer,
    files_of,
    has_bias,
)
from razor_cli.families.clip.files import Library, beside_weights, weight_files
from razor_cli.families.clip.hf_files import check_folder, is_siglip
from razor_cli.families.clip.hf_kinds import KINDS
from razor_cli.families.clip.standins import DEFAULT, stand_in_folder
from razor_cli.runs.remembered import remember
from razor_cli.weights.beside import CompanionFiles

if TYPE_CHECKING:
    from razor_cli.families.clip.family import Clip

WEIGHT_SUFFIXES = (".pt", ".bin", ".safetensors", ".pth", ".ckpt", ".npz")


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """A CLIP to load: which library builds it, from which weights."""

    family: ClassVar[str] = "clip"
    offers: ClassVar[frozenset[str]] = frozenset({BOARD, DUAL, CLASSES})
    libraries: ClassVar[tuple[str, ...]] = ("open_clip_torch", "transformers")
    goals: ClassVar[Goals] = GOALS
    losses: ClassVar[tuple[str, ...]] = FORGET_LOSSES
    retain_losses: ClassVar[tuple[str, ...]] = (RETAIN,)
    in_batches: ClassVar[tuple[str, ...]] = (*FORGET_LOSSES, RETAIN)

    name: str = "clip_tiny"  # label in tables
    stand_in: bool = True  # its numbers are never printed in a column of a real model
    library: Library = Library.STAND_IN
    architecture: str | None = None  # open_clip name; of a stand-in the folder of its embedded weights
    variant: str | None = None  # suffix of the architecture, e.g. quickgelu
    weights: str | None = None  # file, folder or pretrained tag; null: the embedded ones
    device: Device = Device.AUTO
    oracle: str | dict[str, str] | None = None  # weights retrained without the target; or target -> weights
    reseeded: str | None = None  # weights of the base trained with another seed

    def __post_init__(self) -> None:
        if self.stand_in != (self.library is Library.STAND_IN):
            raise ConfigError(
                "model.stand_in must say what model.library is",
                allowed="stand_in=true with library=stand_in only",
            )
        if self.library is Library.OPEN_CLIP and not self.architecture:
            fix = "model.architecture=ViT-B-32 model.weights=FILE_OR_TAG"
            raise ConfigError(
                "model.architecture is needed", allowed="any open_clip name", found="null", fix=fix
            )
        if self.library is Library.HF and not self.weights:
            raise ConfigError(
                "model.weights is needed",
                allowed="a Hugging Face folder of a CLIP or SigLIP",
                found="null",
                fix="model.weights=DIR",
            )

    @property
    def full_architecture(self) -> str | None:
        """Return the architecture's name with its variant."""
        return (
            f"{self.architecture}-{self.variant}" if self.architecture and self.variant else self.architecture
        )

    @property
    def files(self) -> CompanionFiles:
        """Return the files of the models that a run is held against."""
        folder = stand_in_folder(self.architecture or DEFAULT) if self.stand_in else None
        return CompanionFiles(oracle=self.oracle, reseeded=self.reseeded, folder=folder)

    @property
    def sigmoid(self) -> bool:
        """Tell whether the model was trained with the sigmoid loss, by its configuration; of one that cannot
        be read others say why.
        """
        try:
            if self.library is Library.OPEN_CLIP:
                return has_bias(self.full_architecture or "")
            folder = stand_in_folder(self.architecture or DEFAULT) if self.stand_in else self.weights or ""
            return is_siglip(Path(folder).expanduser())
        except WeightsError:
            return False

    @property
    def instead(self) -> Instead | None:
        """Return what stands in place of goals and bounds that say nothing on the model, if any do."""
        return SIGMOID if self.sigmoid else None

    def problems(self) -> list[Problem]:
        """A path given as weights must exist, and what stands beside it must be usable; a tag is looked up
        when the model loads.
        """
        return [*self._paths_missing(), *self._beside_unusable()]

    def _beside_unusable(self) -> list[Problem]:
        """Return what configurations tell without a weight being read: an architecture that is not served,
        a folder whose files cannot be followed.
        """
        try:
            if self.library is Library.OPEN_CLIP:
                check_served(self.full_architecture or "", self.weights)
            elif self.library is Library.HF and (folder := Path(self.weights or "").expanduser()).exists():
                check_folder(folder, KINDS)
        except WeightsError as error:
            return [Problem(what=error.what, allowed=error.allowed, found=error.found, fix=error.fix)]
        return []

    def _paths_missing(self) -> list[Problem]:
        if self.weights is None:
            return []
        path = Path(self.weights).expanduser()
        is_path = (
            path.suffix in WEIGHT_SUFFIXES or len(path.parts) > 1 or self.library is not Library.OPEN_CLIP
        )
        if not is_path or path.exists():
            return []
        fix = "model.weights=FILE_OR_TAG, or the embedded stand-in: model=clip_tiny data=standin"
        what = f"model.weights: no such file or folder (model={self.name})"
        return [Problem(what=what, found=str(path), fix=fix)]

    def missing(self) -> str:
        """Return what is missing before the model can be opened without a network, or nothing."""
        if self.library is not Library.OPEN_CLIP:
            return ""
        if self.weights is None:
            return f"model.weights of model={self.name}"
        if Path(self.weights).expanduser().exists():
            return ""
        from razor_cli.families.clip.released import is_cached

        if is_cached(self.full_architecture or "", self.weights):
            return ""
        return (
            f"weights '{self.weights}' of model={self.name} are not on this machine: fetched when the first "
            "job starts, which needs the network, or give model.weights=FILE"
        )

    def weights_hash(self) -> str:
        """Return the hash of the weights as stored, of the architecture, and of what else decides pixels,
        token ids and the forward pass, remembered by the files' state.
        """
        path, beside = self._paths()
        what = f"clip 2 {self.library} {self.full_architecture or ''} {self.weights or ''}"

        def compute() -> str:
            from razor_cli.families.clip.load import stored_hash

            return stored_hash(self.library, self.full_architecture, path, self.weights)

        return remember(what, [*weight_files(path), *beside], compute)

    def _paths(self) -> tuple[Path, Sequence[Path]]:
        """Return the weights, and further files that decide answers."""
        if self.library is Library.STAND_IN:
            root, name = stand_in_folder(self.architecture or DEFAULT), self.architecture or DEFAULT
            own = beside_weights(root)
            return Path(self.weights).expanduser() if self.weights else root / f"{name}.safetensors", own
        path = Path(self.weights or "").expanduser()
        if self.library is Library.HF:
            return path, beside_weights(path)
        if not path.exists():
            from razor_cli.families.clip.open_clip_models import resolve_weights

            path = resolve_weights(self.full_architecture or "", self.weights)
        name = self.full_architecture or ""
        fetched = [*fetched_tokenizer(name, self.weights), *fetched_config(name)]
        return path, [*beside_weights(path), *files_of(name), *fetched]

    def beside(self, target: str) -> Mapping[str, str]:
        """Return the hashes of the companions of a run on this target, by state."""
        return {state: _state_hash(path) for state, path in self.files.paths(target).items()}

    def cost(self, work: Work) -> Estimate:
        """Return what a job costs by a count of passes through the image tower."""
        from razor_cli.engine.estimate import counted
        from razor_cli.families.clip.shape import shape_of

        return counted(shape_of(self.library, self.full_architecture, self.weights), work, self.device.value)

    def open(self) -> Clip:
        """Return the loaded model on its device. Raises WeightsError when it cannot be had, ConfigError for a
        device that is not there.
        """
        from razor_cli.families.clip.load import load

        return load(
            name=self.name,
            library=self.library,
            architecture=self.full_architecture,
            weights=self.weights,
            device=self.device,
            files=self.files,
        )


def _state_hash(path: Path) -> str:
    def compute() -> str:
        from razor_cli.weights.checkpoint import read_state, state_hash

        return state_hash(read_state(path))

    return remember("state", weight_files(path), compute)
