"""What every kind of data for a model that draws is asked: how many pictures, which prompts stay, what is
judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import AnswerSet, DataKind, Preserve
from razor_cli.data.prompts import article
from razor_cli.data.wording import CELL, CROSSED, Words, cells, of_cell, shipped
from razor_cli.errors import ConfigError, DataError

if TYPE_CHECKING:
    from razor_cli.data.drawn_sets import Plan

NO_PICTURES = "data=generated needs no pictures: the model draws them itself"
Labels = Mapping[str, tuple[str, ...]]  # kind -> names


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Settings of sets whose validation and evaluation are prompts with seeds."""

    kind: ClassVar[DataKind]
    listed_beforehand: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    retain_near: list[str] = field(default_factory=list)  # nearest names; [found]: by the text embedding
    n_near: int = 2  # so many of those that are listed or found
    preserve: Preserve = Preserve.HALF  # which prompts an edit is told to keep
    anchor: str | None = None  # near, a name or a prompt in the target's place; null: no name
    answer_set: AnswerSet = AnswerSet.REDUCED
    n_forget: int = 96
    n_retain: int = 96
    n_validation_forget: int = 12  # a search draws these for each of its trials
    n_validation_retain: int = 24
    n_evaluation_forget: int = 48
    n_evaluation_retain: int = 90
    n_unseen: int = 16  # with templates that neither gradients nor trials use
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value in ((f.name, getattr(self, f.name)) for f in fields(self)):
            if name.startswith("n_") and value is not None and value < (2 if name == "n_unseen" else 1):
                least = 2 if name == "n_unseen" else 1
                raise ConfigError(f"data.{name} must be at least {least}", allowed=f">= {least}", found=value)
        if self.anchor is not None and not self.anchor.strip():
            raise ConfigError("data.anchor must not be empty", allowed="a prompt, or null", found=self.anchor)

    @property
    def at_most(self) -> dict[str, int]:
        """How many pictures each set takes at most; of an answer set as many as the reduced one."""
        names = ("forget", "retain", "validation_forget", "validation_retain")
        counted = {n: getattr(self, f"n_{n}") for n in names}
        half = self.n_unseen // 2
        return counted | {
            "evaluation_forget": self.n_evaluation_forget + self.n_unseen - half,
            "evaluation_retain": self.n_evaluation_retain + half,
            "suite": 0,
        }

    def label(self, pictures: str) -> str:
        """Return the kind."""
        return self.kind.value

    def seed_of(self, ask: Ask) -> int:
        """Return the seed that draws."""
        return ask.seed if self.seed is None else self.seed

    def named_wrongly(self, ask: Ask, labels: Labels) -> Iterator[ConfigError]:
        """Yield names that are not among those that can be drawn, and an answer set that does not fit."""
        from razor_cli.data.drawn_sets import FOUND, named
        from razor_cli.data.sources.photo import same

        names = labels.get(ask.axis, ())
        if not any(same(n) == same(ask.target) for n in names):
            yield no_such_name(ask, labels)
        others = [n for n in names if same(n) != same(ask.target)]
        for name in self.retain_near if self.retain_near != [FOUND] else ():
            try:
                named(name, others, "data.retain_near", f"{ask.axis} beside the target")
            except ConfigError as error:
                yield error
        if self.answer_set is not AnswerSet.REDUCED and ask.axis not in CROSSED:
            yield ConfigError(
                f"data.answer_set={self.answer_set}: that set is of objects in styles, and "
                f"scenario={ask.scenario} is about {article(ask.axis)}",
                allowed=f"data.answer_set={AnswerSet.REDUCED}",
                found=f"data.answer_set={self.answer_set}",
                fix=f"data.answer_set={AnswerSet.REDUCED} data.n_evaluation_forget=N "
                "data.n_evaluation_retain=N",
            )

    def plan(self, ask: Ask, labels: Labels, words: Words, **more: Any) -> tuple[Plan, list[str]]:
        """Return what the sets of a run are made of, and notes. Raises ConfigError for an unknown target."""
        from razor_cli.data.answer_sets import Scene, Seeds
        from razor_cli.data.drawn_sets import Counts, Plan
        from razor_cli.data.sources.photo import same

        for problem in (p for each in ask.of_each() for p in self.named_wrongly(each, labels)):
            raise problem
        going, before = ({same(n) for n in names} for names in (ask.wanted, ask.gone))
        targets = tuple(n for t in ask.wanted for n in labels[ask.axis] if same(n) == same(t))
        others = tuple(n for n in labels[ask.axis] if same(n) not in going | before)
        near, notes = self._near(ask, targets, others, words)
        avoided = (*targets, *ask.gone, *more.get("aliases", ()))
        words = replace(words, neutral=without_names(words.neutral, avoided))
        if not words.neutral:
            raise DataError(
                "data.neutral_file: every caption names the target",
                found=f"target='{', '.join(targets)}'",
                allowed="captions that name no concept",
            )
        counts = {f.name: getattr(self, f"n_{f.name}") for f in fields(Counts)}
        counts |= {n: len(targets) * count for n, count in counts.items() if n.endswith("forget")}
        seed = self.seed_of(ask)
        scene = Scene(
            axis=ask.axis,
            labels={**labels, ask.axis: (*targets, *others)},
            near=near,
            words=words,
            seed=seed,
            going=len(targets),
        )
        plan = Plan(
            scene=scene,
            counts=Counts(**counts),
            seeds=Seeds(seed),
            answer_set=self.answer_set,
            preserve=self.preserve,
            anchor=self.anchor,
            held_back=ask.held_back,
            **more,
        )
        return plan, notes

    def _near(
        self, ask: Ask, targets: Sequence[str], others: Sequence[str], words: Words
    ) -> tuple[tuple[str, ...], list[str]]:
        """Return the names nearest to each of the targets, and notes."""
        from razor_cli.data.drawn_sets import nearest_names

        found, notes = dict[str, None](), list[str]()
        for target in targets:
            near, told = nearest_names(
                ask.axis,
                (target, *others),
                given=self.retain_near,
                listed=_beside(target, others)
                if ask.axis == CELL
                else shipped()["near"].get(ask.axis, {}).get(target, ()),
                count=self.n_near,
                words=words,
                embed=ask.embed,
            )
            found |= dict.fromkeys(near)
            notes += told
        return tuple(found), notes


def _beside(target: str, others: Sequence[str]) -> list[str]:
    """Return the cells that share object or style with one, in turn."""
    style, shown = (name for _, name in of_cell(target))
    same_object = [n for n in others if n.endswith(f"/{shown}")]
    same_style = [n for n in others if n.startswith(f"{style}/")]
    pairs = zip(same_object, same_style, strict=False)
    return [name for pair in pairs for name in pair]


def with_cells(labels: Labels, axis: str) -> Labels:
    """Return names of every kind, and of cells where one is the target."""
    return {**labels, CELL: cells(labels)} if axis == CELL else labels


def without_names(captions: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the captions that hold none of some names, in the singular or the plural."""
    from razor_cli.data.sources.photo import mention, same

    forms = [form for n in names for form in (n, f"{n}s", n.removesuffix("s"), n.removesuffix("es"))]
    pattern = mention([f for f in forms if f.strip()], joined=True)
    return tuple(c for c in captions if not pattern.search(same(c)))


def no_such_name(ask: Ask, labels: Labels) -> ConfigError:
    """Return the refusal of a target that cannot be drawn, with the nearest names, or with the scenario that
    it belongs to.
    """
    from razor_cli.data.sources.photo import same
    from razor_cli.errors import nearest

    names = labels.get(ask.axis, ())
    close = nearest(ask.target, names)
    fix = f"did you mean {' or '.join(close)}?" if close else f'target="{names[0]}"' if names else None
    for kind, found in labels.items():
        if any(same(n) == same(ask.target) for n in found):
            fix = f'scenario={kind} target="{ask.target}"'
    return ConfigError(
        f"target='{ask.target}': no such {ask.axis}", allowed=", ".join(names), found=ask.target, fix=fix
    )


def only_axes(kind: str, axes: Sequence[str], ask: Ask, fix: str) -> Iterator[ConfigError]:
    """Yield the refusal of a scenario about something that a kind of data does not show."""
    if ask.axis and ask.axis not in axes:
        yield ConfigError(
            f"scenario={ask.scenario} with data={kind}: it shows no {ask.axis}",
            allowed=", ".join(f"scenario={axis}" for axis in axes),
            found=f"scenario={ask.scenario}",
            fix=fix,
        )
