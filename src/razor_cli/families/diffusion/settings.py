"""How a model that draws is examined: how its pictures are drawn, who judges them, what is scored. Imports no
torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from razor_cli.contract.family import DUAL
from razor_cli.data.shots import DrawnSets, Shots
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.choices import Precision
from razor_cli.families.diffusion.judge_files import EXAM, SEARCH, JudgeFiles, embedded
from razor_cli.families.diffusion.kinds import Sampler
from razor_cli.families.diffusion.probe_settings import Probe, Probing
from razor_cli.runs.remembered import file_hash

if TYPE_CHECKING:
    from razor_cli.contract.spec import Spec


class JudgedBy(StrEnum):
    """Who says what a drawn picture shows."""

    AUTO = "auto"  # classifiers where there are some: a folder, or a stand-in's own; else zero_shot
    CLASSIFIERS = "classifiers"  # of a folder, one per kind of label
    ZERO_SHOT = "zero_shot"  # the paired CLIP (model.companion), against the names of the run


class Features(StrEnum):
    """The network whose features FID compares; numbers of different networks never stand in one column."""

    PAIRED = "paired"  # image tower of the paired CLIP
    INCEPTION = "inception"  # torchvision's Inception v3, as the benchmark takes it
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class DrawnMetrics(Probing):
    """How pictures are drawn and judged, and which numbers are made of it."""

    steps: int = 10  # in [1, 1000]; of the sampler
    guidance: float = 3.0  # in [0, 50]; 1 and less: without classifier-free guidance
    batch: int = 16  # >= 1; pictures drawn at once
    side: int | None = None  # pixels, a multiple of 8; null: what the model was made for
    judged_by: JudgedBy = JudgedBy.AUTO
    judges: Path | None = None  # folder with the classifiers; null: the embedded ones of the stand-ins
    search_pictures: int = 400  # >= 0; what one search may look at, the unedited model's included
    fid: Features = Features.PAIRED
    fid_weights: Path | None = None  # state dict of torchvision's inception_v3, for fid=inception
    clip_score: bool = True  # where the model has a paired CLIP
    per_name: bool = True  # one row per other name
    shown: int = 4  # in [0, 12]; pictures of each section of pictures.png
    bootstrap_draws: int = 2000  # in [100, 100000]; resamples behind each interval of a mean

    def __post_init__(self) -> None:
        ranges = {
            "steps": (1, 1000),
            "guidance": (0, 50),
            "batch": (1, 4096),
            "search_pictures": (0, 1_000_000),
            "shown": (0, 12),
            "bootstrap_draws": (100, 100_000),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"metrics.{name} is out of range", allowed=f"{low} to {high}", found=getattr(self, name)
                )
        if self.side is not None and (self.side < 8 or self.side % 8):
            raise ConfigError(
                "metrics.side is no size that a picture can have", allowed="a multiple of 8", found=self.side
            )
        self._check_files()
        self.check_probes()

    def _check_files(self) -> None:
        if self.judges is not None and self.judged_by is JudgedBy.ZERO_SHOT:
            raise ConfigError(
                "metrics.judges is a folder of classifiers, and metrics.judged_by=zero_shot asks for none",
                fix="leave one of the two out",
            )
        if self.judges is not None and not self.judges.expanduser().is_dir():
            raise ConfigError("metrics.judges: no such folder", found=str(self.judges))
        if (self.fid is Features.INCEPTION) != (self.fid_weights is not None):
            raise ConfigError(
                "metrics.fid=inception and metrics.fid_weights go together",
                allowed="fid=inception with a file of torchvision's inception_v3, or neither",
                fix="metrics.fid=inception metrics.fid_weights=inception_v3_google-0cc3c7bd.pth",
            )
        if self.fid_weights is not None and not self.fid_weights.expanduser().is_file():
            raise ConfigError("metrics.fid_weights: no such file", found=str(self.fid_weights))

    def fitted(self, model: Spec) -> DrawnMetrics:
        """Return the settings for a model, with the judge that `auto` means for it."""
        if self.judged_by is not JudgedBy.AUTO:
            return self
        own = model.stand_in or self.judges is not None
        return replace(self, judged_by=JudgedBy.CLASSIFIERS if own else JudgedBy.ZERO_SHOT)

    def problems(self, model: Spec) -> Iterator[ConfigError]:
        """Yield what the judge needs of a model that this one has not."""
        if self.judged_by is JudgedBy.ZERO_SHOT and DUAL not in model.offers:
            yield no_judge()
        if self.learnt and getattr(model, "dtype", None) == Precision.FLOAT16:
            yield ConfigError(
                f"metrics.probes={','.join(self.learnt)} follows gradients, which vanish in float16",
                allowed="model.dtype=float32, model.dtype=bfloat16, or probes that learn nothing",
                found="model.dtype=float16",
                fix=f"metrics.probes=[{Probe.COMPLETION},{Probe.INPAINTING}]",
            )

    @property
    def sampler(self) -> Sampler:
        """Return how every picture of exam and search is drawn."""
        return Sampler(steps=self.steps, guidance=self.guidance, batch=self.batch, side=self.side)

    @property
    def files(self) -> JudgeFiles | None:
        """Return the folder of classifiers; None where the paired CLIP judges."""
        if self.judged_by == JudgedBy.ZERO_SHOT:
            return None
        return embedded() if self.judges is None else JudgeFiles(self.judges.expanduser())

    def judge_hashes(self, sets: DrawnSets) -> Mapping[str, str]:
        """Return the checksums of the classifiers that these sets are judged by, in search and exam, and of
        the network that FID takes from a file.

        Raises ConfigError for one that does not know what the sets show or that serves both, WeightsError for
        one whose weights are not there.
        """
        files, fid = self.files, self.fid_hash
        beside = {"fid": fid} if fid else {}
        if files is None:
            return beside
        asked = {EXAM: shown_in(sets.evaluation)}
        if self.search_pictures and files.has(SEARCH):
            asked[SEARCH] = shown_in(sets.validation)
            files.check_apart(EXAM, SEARCH)
        for role, shown in asked.items():
            files.check(role, shown)
            files.check_weights(role, shown)
        return beside | {role: files.hash(role) for role in asked}

    @property
    def fid_hash(self) -> str:
        """Return the hash of the file that FID's network is in, or nothing."""
        return file_hash(self.fid_weights.expanduser()) if self.fid_weights is not None else ""


def no_judge() -> ConfigError:
    """Return the error of a run that nobody could judge."""
    return ConfigError(
        "metrics.judged_by=zero_shot: the model has no CLIP beside it, so nobody could say what it draws",
        allowed="the CLIP that its text encoder comes from, as a folder of transformers; or a folder of "
        "classifiers",
        found="model.companion=null, metrics.judges=null",
        fix="model.companion=DIR or a name of the hub (of Stable Diffusion 1.x: "
        "openai/clip-vit-large-patch14), or metrics.judges=DIR",
    )


def shown_in(shots: Shots) -> dict[str, tuple[str, ...]]:
    """Return the names of every kind that shots show, each once."""
    found: dict[str, dict[str, None]] = {}
    for shot in shots:
        for kind, name in shot.labels:
            found.setdefault(kind, {})[name] = None
    return {kind: tuple(names) for kind, names in found.items()}
