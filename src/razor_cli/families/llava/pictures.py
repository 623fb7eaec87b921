"""The pictures of a run: what the model answers about the target, about names near it and about others,
before and after.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.data.sets import Pairs
from razor_cli.families.llava.album import OfPairs, called
from razor_cli.families.llava.answers import GRID, NEAR, OTHERS, OWN, Answers
from razor_cli.families.llava.benchmarks.items import AskModel, Item, Record, answered, record_of
from razor_cli.families.llava.losses_drift import NEUTRAL
from razor_cli.figure import drawable, fonts, new_figure, own_settings, save

TITLES = {OWN: "Target: {target}", NEAR: "Near it", OTHERS: "Others"}
LETTERS, LINES = 26, 2  # of an answer: letters in a line, and lines
NEW_TOKENS = 24
ROW, PICTURE, QUESTION, ANSWER = 0.92, 0.95, 2.5, 1.75  # inches


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The pictures that are shown, and what is asked about each."""

    items: tuple[Item, ...]
    album: OfPairs

    @classmethod
    def of(cls, pairs: Mapping[str, Pairs], album: OfPairs, count: int, name: str) -> Grid:
        """Return up to `count` pictures of each section, each of another name where there are several. Asked
        are the question `name` for what is forgotten, and those of the paper's Figure 4.
        """
        items, seen = [], set[str]()
        for who, part in pairs.items():
            several = len(set(part.concepts)) > 1
            names, shown = set[str](), 0
            for picture in part.pictures:
                if shown == count or called(picture) in seen or (several and picture.concept in names):
                    continue
                names.add(picture.concept)
                seen.add(called(picture))
                shown += 1
                items += [
                    Item(
                        key=f"{called(picture)} {number}",
                        picture=called(picture),
                        question=question,
                        answer=picture.concept if not number else "",
                        category=who,
                    )
                    for number, question in enumerate((name, *NEUTRAL))
                ]
        return cls(items=tuple(items), album=album)

    @property
    def questions(self) -> list[tuple[str, str]]:
        """Return what is asked about which picture."""
        return [(i.picture, i.question) for i in self.items]

    def ask(self, model: AskModel) -> dict[str, tuple[Record, ...]]:
        """Return the answers, or nothing where no picture is shown."""
        if not self.items:
            return {}
        answers = answered(model, self.album, self.questions, NEW_TOKENS)
        return {
            GRID: tuple(
                record_of(i, i.question, a, "", right=bool(i.answer) and i.answer.lower() in a.lower())
                for i, a in zip(self.items, answers, strict=True)
            )
        }

    @own_settings()
    def draw(self, path: Path, target: str, states: Mapping[str, Answers]) -> None:
        """Draw a row for each picture: what is asked about it, and what each state answers."""
        known = {state: a.records[GRID] for state, a in states.items() if GRID in a.records}
        pictures = list(dict.fromkeys(i.picture for i in self.items))
        if not known or not pictures:
            return
        images = self.album.load(pictures)
        widths = [PICTURE, QUESTION, *[ANSWER] * len(known)]
        title = f"Forgetting {target}: answers before and after"
        figure, axes = new_figure(sum(widths), ROW * len(pictures) + 0.7, 1, title)
        figure.clear()
        figure.suptitle(drawable(title), fontsize=11, family=fonts(title), parse_math=False)
        axes = figure.subplots(len(pictures), len(widths), squeeze=False, width_ratios=widths)
        for line, (key, image) in enumerate(zip(pictures, images, strict=True)):
            rows = [n for n, i in enumerate(self.items) if i.picture == key]
            section = TITLES[self.items[rows[0]].category].format(target=target)
            first = line == 0 or self.items[rows[0]].category != self._section(pictures[line - 1])
            _picture(axes[line][0], image, section if first else "")
            _words(axes[line][1], [self.items[n].question for n in rows], 38, "question" if not line else "")
            for place, (state, records) in enumerate(known.items()):
                said = [records[n].answer for n in rows]
                _words(axes[line][2 + place], said, LETTERS, state if not line else "")
        save(figure, path)

    def _section(self, key: str) -> str:
        return next(i.category for i in self.items if i.picture == key)


def _picture(ax: Any, image: Any, section: str) -> None:
    ax.imshow(image, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(drawable(section), fontsize=7, family=fonts(section), parse_math=False, loc="left")


def _words(ax: Any, texts: Sequence[str], letters: int, title: str) -> None:
    """Write texts below one another, each in a third of the row."""
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=8, family=fonts(), loc="left", fontweight="bold", pad=16)
    for number, text in enumerate(texts):
        lines = textwrap.wrap(drawable(text) or "(nothing)", letters, max_lines=LINES, placeholder=" …")
        ax.text(
            0,
            1 - (number + 0.5) / len(texts),
            "\n".join(lines),
            fontsize=6.5,
            family=fonts(text),
            parse_math=False,
            verticalalignment="center",
            transform=ax.transAxes,
        )
