"""Runs that README and docs/ print are computed: a tiny model in place of a published one, few pictures, and
no search where the page asks for no method. One line of each kind of model, data and scenario.
"""

from __future__ import annotations

import re

import pytest
from documented import Command, commands
from documented_world import World, world
from test_every_command import filled

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.schema import hints

__all__ = ["world"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FEW = {
    "n_forget": 6,
    "n_retain": 12,
    "n_validation_forget": 3,
    "n_validation_retain": 8,
    "n_evaluation_forget": 3,
    "n_evaluation_retain": 8,
    "n_suite": 10,
    "min_forget": 4,
}
TINY = ["model=hf_clip", "model.weights=FOLDER"]
# Data that these folders are too small for have runs of their own in tests/unit, and so have edits in turn.
ELSEWHERE = re.compile(
    r"data=(labelled|imgnetdogs|compcars|unlearncanvas|birds)|sequence=|compose=|shrink|--|roh|-m "
)


def kinds() -> list[Command]:
    """Return the first line of each combination of model, data and scenario."""
    found: dict[tuple[str, ...], Command] = {}
    for c in commands():
        single = "razor-run" in c.words[0] and "experiment=" not in c.line
        if single and not ELSEWHERE.search(c.line) and len(c.words) > 1:
            found.setdefault(tuple(re.findall(r"\b(?:model|data|scenario)=\w+", c.line)), c)
    return list(found.values())


@pytest.mark.parametrize("command", kinds(), ids=str)
def test_run(world: World, command: Command) -> None:
    words = [filled(w, command) for w in command.words[1:]]
    if any(w.startswith("model=clip_vit") for w in words) or "model.architecture=ViT-B-16" in words:
        words = [w for w in words if not w.startswith("model")] + TINY
    words = ["model=sd15" if w == "model=sd3_medium" else w for w in words if w != "model.t5=off"]
    words += ["quantization=none", "control=false"]
    words += [] if any(w.startswith("method=") for w in words) else ["method=none"]
    words += ["metrics.fa_min_base=0"] if any(w.startswith("model=llava") for w in words) else []
    data = hints(type(checked(read(words)).data))
    words += [f"data.{k}={n}" for k, n in FEW.items() if k in data]
    code, text = world.razor_run(*words)
    assert code == 0 and "Verdict" in text, text[-2000:]
