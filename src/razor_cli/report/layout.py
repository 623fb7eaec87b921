"""What a family's report shows of its scores, and in which order: data that its `layout.py` fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from importlib import import_module

from razor_cli.metrics.score import Score


@dataclass(frozen=True)
class Reading:
    """One column: its heading, and which scores stand in it; metric and variant as the shell matches names.

    Without a heading, every metric that fits is a column of its own, called by what its star stands for.
    """

    heading: str
    metric: str
    variant: str = "*"
    but: str = ""  # metrics that fit this are left out
    instead: Reading | None = None  # stands there where a run's bounds are of it, and not of this one


@dataclass(frozen=True, kw_only=True)
class Block:
    """Readings under one title, a row for each state and width; nothing where none was measured."""

    title: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """The edit's scores at every width where it has one, each reading behind its heading, if it has any."""

    label: str
    text: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True, kw_only=True)
class Beside:
    """How far the edit is from another model, beside how far two bases are; nothing where none was given.

    `{model}` in a metric is oracle or base: what it is measured from.
    """

    title: str  # with an oracle
    title_without: str
    readings: tuple[Reading, ...]
    of_oracle: tuple[Reading, ...] = ()  # measured from the oracle only


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A mean over concepts, and the concept that is hit most, which the variant of `worst` names."""

    title: str
    mean: Reading
    worst: Reading
    which: str  # heading of the concept's name


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Several targets one after another: a row for each state on the way, a column for each target, which
    the variant of `gone` ends with, and what was kept; nothing of a single target.
    """

    title: str
    gone: Reading
    keep: tuple[Reading, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A metric that is the same in every state, each variant once; nothing where it was not measured."""

    label: str
    text: str
    metric: str


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """Readings of states that were attacked, a row for each attack and state, and a warning for an attack
    that brings the target back in too few pictures of the unedited model to say anything of an edit.
    """

    block: Block
    lost: tuple[Reading, ...]  # share in which the target is not found, in percent; the first there is
    most: float  # of the unedited model, for the attack to say anything
    warning: str  # {share} of the unedited model's pictures in which the target is found, with its interval
    alone: str  # what to bear in mind where no oracle was attacked


Part = Block | Sentence | Beside | Spread | Turns | Facts


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The parts of a report in their order, and the numbers in a sweep's line for each job."""

    parts: tuple[Part, ...]
    progress: tuple[Reading, ...] = ()
    attacked: Attacked | None = None


def layout_of(family: str, settings: Mapping[str, object] | None = None) -> Layout | None:
    """Return the layout of a family, LAYOUT in `layout.py` of its folder, as the recorded settings of a run
    judge it; None for one without.
    """
    name = f"razor_cli.families.{family}.layout"
    try:
        found: Layout = import_module(name).LAYOUT
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise  # the layout is there, and something it imports is not
        return None
    return _judged(found, settings or {})


def _judged(layout: Layout, settings: Mapping[str, object]) -> Layout:
    """Return a layout with the readings that a run is judged by, where others stand for them."""
    scenario = settings.get("scenario")
    acceptance = scenario.get("acceptance") if isinstance(scenario, Mapping) else None
    bounds = acceptance.values() if isinstance(acceptance, Mapping) else ()
    judged = {(b.get("metric"), b.get("variant")) for b in bounds}

    def shown(readings: Sequence[Reading]) -> tuple[Reading, ...]:
        return tuple(
            other
            if (other := r.instead)
            and (other.metric, other.variant) in judged
            and (r.metric, r.variant) not in judged
            else r
            for r in readings
        )

    parts = (replace(p, readings=shown(p.readings)) if isinstance(p, Block) else p for p in layout.parts)
    return replace(layout, parts=tuple(parts), progress=shown(layout.progress))


def plain(scores: Sequence[Score]) -> Layout:
    """Return a layout that shows every score there is, by metric."""
    names = sorted({(s.metric, s.variant) for s in scores})
    readings = (Reading(f"{m} {v}".rstrip(), escape(m), escape(v)) for m, v in names)
    return Layout(parts=(Block(title="What was measured", readings=tuple(readings)),))
