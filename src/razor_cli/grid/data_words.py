"""Words of a grid's command line that set what only some of its kinds of data have.

`data.root=DIR` over blocks with `data=standin` and blocks with `data=folder` means the folders: it is left
out where the kind of data has no such setting, and said so. What no kind of the grid has stays, and is
refused.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from razor_cli.config.schema import hints, locate
from razor_cli.config.settings import PLACES
from razor_cli.errors import ConfigError

K = TypeVar("K", bound=Hashable)


def leave_out(composed: Mapping[K, Any], words: Sequence[str]) -> dict[K, frozenset[str]]:
    """Take words out of the configurations whose kind of data has no such setting while another's has it, and
    return which.
    """
    from omegaconf import open_dict

    lacking = {key: _lacking(cfg, words) for key, cfg in composed.items()}
    nowhere = frozenset.intersection(*lacking.values()) if lacking else frozenset()
    gone = {key: found - nowhere for key, found in lacking.items()}
    for key, cfg in composed.items():
        with open_dict(cfg):
            for word in gone[key]:
                cfg["data"].pop(setting(word), None)
    return gone


def told(left_out: Iterable[tuple[str, Iterable[str]]]) -> list[str]:
    """Return a line for each word that was left out, from the kind of data of every job and its words."""
    kinds: dict[str, list[str]] = {}
    for kind, words in left_out:
        for word in words:
            kinds.setdefault(word, []).append(kind)
    return [
        f"{word}: left out of {len(of)} jobs, as {' and '.join(f'data={k}' for k in sorted(set(of)))} "
        f"{'has' if len(set(of)) == 1 else 'have'} no such setting"
        for word, of in sorted(kinds.items())
    ]


def _lacking(cfg: Any, words: Sequence[str]) -> frozenset[str]:
    """Return the words that set what the chosen kind of data has not."""
    mine = [w for w in words if setting(w)]
    node = cfg.get("data")
    if not mine or not hasattr(node, "get"):
        return frozenset()
    try:
        own = hints(locate(node.get("_target_"), PLACES["data"], "data"))
    except ConfigError:  # the check reports it
        return frozenset()
    return frozenset(w for w in mine if setting(w) not in own)


def setting(word: str) -> str:
    """Return NAME of `data.NAME=value` and `data.NAME.key=value`, or nothing."""
    group, _, name = word.lstrip("+").partition("=")[0].partition(".")
    return name.partition(".")[0] if group == "data" else ""
