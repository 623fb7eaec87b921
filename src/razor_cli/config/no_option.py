"""The refusal of an option that a group does not have: the nearest, what there is, where one's own lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from razor_cli.config.conf_files import default_option
from razor_cli.errors import Problem, nearest

LIKE = 0.65  # of a name's letters: less is another word, and no slip
MANY = 20  # options, of which only those that are no variant are named


def no_option(group: str, name: str, options: Sequence[str], roots: Sequence[Path]) -> Problem:
    """Return the problem of an option that none of the folders `roots` has."""
    close = nearest(name, options, like=LIKE)
    file = f"{group}/{name}.yaml"
    if close:
        fix = f"did you mean {' or '.join(f'{group}={c}' for c in close)}?"
    elif len(roots) > 1:
        fix = f"the folder of --config-dir has no {file}: put it there, or give another folder"
    else:
        ours = default_option(group) or options[0]
        fix = f"--config-dir DIR for one of yours, in DIR/{file}; of ours {group}={ours}"
    return Problem(
        what=f"{group}={name}: there is no such {group}", allowed=_there(group, options), found=name, fix=fix
    )


def _there(group: str, options: Sequence[str]) -> str:
    """Return the options by name; of many only those that are no variant, and what lists the others."""
    whole = [option for option in options if "/" not in option]
    if len(options) <= MANY or len(whole) == len(options):
        return ", ".join(options)
    listing = f"razor list {group if group in ('data', 'metrics') else f'{group}s'}"
    return f"{', '.join(whole)}; and {len(options) - len(whole)} variants ({listing})"
