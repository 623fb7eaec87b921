"""Refreshed gradients may come from other examples each time."""

from __future__ import annotations

from razor_cli.data.sampling import some


def test_a_seed_draws_a_few_in_their_order_and_another_seed_others() -> None:
    items = list(range(200))
    drawn = [some(items, 40, seed) for seed in range(6)]
    assert all(d == sorted(set(d)) and len(d) == 40 for d in drawn)
    assert drawn[0] == some(items, 40, 0) and len({tuple(d) for d in drawn}) == 6
    seen = set[int]().union(*drawn)
    assert len(seen) > 130  # the first 40 each time would be 40
    assert some(items, None, 0) == some(items, 500, 0) == items
