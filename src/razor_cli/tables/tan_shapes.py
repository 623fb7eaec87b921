"""Rows and columns of Tan & Gong's tables: their methods and ours, metrics, and one shape a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from razor_cli.tables.selection import Measure

NHL = "nhl_kl_tan"
METHODS = {  # printed name, lower case and without "(ours)": presets of ours, that for taxonomies first
    "ga": ("ga_tan", "ga_tan_paper", "ga_tan_cars"),
    "gdiff": ("gdiff_tan", "gdiff", "gdiff_paper", "gdiff_cars"),
    "ga+kl": ("ga_kl_tan", "ga_kl", "ga_kl_paper", "ga_kl_cars"),
    "npo+kl": ("npo_kl_tan", "npo_kl", "npo_kl_paper", "npo_kl_cars"),
    "relabeling": ("relabel_tan", "relabel", "relabel_paper", "relabel_cars"),
    "task vector": ("task_vector_tan", "task_vector", "task_vector_paper", "task_vector_cars"),
    "salun": ("salun_tan", "salun_tan_paper", "salun_tan_cars"),
    "me+gd": ("me_gd_tan", "me_gd", "me_gd_paper", "me_gd_cars"),
    "nhl+kl": (NHL, "nhl_kl", "nhl_kl_paper", "nhl_kl_cars"),
}
ORIGIN = ("origin clip", "clip")
ACCURACIES = (
    ("df_coarse", "D_f coarse", "up"),
    ("df_fine", "D_f fine", "down"),
    ("dr_coarse", "D_r coarse", "up"),
    ("dr_fine", "D_r fine", "up"),
)
RATIOS = (("quality", "Q", "up"), ("utility", "U", "up"), ("q_u", "Q-U", "up"))
ARROWS = {"up": "↑ %", "down": "↓ %"}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One of the tables: its published file, and which recorded runs stand beside it."""

    name: str
    title: str
    file: str
    experiment: str
    # What the level is called, embedded and on the real pictures.
    targets: tuple[str, ...] = ("difficult", "ImgnetDogs Difficult")
    kind: str = "emoji"  # the embedded taxonomy
    split: str = "in"  # variant of the metrics: in distribution, or ood
    keys: tuple[str, ...] = ("df_coarse", "df_fine", "dr_coarse", "dr_fine", "quality", "utility", "q_u")
    beside: str = "ImgnetDogs"


SHAPES = {
    s.name: s
    for s in (
        Shape(
            name="tan2",
            title="Table 2, difficult classes",
            file="tan_table2",
            experiment="tan_table2",
            keys=("df_coarse", "df_fine", "dr_coarse", "dr_fine", "quality", "utility", "q_u", "zero_shot"),
            beside="ImgnetDogs Difficult",
        ),
        Shape(
            name="tan4",
            title="Table 4, out of distribution: Q, U, Q-U",
            file="tan_table4",
            experiment="tan_table2",
            split="ood",
            keys=("quality", "utility", "q_u"),
            beside="ImgnetDogs, tested on OxfordPet",
        ),
        Shape(
            name="tan11",
            title="Table 11, out of distribution",
            file="tan_table11",
            experiment="tan_table2",
            split="ood",
            beside="ImgnetDogs, tested on OxfordPet",
        ),
        Shape(
            name="tan12",
            title="Table 12, medium classes",
            file="tan_table12",
            experiment="tan_table12",
            targets=("medium", "ImgnetDogs Medium"),
            beside="ImgnetDogs Medium",
        ),
        Shape(
            name="tan13",
            title="Table 13, easy classes",
            file="tan_table13",
            experiment="tan_table13",
            targets=("easy", "ImgnetDogs Easy"),
            beside="ImgnetDogs Easy",
        ),
        Shape(
            name="tan15",
            title="Table 15, a second taxonomy",
            file="tan_table15",
            experiment="tan_table15",
            kind="portraits",
            targets=("four portraits", "CompCars-S"),
            beside="CompCars-S",
        ),
    )
}


def measures(keys: Sequence[str], split: str) -> list[Measure]:
    """Return the columns of a table; `zero_shot` has one variant, the others one per split."""
    known = {k: (t, d) for k, t, d in (*ACCURACIES, *RATIOS)}
    return [
        Measure(key=k, title="zero-shot", unit="↑ %", metric=k, variant="mean", direction="up")
        if k == "zero_shot"
        else Measure(
            key=k, title=known[k][0], unit=ARROWS[known[k][1]], metric=k, variant=split, direction=known[k][1]
        )
        for k in keys
    ]


def plain_name(printed: str) -> str:
    """Return a printed method name as METHODS spells it."""
    return printed.lower().removesuffix("(ours)").strip()
