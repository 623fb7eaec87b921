"""Whether two halves of a gradient pass would begin the same edit: what an adaptive pass waits for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from razor_cli.contract.components import Component
from razor_cli.contract.family import Named
from razor_cli.contract.strata import Agree, Agreement
from razor_cli.engine.lab import Lab
from razor_cli.engine.saliency import Saliency
from razor_cli.engine.search import norm
from razor_cli.methods.razor_blend import Blend
from razor_cli.methods.razor_pick import chosen, scored
from razor_cli.methods.razor_settings import RazorSettings


def agreeing(
    method: RazorSettings, lab: Lab, components: Sequence[Component], retain: Named | None = None
) -> Agree:
    """Return what compares two halves: the components that each would choose, and the directions that each
    would move them along, mismatch apart. `retain`: g_r, where the pass takes g_f alone.
    """
    blend = Blend(method, lab)

    def of_half(half: Sequence[Named]) -> dict[str, tuple[Saliency, list[Tensor]]]:
        forget, other = half[0], half[1] if retain is None else retain
        rated = scored(method, lab.family, components, forget, other)
        found = chosen(method, rated, lab.generator())
        return {
            s.component.name: (s, blend.blended(s, s.component.views(forget), s.component.views(other)))
            for s in found
        }

    def agree(first: Sequence[Named], second: Sequence[Named]) -> Agreement:
        one, other = of_half(first), of_half(second)
        both = [name for name in one if name in other]
        cosines = [cosine(one[name][1], other[name][1]) for name in both]
        return Agreement(same=one.keys() == other.keys(), cosine=min(cosines, default=-1.0))

    return agree


def cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the cosine between two directions of a component; 0 where one has no length."""
    lengths = norm(first) * norm(second)
    if lengths == 0:
        return 0.0
    along = sum(float((a.double() * b.double()).sum()) for a, b in zip(first, second, strict=True))
    return max(-1.0, min(1.0, along / lengths))
