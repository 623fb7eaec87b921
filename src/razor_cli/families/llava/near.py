"""Which names lie nearest to the target: by what the unedited model sees in their pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.families.llava.asking import Asking
from razor_cli.families.llava.naming import of_names

EACH = 2  # validation pictures of each name that are compared


def near_names(asking: Asking, sets: ConceptSets, count: int) -> tuple[str, ...]:
    """Return the names whose pictures' mean tokens have the largest cosine with those of the target's,
    nearest first. Validation pictures are compared: what is scored decides nothing here.
    """
    if not count:
        return ()
    others = of_names(sets.validation.retain, sets.retain_names, EACH)
    own = of_names(sets.validation.forget, sets.forget_names, 4 * EACH)
    if not len(others) or not len(own):
        return ()
    centre = F.normalize(_means(asking, own).mean(dim=0), dim=0)
    rows = _means(asking, others)
    names = list(dict.fromkeys(others.concepts))
    of_name = [torch.tensor([c == name for c in others.concepts]) for name in names]
    cosines = [float(F.normalize(rows[chosen].mean(dim=0), dim=0) @ centre) for chosen in of_name]
    order = sorted(range(len(names)), key=lambda i: -cosines[i])
    return tuple(names[i] for i in order[:count])


def _means(asking: Asking, pairs: Pairs) -> Tensor:
    return torch.stack([F.normalize(t.float().mean(dim=0), dim=0).cpu() for t in asking.look(pairs.load())])
