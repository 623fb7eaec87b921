"""Pictures that the unedited model draws: each is a prompt and a seed, and is drawn when it is looked at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from razor_cli.data.ask import Draw
from razor_cli.data.shots import Shot
from razor_cli.data.sources.base import Picture


class GeneratedPictures:
    """Source of a model's own pictures; the key of each says sampler, seed and prompt."""

    name = "generated"
    domain = "object"

    def __init__(self, draw: Draw, *, steps: int, guidance: float) -> None:
        self._draw, self.steps, self.guidance = draw, steps, guidance
        self._shots: dict[str, Shot] = {}  # key -> what to draw

    def concepts(self) -> list[str]:
        """Return no names: whatever a prompt says can be asked for."""
        return []

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return no pictures: they are asked for by `of`."""
        return []

    def of(self, shot: Shot) -> Picture:
        """Return the picture of a shot, captioned by its prompt; nothing is drawn yet."""
        key = f"{self.name}/{self.steps}/{self.guidance:g}/{shot.seed}/{shot.prompt}"
        self._shots[key] = shot
        concept = "/".join(name for _, name in shot.labels) or shot.prompt
        return Picture(key=key, concept=concept, domain=self.domain, caption=shot.prompt)

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Draw pictures, or take them from where the model's pictures are kept."""
        shots = [self._shots[p.key] for p in pictures]
        return self._draw(
            [s.prompt for s in shots], [s.seed for s in shots], steps=self.steps, guidance=self.guidance
        )
