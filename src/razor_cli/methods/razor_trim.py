"""What is done to a finished edit: scaled down to the smallest share that still does what was asked."""

from __future__ import annotations

import time

from razor_cli.contract.edit import Event
from razor_cli.engine.lab import Lab
from razor_cli.engine.search import Aim
from razor_cli.methods.razor_body import Body
from razor_cli.methods.razor_settings import RazorSettings


def trimmed(method: RazorSettings, aim: Aim, lab: Lab, body: Body) -> Event | None:
    """Scale the whole edit down to the smallest share that still meets the Target, by bisection; utility
    comes back. Return its line of the log, where there was anything to scale.

    With `guide`, an edit that meets the Target stays whole, as its steps were held back already; one that
    forgot and cost too much is scaled down to the smallest share that forgets.
    """
    board, before = lab.board, dict(lab.board.current)
    enough = aim.forgotten if method.guide else aim.met
    nothing = method.guide and aim.met(before)
    if not method.trim_steps or not body.moved or nothing or not enough(before):
        return None
    started, low, high = time.perf_counter(), 0.0, 1.0
    board.prepare(body.moved)
    for _ in range(method.trim_steps):
        middle = (low + high) / 2
        lab.say(f"trimming: {middle:.3f} of the edit")
        found = enough(board.trial(body.scaled(middle), body.moved))
        low, high = (low, middle) if found else (middle, high)
    if high < 1.0:
        body.take(body.scaled(high))
        board.commit(body.moved)
    return Event(
        step=0,
        action="trim",
        step_size=high,
        before=before,
        after=dict(board.current),
        seconds=time.perf_counter() - started,
        note=f"the edit times {high:.4g} {'forgets' if method.guide else 'meets the Target'}",
    )
