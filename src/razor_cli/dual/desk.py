"""What objectives of trained methods ask for: batches of both sets, their labels, and zero-shot heads over
prompts.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from razor_cli.data.sets import Taxonomy
from razor_cli.dual.encoder import Encoder
from razor_cli.dual.heads import Head, JointSpace
from razor_cli.dual.samples import Drawn, Samples
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import Training
from razor_cli.errors import ConfigError, DataError


class Desk(Encoder):
    """An encoder with batches of both sets and the heads over their classes."""

    def __init__(self, lab: Lab, settings: Training) -> None:
        super().__init__(lab, settings)
        self.forget, self.retain = Samples(self, self.sets.forget), Samples(self, self.sets.retain)

    def pairs(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Return image embeddings and those of each picture's own caption, both [n, d]."""
        return self.encode_image(drawn.pixels), self.encode_text(drawn.tokens)[drawn.rows]

    @cached_property
    def classes(self) -> Head:
        """The zero-shot head over `sets.class_names`. ConfigError when none of them stays: its loss would be
        constant.
        """
        if len(self.sets.class_names) <= len(self.sets.forget_names):
            raise ConfigError(
                "method: a loss over the zero-shot head needs a class that stays in the label space",
                found=f"{len(self.sets.class_names)} classes, all of them to be forgotten",
                fix="name more classes: data.class_names=[...]",
            )
        return Head(self, [(self.sets.prompts[n],) for n in self.sets.class_names])

    @cached_property
    def fine(self) -> Head:
        """The head over `sets.class_names` with all templates of the taxonomy. DataError without one."""
        found = self._taxonomy.fine_prompts
        return Head(self, [found[n] for n in self.sets.class_names])

    @cached_property
    def coarse(self) -> Head:
        """The head over the taxonomy's coarse names. DataError without one."""
        found = self._taxonomy.coarse_prompts
        return Head(self, [found[n] for n in self._taxonomy.coarse_names])

    @property
    def _taxonomy(self) -> Taxonomy:
        if self.sets.taxonomy is None:
            raise DataError(
                "these sets have no taxonomy: there are no coarse concepts", fix="scenario=fine_grained"
            )
        return self.sets.taxonomy

    def parents(self, samples: Samples) -> Tensor:
        """Return the coarse number of each picture of a set [n], -1 for pictures of another domain."""
        numbers = {n: i for i, n in enumerate(self._taxonomy.coarse_names)}
        of_class = [numbers[self._taxonomy.parents[n]] for n in self.sets.class_names]
        return torch.tensor(
            [of_class[c] if c >= 0 else -1 for c in samples.labels.tolist()], dtype=torch.long
        )

    @cached_property
    def joint(self) -> JointSpace:
        """The label space in which retain pictures of several domains have a class each."""
        return JointSpace(self, self.retain)
