"""The pictures of a run: the same prompts and seeds before and after, for the target, for what lies near and
for the others.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from razor_cli.atomic import staged
from razor_cli.data.shots import BENCHMARK, DrawnSets, Shot
from razor_cli.escape import in_json
from razor_cli.figure import drawable, fonts, new_figure, own_settings, save
from razor_cli.runs.folder import write_atomic

CELL = 1.05  # inches of a picture
LINE, LINES = 18, 3  # letters of a prompt's line, and lines above a picture
TITLES = {"target": "Target: {target}", "near": "Near it", "others": "Others"}


@dataclass(frozen=True)
class Shown:
    """One column: a section, and the shot's place among the evaluation shots."""

    section: str  # target, near, others
    row: int


def shown_of(sets: DrawnSets, count: int) -> list[Shown]:
    """Return the columns: up to `count` shots of each section, of as many different names as there are."""
    sections: dict[str, list[int]] = {"target": [], "near": [], "others": []}
    gone, near = set(sets.forget_names), set(sets.near)
    order = sorted(range(len(sets.evaluation)), key=lambda i: sets.evaluation[i].template != BENCHMARK)
    for row in order:
        name = sets.evaluation[row].shows(sets.axis)
        section = "target" if name in gone else "near" if name in near else "others"
        sections[section].append(row)
    return [
        Shown(section, row)
        for section, rows in sections.items()
        for row in _varied(sets.evaluation, rows)[:count]
    ]


def _varied(shots: Sequence[Shot], rows: Sequence[int]) -> list[int]:
    """Return rows so that labels not yet shown come first."""
    left, found, seen = list(rows), [], set[tuple[str, str]]()
    while left:
        row = max(left, key=lambda r: sum(label not in seen for label in shots[r].labels))
        left.remove(row)
        found.append(row)
        seen |= set(shots[row].labels)
        if len(found) == 12:
            break
    return found


def store(folder: Path, sets: DrawnSets, shown: Sequence[Shown], states: Mapping[str, Tensor]) -> None:
    """Write the pictures alone, for tables that lay runs beside each other: shown.png has a row for each
    state and a column for each of `shown`, shown.json says what they are.
    """
    shots = [(column.section, sets.evaluation[column.row]) for column in shown]
    columns = [{"section": section, "prompt": s.prompt, "seed": s.seed} for section, s in shots]
    write_atomic(folder / "shown.json", in_json({"states": list(states), "columns": columns}, indent=1))
    rows = [torch.cat(list(pictures), dim=2) for pictures in states.values()]
    plain = torch.cat(rows, dim=1).permute(1, 2, 0).contiguous().cpu().numpy()
    with staged(folder / "shown.png") as part:
        Image.fromarray(plain).save(part, format="png")
        part.replace(folder / "shown.png")


@own_settings()
def draw(path: Path, sets: DrawnSets, shown: Sequence[Shown], states: Mapping[str, Tensor]) -> None:
    """Draw pictures [columns, 3, H, W] of every state: sections below one another, a row for each state, a
    column for each prompt with its seed.
    """
    sections = {s: [i for i, c in enumerate(shown) if c.section == s] for s in TITLES}
    sections = {s: columns for s, columns in sections.items() if columns}
    width, height = max(map(len, sections.values())), len(sections) * len(states)
    title = f"Forgetting {sets.target}: the same prompts and seeds before and after"
    figure, axes = new_figure(
        CELL * width + 1.2, (CELL + 0.04) * height + 0.62 * len(sections) + 0.35, width, title, rows=height
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for block, (section, columns) in enumerate(sections.items()):
        for line, (state, pictures) in enumerate(states.items()):
            for place, column in enumerate(columns):
                ax = axes[block * len(states) + line][place]
                ax.set_axis_on()
                ax.imshow(pictures[column].permute(1, 2, 0).numpy(), interpolation="nearest")
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
                if line == 0:
                    shot = sets.evaluation[shown[column].row]
                    ax.set_title(_wrapped(shot), fontsize=6.5, family=fonts(shot.prompt), parse_math=False)
                if place == 0:
                    told = TITLES[section].format(target=drawable(sets.target)) if line == 0 else ""
                    ax.set_ylabel(
                        f"{told}\n{state}" if told else state,
                        fontsize=8,
                        family=fonts(told),
                        parse_math=False,
                        rotation=0,
                        horizontalalignment="right",
                        verticalalignment="center",
                    )
    save(figure, path)


def _wrapped(shot: Shot) -> str:
    """Return a prompt in a few short lines, and the seed."""
    lines = textwrap.wrap(drawable(shot.prompt), LINE, max_lines=LINES, placeholder=" …")
    return "\n".join([*lines, f"seed {shot.seed}"])
