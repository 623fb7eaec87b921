"""Three hundred command lines drawn by chance: none ends in an exception of its own, or leaves a file."""

from __future__ import annotations

import collections
import os
import random
from pathlib import Path

import pytest
from fuzz_lines import command_line
from hostile_files import lay_out
from refusals import answer, stop_before_weights

LINES = 300


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_line_ends_unworded_or_leaves_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("FUZZ_SEED", "0"))
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    stop_before_weights(monkeypatch)
    draw, ends, wrong = random.Random(seed), collections.Counter[int](), []
    for _ in range(LINES):
        words = command_line(draw)
        try:
            found = answer(words, tmp_path)
        except Exception as error:
            wrong.append(f"{words}: {error!r}"[:400])
            print(wrong[-1], flush=True)
            continue
        ends[found.code] += 1
        if reason := found.wrong():
            wrong.append(f"{words}: {reason}: {found.err[:200]}"[:600])
            print(wrong[-1], flush=True)
    print(f"\nseed {seed}: {LINES} lines, exit codes {dict(ends)}, {len(wrong)} wrong")
    assert wrong == [], "\n".join(wrong)
