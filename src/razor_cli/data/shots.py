"""What a model that draws is edited and judged by: pictures with prompts, and prompts to draw from.

A shot is one picture to be drawn: prompt, seed, and what should be seen in it, by kind of thing (style,
object, identity, character). Which kind the target is of is the axis of a request: accuracy on the others of
that kind is IRA, accuracy on what else a picture shows is CRA.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from razor_cli.data.sampling import some
from razor_cli.data.sets import Pairs, of_steps, parts_of_steps, recorded
from razor_cli.data.wording import CELL, cell

BENCHMARK = "benchmark"  # the template that gradients and most answers use; others are named by their form


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture to draw: the prompt, the seed of its noise, and what should be seen in it."""

    prompt: str
    seed: int
    labels: tuple[tuple[str, str], ...]  # (kind, name), e.g. (("style", "Noto"), ("object", "Cats"))
    template: str = BENCHMARK

    def shows(self, kind: str) -> str | None:
        """Return what of this kind should be seen, if anything."""
        if kind == CELL:
            return cell(dict(self.labels))
        return dict(self.labels).get(kind)


class Shots(tuple[Shot, ...]):
    """Pictures to draw, as a part of a run's sets."""

    def head(self, count: int | None) -> Shots:
        """Return the first `count`; all of them for None."""
        return Shots(self[:count])

    def sampled(self, count: int | None, seed: int) -> Shots:
        """Return `count` of them that the seed draws, in their order; all of them for None."""
        return Shots(some(self, count, seed))

    def drawn(self, seed: int) -> Shots:
        """Return them in an order that the seed draws."""
        return Shots(random.Random(seed).sample(self, len(self)))

    def widest(self, count: int) -> Shots:
        """Return the first `count`: all take the same."""
        return self.head(count)

    def fingerprint(self) -> str:
        """Return a SHA-256 of prompts, seeds, labels and templates."""
        return _digest([[s.prompt, s.seed, s.labels, s.template] for s in self])

    def of(self, kind: str, names: Iterable[str]) -> Shots:
        """Return those that show one of `names`."""
        wanted = set(names)
        return Shots(s for s in self if s.shows(kind) in wanted)


@dataclass(frozen=True, kw_only=True)
class DrawnSets:
    """Everything an edit of a model that draws needs.

    `forget` and `retain` are pictures with captions for gradients; `validation` and `evaluation` are shots,
    with seeds (and where there are several, templates) that the other does not have. `labels` holds all
    names of every kind, those of the `axis` with what goes first.
    """

    target: str
    axis: str  # kind of the target: style, object, cell, identity, character
    aliases: tuple[str, ...] = ()
    called: str = ""  # the target as prompts write it, where they do so otherwise: Van_Gogh is Van Gogh
    forget: Pairs
    retain: Pairs
    validation: Shots
    evaluation: Shots
    labels: Mapping[str, tuple[str, ...]]
    prompts: dict[str, str]  # name of the axis -> prompt that names nothing else
    generic_prompt: str  # names no concept of the axis
    anchor: str  # what an edit that needs one puts in the target's place, e.g. the generic prompt
    target_prompts: tuple[str, ...]  # prompts that name the target, for losses that need no picture
    anchor_prompts: tuple[str, ...] = ()  # for each of them, what it says without the target
    retain_prompts: tuple[str, ...]  # prompts that must mean what they meant
    near: tuple[str, ...] = ()  # names of the axis that lie nearest to the target
    # kind -> names of which the judges were tested on a picture that nothing was trained on
    spared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    joint: tuple[str, ...] = ()
    spoken: tuple[str, ...] = ()  # of several that go what prompts call each; `called` is of one
    steps: tuple[DrawnSets, ...] = ()  # of edits that make up the request, in their order; empty: one edit

    @property
    def class_names(self) -> tuple[str, ...]:
        """All names of the axis, the target first."""
        return self.labels[self.axis]

    @property
    def forget_names(self) -> tuple[str, ...]:
        """The names that go."""
        return self.joint or (self.target,)

    @property
    def retain_names(self) -> tuple[str, ...]:
        """The names of the axis that must stay."""
        return self.class_names[len(self.forget_names) :]

    @property
    def anchors(self) -> tuple[str, ...]:
        """For each prompt of the target what stands in its place."""
        return self.anchor_prompts or (self.anchor,) * len(self.target_prompts)

    def words(self) -> dict[str, object]:
        """Return the names and sentences that decide numbers beyond pictures and shots."""
        return {
            "target": self.target,
            "axis": self.axis,
            "aliases": self.aliases,
            "labels": {k: list(v) for k, v in self.labels.items()},
            "prompts": self.prompts,
            "generic": self.generic_prompt,
            "anchor": self.anchor,
            "target_prompts": self.target_prompts,
            "anchor_prompts": self.anchor_prompts,
            "retain_prompts": self.retain_prompts,
            "near": self.near,
            "joint": self.forget_names,
        }

    def parts(self) -> dict[str, Pairs | Shots]:
        """Return every set by name."""
        return {
            "forget": self.forget,
            "retain": self.retain,
            "validation": self.validation,
            "evaluation": self.evaluation,
        }

    def fingerprints(self) -> dict[str, str]:
        """Return the hash of every set and of the `words`, for the run's id and provenance."""
        own = {n: p.fingerprint() for n, p in self.parts().items()} | {"words": _digest(self.words())}
        return own | of_steps(s.fingerprints() for s in self.steps)

    def sizes(self) -> dict[str, int]:
        """Return how many pictures, or pictures to draw, every set has; what is drawn by whether it shows
        the target.
        """
        sizes = {"forget": len(self.forget), "retain": len(self.retain)}
        for name, part in (("validation", self.validation), ("evaluation", self.evaluation)):
            own = len(part.of(self.axis, self.forget_names))
            sizes |= {f"{name}_forget": own, f"{name}_retain": len(part) - own}
        return sizes

    def mended(self) -> list[str]:
        """Return nothing: what is drawn at run time is kept with the pictures of the model."""
        return []

    def record(self) -> dict[str, list[str] | dict[str, str]]:
        """Return picture keys, and of shots seed and prompt, for the run's folder."""
        pairs = recorded({"forget": self.forget, "retain": self.retain} | parts_of_steps(self.steps))
        shots = {"validation": self.validation, "evaluation": self.evaluation}
        return pairs | {name: [f"{s.seed} {s.prompt}" for s in part] for name, part in shots.items()}

    def on_validation(self) -> DrawnSets:
        """Return the sets of a run that chooses settings: every other validation shot is searched on, the
        rest is judged, and no evaluation shot takes part.
        """
        searched, judged = Shots(self.validation[::2]), Shots(self.validation[1::2])
        return replace(self, validation=searched, evaluation=judged)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
