"""The pictures of a CLIP run: what the edit did to the cosines of pictures and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from razor_cli.data.sets import ConceptSets
from razor_cli.dual.measures import Features, forget_labels, similarity
from razor_cli.report import plots
from razor_cli.runs.folder import write_atomic

SHOWN = 12  # concepts in the cosine matrices


def draw(folder: Path, sets: ConceptSets, before: Features, after: Features) -> None:
    """Draw histograms of picture-caption cosines and the text-image cosines, before and after. The numbers of
    the second, which tables read, are written before anything is drawn.
    """
    target = sets.target
    gone = len(sets.forget_names)
    classes = [*range(min(gone, SHOWN // 2)), *range(gone, len(sets.class_names))][:SHOWN]
    rows = [sets.class_names[i] for i in classes]
    matrices = [_matrix(f, classes) for f in (before, after)]
    keep = [i for i in range(len(rows)) if all(bool(torch.isfinite(m[i]).all()) for m in matrices)]
    names = [rows[i] for i in keep]
    first, second = (m[keep][:, keep].numpy() for m in matrices)
    write_atomic(folder / "cosines.csv", plots.cosines_csv(first, second, names))
    title = f"Forgetting {target}: picture-caption cosines"
    plots.similarity_histograms(folder / "similarity.png", *_cosines(before, after), title=title)
    title = f"Text-image cosines, {target} first"
    plots.cosine_matrices(folder / "cosines.png", first, second, names, names, title=title)


def _cosines(before: Features, after: Features) -> list[Any]:
    forget = [similarity(f.forget_images, f.forget_captions).numpy() for f in (before, after)]
    retain = [similarity(f.retain_images, f.retain_captions).numpy() for f in (before, after)]
    return [*forget, *retain]


def _matrix(f: Features, classes: list[int]) -> torch.Tensor:
    """Return the mean cosine of each class's pictures with each one's prompt [n, n]; NaN for a class without
    pictures.
    """
    labels = forget_labels(f)
    groups = [
        f.forget_images[labels == i] if i < f.forgotten else f.retain_images[f.retain_concepts == i]
        for i in classes
    ]
    return torch.stack([(g @ f.class_prompts[classes].T).mean(0) for g in groups])
