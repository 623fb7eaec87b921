"""What of Tan & Gong's printed tables cannot be right: said below each table, and marked in its cells."""

from __future__ import annotations

ITEMS = {  # what cannot be right as printed, by published file
    "tan_table2": "ME+GD: U 88.69 is printed, its own accuracies give 86.69, which goes with the printed "
    "Q-U 57.52.",
    "tan_table3": "Medium NHL+KL: D_f coarse 6.00 and U 94.61 are printed; Table 12 has 76.00 and 94.60, "
    "and U confirms 76.00.",
    "tan_table4": "On out-of-distribution pictures NHL+KL, called best throughout, is last of four (Q-U "
    "42.58).",
    "tan_table10": "The fifth data set differs from Table 16's (Stanford Cars, OxfordPet), so the "
    "averages are not comparable.",
    "tan_table11": "On out-of-distribution pictures NHL+KL, called best throughout, is last of four (Q-U "
    "42.58).",
    "tan_table12": "Three cells were cut by recomputation, as the source prints rows without separators: "
    "GA 22.2 | 0.00, "
    "GDiff 58.4 | 0.00, NPO+KL 74.6 | 4.40.",
    "tan_table13": "Task vector: Q 80.10, U 97.94 and Q-U 88.12 are printed, its own accuracies give "
    "93.52, 93.61 and 93.57. "
    "NPO+KL: Q 91.38 printed, 91.36 recomputed. Cut by recomputation: GDiff 45.41 | 6.73, GA+KL 49.5 | "
    "26.23.",
    "tan_table14": "Not monotonic in U (100 pictures 92.58, 150 93.19, 200 92.68) nor in Q-U (50 "
    "pictures 94.17, 100 94.12).",
    "tan_table15": "The text calls gradient ascent ahead of KL here: that holds for GDiff (82.86 against "
    "55.98), not for GA "
    "(4.09).",
    "tan_table16": "NPO+KL and NHL+KL share all five accuracies but print the averages 86.34 and 86.17; "
    "86.17 is the mean, so "
    "one row was probably overwritten.",
}
# (published file, method in lower case, level if the file has levels): the cells that are wrong
CELLS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("tan_table2", "me+gd"): ("utility",),
    ("tan_table3", "nhl+kl", "medium"): ("df_coarse", "utility"),
    ("tan_table13", "task vector"): ("quality", "utility", "q_u"),
    ("tan_table13", "npo+kl"): ("quality",),
}
