"""The tables and figures there are: what each shows, and the function that builds it. Builders are imported
when asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial

from razor_cli.runs.folder import Run
from razor_cli.tables.document import Document

ALL = "all"
TABLES = {  # name: (what it shows, module, function, further argument)
    "table3": (
        "RAZOR Table 3: M1 to M5 of every method, full precision, 8 and 4 bit",
        "table3",
        "build",
        None,
    ),
    "table4": (
        "RAZOR Table 4: UA, IRA and CRA of seven methods, styles and objects, on SD v1.5 and SD3",
        "table4",
        "build",
        None,
    ),
    "table5": (
        "RAZOR Table 5: time, memory, storage and the trade-off score under every rule that was tried",
        "table5",
        "build",
        None,
    ),
    "table6": (
        "RAZOR Table 6: identities that a LLaVA no longer names, FA, MME, GQA, MMBench",
        "answered",
        "build",
        "table6",
    ),
    "table7": ("RAZOR Table 7: the ablation", "table7", "build", None),
    "table8": ("RAZOR Table 8: RAZOR against SLUG on a LLaVA", "answered", "build", "table8"),
    "slug_llava": ("SLUG's slide on LLaVA-1.5-7B, two identities", "answered", "build", "slug_llava"),
    "slug_unlearncanvas": (
        "SLUG's slide on UnlearnCanvas: ten methods, with FID and costs",
        "slug_canvas",
        "build",
        None,
    ),
    "slug_sd": (
        "SLUG's examples: a person by three methods and mascots, as pictures",
        "sheets",
        "build",
        "slug_sd",
    ),
    "figure3": ("RAZOR Figure 3: a person on SD3, RAZOR and SLUG, as pictures", "sheets", "build", "figure3"),
    "pictures": (
        "pictures of every method beside each other: rows methods, columns prompts",
        "sheets",
        "build",
        "pictures",
    ),
    "interference": (
        "which names go with which: forgotten names by generated ones, with a plot",
        "interference",
        "build",
        None,
    ),
    "compare": (
        "every method on the same targets: what it forgot and damaged, distance to a retrained model, cost",
        "compare",
        "build",
        None,
    ),
    "drawn": (
        "models that draw: UA, IRA and CRA of every method, target by target and in the mean",
        "drawn",
        "build",
        None,
    ),
    "turns": ("several targets of one run: together, in turn, or put together", "turns", "build", None),
    "verdicts": ("which runs keep their bounds, with the numbers", "verdicts", "build", None),
    "measured": ("every score of every run, of any family of models", "measured", "build", None),
    "quantization": (
        "edit size, codes changed and recovery of every method, with a plot",
        "quantization",
        "build",
        None,
    ),
    "figure5": ("RAZOR Figure 5: step sizes and learning rates, with a plot", "figures", "figure5", None),
    "figure6": (
        "RAZOR Figure 6: text-image cosines before and after, with a plot",
        "figures",
        "figure6",
        None,
    ),
    "readings": (
        "RAZOR's readings: one switch flipped at a time, on validation pictures",
        "readings",
        "build",
        None,
    ),
    "tuning": (
        "the sweeps on validation pictures that the baselines' settings were chosen by",
        "tuning",
        "build",
        None,
    ),
    "propositions": (
        "RAZOR's propositions as `razor propositions` measured them",
        "propositions",
        "beside",
        None,
    ),
    "tan2": ("Tan & Gong Table 2: forget difficult fine labels, keep coarse ones", "tan", "build", "tan2"),
    "tan3": ("Tan & Gong Table 3: NHL+KL on three levels of difficulty", "tan", "levels", None),
    "tan4": ("Tan & Gong Table 4: out of distribution, Quality, Utility, Q-U", "tan", "build", "tan4"),
    "tan10": (
        "Tan & Gong Table 10: zero-shot accuracy on unrelated tasks",
        "tan_series",
        "zero_shot",
        "tan10",
    ),
    "tan11": ("Tan & Gong Table 11: out of distribution, in full", "tan", "build", "tan11"),
    "tan12": ("Tan & Gong Table 12: medium classes", "tan", "build", "tan12"),
    "tan13": ("Tan & Gong Table 13: easy classes", "tan", "build", "tan13"),
    "tan14": ("Tan & Gong Table 14: NHL+KL by the number of forget pictures", "tan_series", "pictures", None),
    "tan15": ("Tan & Gong Table 15: a second taxonomy", "tan", "build", "tan15"),
    "tan16": (
        "Tan & Gong Table 16: zero-shot accuracy after the second taxonomy",
        "tan_series",
        "zero_shot",
        "tan16",
    ),
    "regularizers": ("Tan & Gong's two KL terms added to each of their methods", "tan", "regularizers", None),
}


def builder(name: str) -> Callable[[Sequence[Run]], Document]:
    """Return the function that builds a table from recorded runs."""
    _, module, function, argument = TABLES[name]
    found = getattr(importlib.import_module(f"razor_cli.tables.{module}"), function)
    return found if argument is None else partial(found, name=argument)
