"""Who judges drawn pictures: one judge for each kind of label that the shots show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from razor_cli.data.shots import DrawnSets, Shots
from razor_cli.families.diffusion.judge_files import EXAM, SEARCH
from razor_cli.families.diffusion.judges import Judge, load_judge, resized
from razor_cli.families.diffusion.settings import DrawnMetrics, shown_in

if TYPE_CHECKING:
    from razor_cli.families.diffusion.companion import Companion
    from razor_cli.families.diffusion.judges import Answers as Said

UNASKED = -2  # the judge of a kind was not asked about this picture
BATCH = 64


class Judges(Protocol):
    """Says which of its labels a picture shows: a classifier, or a zero-shot CLIP."""

    @property
    def name(self) -> str:
        """Return what records call it."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names it knows."""
        ...

    @property
    def sha256(self) -> str:
        """Return the hash of what it answers by."""
        ...

    def index(self, label: str) -> int:
        """Return the place of a label. Raises ConfigError for one it does not know."""
        ...

    def predict(self, pictures: Tensor) -> Said:
        """Return the answers on pictures [n, 3, H, W] in [0, 1]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The judges of one role by kind of label, and what they are to find in which shot.

    `wanted` holds for each kind the place [n] of what each shot shows among its judge's labels; UNASKED for a
    shot that shows nothing of the kind.
    """

    shots: Shots
    judges: Mapping[str, Judges]
    prefix: str = ""  # of variants: names a judge that is no classifier
    wanted: Mapping[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        found = {}
        for kind, judge in self.judges.items():
            names = [shot.shows(kind) for shot in self.shots]
            found[kind] = torch.tensor([UNASKED if n is None else judge.index(n) for n in names])
        object.__setattr__(self, "wanted", found)

    @torch.no_grad()
    def answers(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return for each kind what its judge says [n] of the pictures [n, 3, H, W], bytes, of all shots: the
        place of a label, REJECT, or UNASKED.
        """
        found = {}
        for kind, judge in self.judges.items():
            asked = (self.wanted[kind] != UNASKED).nonzero()[:, 0]
            said = torch.full((len(self.shots),), UNASKED)
            for rows in asked.split(BATCH):
                said[rows] = judge.predict(pictures[rows].float() / 255).labels.cpu()
            found[kind] = said
        return found

    def hashes(self) -> dict[str, str]:
        """Return the hash of every judge by kind: what answers depend on beside the pictures."""
        return {kind: judge.sha256 for kind, judge in self.judges.items()}

    def notes(self) -> list[str]:
        """Return who judges, by kind and with checksums."""
        each = [f"{kind}: {judge.name} ({judge.sha256[:12]})" for kind, judge in self.judges.items()]
        return [f"judged by {', '.join(each)}"] if each else []


def exam_panel(
    sets: DrawnSets, settings: DrawnMetrics, companion: Companion | None, device: str = "cpu"
) -> Panel:
    """Return who judges the evaluation shots: classifiers of the exam, or the paired CLIP."""
    shots, shown = sets.evaluation, shown_in(sets.evaluation)
    files = settings.files
    if files is not None:
        files.check(EXAM, shown)
        return Panel(
            shots=shots, judges={kind: load_judge(files.folder, kind, EXAM, device) for kind in shown}
        )
    from razor_cli.families.diffusion.companion import needed, zero_shot

    judging = needed(companion)
    judges = {kind: zero_shot(judging, kind, sets) for kind in shown}
    return Panel(shots=shots, judges=judges, prefix=f"zero_shot:{judging.name}/")


def search_panel(sets: DrawnSets, settings: DrawnMetrics, device: str = "cpu") -> Panel | None:
    """Return who judges the validation shots: classifiers of another training than those of the exam; None
    where there are none, and pictures guide no search.
    """
    files, shown = settings.files, shown_in(sets.validation)
    if files is None or not settings.search_pictures or not shown or not files.has(SEARCH):
        return None
    files.check(SEARCH, shown)
    judges = {kind: load_judge(files.folder, kind, SEARCH, device) for kind in shown}
    return Panel(shots=sets.validation, judges=judges)


@torch.no_grad()
def margins(judge: Judges, pictures: Tensor, wanted: Tensor) -> Tensor:
    """Return by how much the judge is surer of what is wanted than of anything else [n], in [-1, 1]."""
    assert isinstance(judge, Judge)  # searches ask classifiers only
    parts = [judge.logits(resized(p.float() / 255, judge.side)) for p in pictures.split(BATCH)]
    shares = torch.cat(parts).float().softmax(dim=1)
    places = wanted[:, None]
    own = shares.gather(1, places)[:, 0]
    return own - shares.scatter(1, places, -1.0).amax(dim=1)
