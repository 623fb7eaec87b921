"""What data of names that the user chooses is asked: names beside the target, and how prompts say them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from razor_cli.data.ask import Ask
from razor_cli.data.kinds.drawn import Drawn, Labels
from razor_cli.data.kinds.refusals import check_aliases, not_there, repeated
from razor_cli.data.prompts import article
from razor_cli.data.wording import (
    CELL,
    CROSSED,
    KINDS,
    Frame,
    Words,
    canvas_words,
    natural_words,
    shipped,
    template_problem,
)
from razor_cli.errors import ConfigError

TEMPLATES = ("templates", "trial_templates", "unseen_templates")


@dataclass(frozen=True, kw_only=True)
class Worded(Drawn):
    """Settings of sets whose names and sentences are the user's, or the shipped lists'."""

    aliases: list[str] = field(default_factory=list)  # other names of the target: never kept
    alternatives: list[str] = field(default_factory=list)  # other names of its kind; empty: a shipped list
    partners: list[str] = field(default_factory=list)  # objects of a style, styles of an object
    templates: list[str] = field(default_factory=list)  # sentences of gradients and answers; the first counts
    trial_templates: list[str] = field(default_factory=list)  # of the search
    unseen_templates: list[str] = field(default_factory=list)  # of answers alone
    neutral_file: Path | None = None  # captions that name no concept, one a line

    def __post_init__(self) -> None:
        super().__post_init__()
        check_aliases(self.aliases)
        for key in ("alternatives", "partners", *TEMPLATES):
            if any(not text.strip() for text in getattr(self, key)):
                raise ConfigError(f"data.{key} must not contain an empty text", found=getattr(self, key))

    def wording_problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield names and templates that do not fit, and a file that is not there."""
        yield from not_there({"neutral_file": self.neutral_file})
        yield from repeated(self.aliases, ask)
        if ask.axis == CELL:
            yield ConfigError(
                f"scenario={ask.scenario} with data={self.kind}: nobody lists its objects in styles",
                allowed="data=standin, data=unlearncanvas data.root=DIR",
                found=f"data={self.kind}",
            )
        if ask.axis not in KINDS:
            return
        kinds = CROSSED if ask.axis in CROSSED else (ask.axis,)
        for key in TEMPLATES:
            for template in getattr(self, key):
                if problem := template_problem(template, kinds, f"data.{key}"):
                    yield problem
        if self.partners and ask.axis not in CROSSED:
            yield ConfigError(
                f"data.partners: a picture of {article(ask.axis)} shows nothing beside it that is judged",
                allowed="scenario=style, scenario=object",
                found=f"scenario={ask.scenario}",
            )
        labels = self.labels(ask)
        if self.alternatives and len(labels[ask.axis]) < 2:
            yield ConfigError(
                "data.alternatives names nothing but the target, so a judge could say nothing else",
                allowed=f"other names of {article(ask.axis)}",
                found=", ".join(self.alternatives),
            )
        yield from self.named_wrongly(ask, labels)

    def labels(self, ask: Ask, beside: Sequence[str] = ()) -> Labels:
        """Return the names of every kind: the target, the alternatives (given, those that lie `beside` it, or
        a shipped list's), and the partners.

        A stand-in knows the names of the canvas alone.
        """
        from razor_cli.data.sources.photo import same

        wanted = {same(n) for n in ask.wanted}
        gone = {same(n) for n in (*ask.wanted, *ask.gone, *self.aliases)}
        if ask.stand_in and not self.alternatives and not beside:
            from razor_cli.data.canvas_sets import labels

            return {
                kind: tuple(n for n in names if kind != ask.axis or same(n) not in gone - wanted)
                for kind, names in labels().items()
            }
        lists = shipped()["wordings"]
        others = list(self.alternatives or beside or _unlike(lists[ask.axis]["alternatives"], gone))
        kept = dict.fromkeys(n for n in others if same(n) not in gone)
        found = {ask.axis: (*ask.wanted, *kept)}
        if ask.axis in CROSSED:
            partner = CROSSED[1 - CROSSED.index(ask.axis)]
            return found | {partner: tuple(dict.fromkeys(self.partners or lists[ask.axis]["partners"]))}
        style = lists["style"]
        return found | {"style": tuple(style["alternatives"]), "object": tuple(style["partners"])}

    def words(self, ask: Ask) -> Words:
        """Return the sentences: the user's, else the shipped ones."""
        own = canvas_words() if ask.stand_in else natural_words(ask.axis)
        before = own.crossed if ask.axis in CROSSED else own.single[ask.axis]
        frame = Frame(
            benchmark=(self.templates or [before.benchmark])[0],
            trials=tuple(self.trial_templates or self.templates[1:] or before.trials),
            unseen=tuple(self.unseen_templates or before.unseen),
        )
        neutral = self.neutral() or own.neutral
        if ask.axis in CROSSED:
            return replace(own, crossed=frame, neutral=neutral)
        alone = {**own.alone, ask.axis: frame.benchmark}
        return replace(own, single={**own.single, ask.axis: frame}, alone=alone, neutral=neutral)

    def neutral(self) -> tuple[str, ...]:
        """Return the captions of the user's file. Raises DataError for one that holds none."""
        if self.neutral_file is None:
            return ()
        from razor_cli.data.texts import read_lines
        from razor_cli.errors import DataError

        found = tuple(dict.fromkeys(line.strip() for line in read_lines(self.neutral_file) if line.strip()))
        if not found:
            raise DataError("data.neutral_file holds no caption", found=str(self.neutral_file))
        return found


def _unlike(names: Sequence[str], gone: Collection[str]) -> list[str]:
    """Return the shipped names that share no word with the target, such as Van Gogh and Vincent van Gogh."""
    from razor_cli.data.sources.photo import same

    words = {word for name in gone for word in name.split()}
    return [n for n in names if not words & set(same(n).split())]
