"""Sets of the fine_grained scenario: fine concepts of a taxonomy go together, their parents must stay (Tan &
Gong 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from razor_cli.data.ask import Confidence
from razor_cli.data.assemble import Draft, assemble, make_suite, unlike
from razor_cli.data.choices import CoarseText
from razor_cli.data.disjoint import check_disjoint, check_unseen
from razor_cli.data.rendered import Rendered
from razor_cli.data.sampling import Pool, Sizes, balanced, rng_for
from razor_cli.data.sets import ConceptSets, Judged, Pairs, Shifted, Suite, Taxonomy
from razor_cli.data.sources.base import SPLITS, Picture, Source
from razor_cli.data.sources.cifar10 import Cifar10
from razor_cli.data.sources.emoji import HELD_OUT_SET, VIEW_OFFSET, VIEWS, Emoji, packed
from razor_cli.data.sources.portraits import Portraits, PortraitsWithGlasses, identities
from razor_cli.data.taxonomy import Chosen, choose, shipped, taxonomy_of
from razor_cli.errors import ConfigError

PER_CLASS = 12  # validation pictures of each concept that its difficulty is measured on
ICON_SETS = {
    "train": ("noto", "fluent-emoji-flat", "fluent-emoji-high-contrast"),
    "validation": ("noto-v1", "emojione-monotone"),
    "evaluation": ("twemoji",),  # the stand-in was trained on it, no edit sees it: in distribution
    "ood": (HELD_OUT_SET,),  # nothing was ever trained on it
}


@dataclass(frozen=True, kw_only=True)
class FineRequest:
    """What a fine_grained run asks for; names are those of the settings."""

    pictures: str  # emoji or portraits
    domain: str
    target: str
    forget: tuple[str, ...]
    called: str  # the scenario's default target
    coarse_text: CoarseText
    sizes: Sizes
    suites: tuple[str, ...]
    cifar: Cifar10 | None
    cache: Path | None = None  # of rendered pictures; None: the user's
    seed: int
    confidence: Confidence


class IconSets(Emoji):
    """Emoji cut by icon set for a taxonomy: two sets to search on, one to judge in distribution, the held-out
    one out of it.
    """

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return views of one concept; `split` may also be `ood`."""
        kind = "evaluation" if split == "ood" else split
        views = range(VIEW_OFFSET[kind], VIEW_OFFSET[kind] + VIEWS[kind])
        return [
            Picture(key=f"emoji/{icon_set}/{concept}", concept=concept, domain=self.domain, view=view)
            for view in views
            for icon_set in ICON_SETS[split]
        ]


class Faces(PortraitsWithGlasses):
    """Portraits for a taxonomy; `ood` shows the evaluation portraits with glasses, which no training picture
    has.
    """

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the portraits of one name; `split` may also be `ood`."""
        return (
            super().pictures(concept, "evaluation")
            if split == "ood"
            else Portraits.pictures(self, concept, split)
        )


@dataclass(frozen=True, kw_only=True)
class Kin:
    """An embedded taxonomy: its source, who is whose parent, and what parents are called in words."""

    source: Source
    parents: dict[str, str]
    wording: dict[str, str]
    judged: str  # what evaluation and its out-of-distribution twin show, for the notes


def embedded(pictures: str) -> Kin:
    """Return the taxonomy of emoji (Unicode group over concept) or portraits (hair colour over name)."""
    groups = shipped().get(pictures) if pictures in ("emoji", "portraits") else None
    if groups is None:
        raise ConfigError(
            f"scenario.pictures={pictures} has no taxonomy",
            allowed="emoji, portraits",
            fix="or data=imgnetdogs, data=compcars",
        )
    wording = {name: group["text"] for name, group in groups.items()}
    if pictures == "emoji":
        judged = (
            "evaluation: icons of twemoji, which the stand-in was trained on and no edit sees; ood: "
            "emojione, never trained on"
        )
        return Kin(
            source=IconSets(),
            parents=dict(sorted(packed()["groups"].items())),
            wording=wording,
            judged=judged,
        )
    color = {value: name for name, group in groups.items() for value in group["values"]}
    parents = {name: color[traits.hair_color] for name, traits in identities().items()}
    judged = (
        "evaluation: portraits never trained on; ood: the same with glasses, which no training picture shows"
    )
    return Kin(source=Faces(), parents=parents, wording=wording, judged=judged)


def fine_sets(ask: FineRequest) -> ConceptSets:
    """Return the sets of a run that forgets fine concepts of an embedded taxonomy; forget sizes count for
    each of them.

    Raises DataError for names that are not there, ConfigError for pictures without a taxonomy.
    """
    kin = embedded(ask.pictures)
    source = Rendered(kin.source, ask.cache)
    if source.domain != ask.domain:
        raise ConfigError(f"scenario.domain={ask.domain}, but {ask.pictures} show the domain {source.domain}")
    taxonomy = taxonomy_of(kin.parents, domain=ask.domain, coarse_text=ask.coarse_text, wording=kin.wording)
    chosen = choose(ask.target, ask.forget, kin.parents, lambda: fine_confidence(ask), ask.called)
    kept = [n for n in kin.parents if n not in chosen.names]
    rest = _rest(ask)
    draft = Draft(
        target=chosen.label,
        aliases=(),
        keywords=chosen.names,
        domain=ask.domain,
        own=Pool.of(source, chosen.names),
        retain=[Pool.of(source, kept), *(Pool.of(s, unlike(s.concepts(), chosen.names)) for s in rest)],
        classes=dict.fromkeys(kept, ask.domain),
        sizes=ask.sizes,
        seed=ask.seed,
        joint=chosen.names,
        suites=_suites(rest, chosen, ask),
        notes=[chosen.note, kin.judged],
    )
    sets = assemble(draft)
    ood = shifted(source, chosen.names, kept, taxonomy, ask.sizes, ask.seed)
    return checked(replace(sets, taxonomy=taxonomy, ood=ood), trained_on_evaluation=ask.pictures == "emoji")


def shifted(
    source: Source,
    gone: Sequence[str],
    kept: Sequence[str],
    taxonomy: Taxonomy,
    sizes: Sizes,
    seed: int,
    split: str = "ood",
) -> Shifted:
    """Return the out-of-distribution test over the same labels: as many pictures as the evaluation takes."""

    def drawn(names: Sequence[str], wanted: int, label: str) -> Pairs:
        groups = {n: source.pictures(n, split) for n in names}
        return Pairs(tuple(balanced(groups, wanted, rng_for(seed, label))), {source.domain: source})

    forget = drawn(gone, sizes.evaluation_forget * len(gone), "ood_forget")
    return Shifted(
        judged=Judged(forget, drawn(kept, sizes.evaluation_retain, "ood_retain")),
        class_names=(*gone, *kept),
        taxonomy=taxonomy,
    )


def checked(sets: ConceptSets, *, trained_on_evaluation: bool) -> ConceptSets:
    """Return the sets after a look that no picture is on two sides, and that the model never saw what is
    called unseen.
    """
    check_disjoint(sets)
    check_unseen(sets, evaluation=not trained_on_evaluation)
    return sets


def fine_confidence(ask: FineRequest) -> dict[str, float]:
    """Return the model's mean probability of the right fine concept on validation pictures, for every
    concept.
    """
    kin = embedded(ask.pictures)
    source = Rendered(kin.source, ask.cache)
    groups = {n: source.pictures(n, "validation") for n in kin.parents}
    drawn = balanced(groups, PER_CLASS * len(groups), rng_for(ask.seed, "difficulty"))
    prompts = taxonomy_of(kin.parents, domain=ask.domain, coarse_text=ask.coarse_text).fine_prompts
    return ask.confidence(Pairs(tuple(drawn), {source.domain: source}), prompts)


def _rest(ask: FineRequest) -> list[Source]:
    """Return the other sources the stand-in knows: retained, and measured as unrelated tasks."""
    found: list[Source] = [Rendered(s, ask.cache) for s in (Portraits(), Emoji()) if s.name != ask.pictures]
    return found + ([ask.cifar] if ask.cifar else [])


def _suites(rest: Sequence[Source], chosen: Chosen, ask: FineRequest) -> list[Suite]:
    """Return the unrelated zero-shot tasks; of emoji only the held-out icons."""
    return [
        make_suite(
            "emoji_held_out" if s.name == "emoji" else s.name,
            s,
            SPLITS[-1],
            without=chosen.names,
            sizes=ask.sizes,
            seed=ask.seed,
        )
        for s in rest
        if s.name in ask.suites
    ]
