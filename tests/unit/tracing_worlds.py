"""Sets with two levels of names, and with several concepts to forget, for tests of Tan & Gong's methods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from tiny_world import OTHERS, TARGET, Noise, make_clip, make_sets, pairs

from razor_cli.data.sets import ConceptSets, Taxonomy
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip
from razor_cli.methods.tracing_tutor import Tutor

CLASSES = (TARGET, *OTHERS)


def traced(templates: int = 3) -> ConceptSets:
    """Return sets whose classes have two parents, and `templates` prompts for each name."""
    parents = {n: "left" if i < 3 else "right" for i, n in enumerate(CLASSES)}
    words = ("a photo of {}.", "a picture of {}.", "{}.")[:templates]
    taxonomy = Taxonomy(
        parents=parents,
        coarse_names=("left", "right"),
        coarse_prompts={n: tuple(w.format(n) for w in words) for n in ("left", "right")},
        fine_prompts={n: tuple(w.format(n) for w in words) for n in CLASSES},
    )
    return replace(make_sets(), taxonomy=taxonomy)


def joint_sets() -> ConceptSets:
    """Return sets in which Ada and Ben go together."""
    sets = make_sets()
    both = pairs(Noise(), [TARGET, "Ben"] * 6, "train")
    return replace(
        sets, joint=(TARGET, "Ben"), forget=both, retain=pairs(Noise(), list(OTHERS[1:]) * 8, "train")
    )


def tutor(method: Any, sets: ConceptSets, model: Clip | None = None, seed: int = 0) -> Tutor:
    model = model or make_clip(torch.float32)
    return Tutor(method, Lab(family=model, sets=sets, seed=seed))
