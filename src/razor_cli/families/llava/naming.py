"""How a run asks for the names of its target and of others: the questions, and their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.families.llava.fa import Naming
from razor_cli.families.llava.settings import AskedMetrics
from razor_cli.families.llava.wording import NAME_PROMPTS, OPEN

PERSON = "person"  # domain of pictures that are asked for a name
OF_DOMAIN = {PERSON: NAME_PROMPTS, "style": OPEN["style"]}


def prompts_for(settings: AskedMetrics, domain: str) -> tuple[str, ...]:
    """Return the questions for the name of what pictures of a domain show, the paper's first."""
    return tuple(settings.fa_prompts) or OF_DOMAIN.get(domain, OPEN["object"])


def naming_of(settings: AskedMetrics, sets: ConceptSets) -> Naming:
    """Return how the names of a run's domain are asked for."""
    return Naming(
        mode=settings.fa_mode,
        prompts=prompts_for(settings, sets.domain),
        match=settings.fa_match,
        aliases=sets.aliases,
        max_images=settings.fa_images,
    )


def of_names(pairs: Pairs, names: Collection[str], each: int, without: int = 0) -> Pairs:
    """Return the first `each` pictures of each of these names in the order of the set, less the first
    `without`.
    """
    seen: Counter[str] = Counter()
    chosen = []
    for picture in pairs.pictures:
        seen[picture.concept] += 1
        if picture.concept in names and without < seen[picture.concept] <= each:
            chosen.append(picture)
    return replace(pairs, pictures=tuple(chosen))


def further(pairs: Pairs, names: Collection[str], count: int) -> Pairs:
    """Return the first pictures of the set that show none of these names."""
    others = [p for p in pairs.pictures if p.concept not in names]
    return replace(pairs, pictures=tuple(others[:count]))
