"""The check between a composed configuration and the first weight that is read: every problem at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from razor_cli.config import interpolations, outside, renamed
from razor_cli.config.conf_files import FAMILY, GROUPS, conf_dir, groups
from razor_cli.config.data_keys import own_keys
from razor_cli.config.family import family_fits
from razor_cli.config.fitted import fit
from razor_cli.config.pairings import pairing_problems
from razor_cli.config.schema import build, hints, locate, together, unknown
from razor_cli.config.settings import PLACES, Experiment, Options
from razor_cli.errors import ConfigError, Problem


def check(
    cfg: Mapping[Any, Any],
    earlier: list[Problem] | None = None,
    skip: frozenset[str] = frozenset(),
    allowed: frozenset[str] = frozenset(),
    typed: Collection[str] = (),
) -> Experiment:
    """Return the experiment that a composed configuration describes. Reads no weights and no pictures.

    `earlier` are problems found while composing, reported together with these; groups in `skip` were replaced
    by their default meanwhile, so nothing is said about them. `allowed` are packages from outside whose
    classes `_target_` may name. Keys that are `typed`, by a command line or a grid, keep their value whatever
    the model is.

    Raises:
        ConfigError: one error with every problem, each with its full key, what is allowed and the nearest
        valid name.

    """
    problems = list(earlier or [])
    node = renamed.within(_resolve(cfg, problems))
    problems += outside.problems(node.get(outside.KEY), allowed)
    parts = {group: _part(group, node, allowed, problems if group not in skip else []) for group in GROUPS}
    options = build(Options, {k: v for k, v in node.items() if k in hints(Options)}, "", problems)
    known = _all_keys(parts)
    for key in node:
        if key not in (*GROUPS, FAMILY) and key not in hints(Options):
            leaf = [k for k in known if k.split(".")[-1] == key]
            problem = unknown(key, "", [*hints(Options), *GROUPS])
            problems.append(
                Problem(what=problem.what, allowed=problem.allowed, fix=f"did you mean {leaf[0]}?")
                if leaf
                else problem
            )
    if parts["model"] is not None:
        problems += family_fits(node, parts["model"])
        parts = fit(parts, typed)
    if options is not None:
        problems += pairing_problems(options, {k: v for k, v in parts.items() if k not in skip})
    if problems:
        raise together(problems)
    assert options is not None
    return Experiment(**vars(options), **parts)


def parts_of(cfg: Mapping[Any, Any], allowed: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the object of every group of a composed configuration, None for one that is refused."""
    node = renamed.within(_resolve(cfg, []))
    return {group: _part(group, node, allowed, []) for group in GROUPS}


def _resolve(cfg: Mapping[Any, Any], problems: list[Problem]) -> dict[str, Any]:
    """Return plain values with interpolations replaced; one that points nowhere is a problem."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    config = cfg if OmegaConf.is_config(cfg) else OmegaConf.create(dict(cfg))
    plain: Any = OmegaConf.to_container(config, resolve=False)
    if wrong := interpolations.problems(plain) or interpolations.too_long(plain):
        problems += wrong
        return {str(k): v for k, v in plain.items()}
    try:
        content: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        problems.append(Problem(what=f"{error.full_key or 'configuration'}: {str(error).splitlines()[0]}"))
        content = plain
    return {str(k): v for k, v in content.items()}


def _part(group: str, node: Mapping[str, Any], allowed: frozenset[str], problems: list[Problem]) -> Any:
    """Return the checked object of one group, or None."""
    value = node.get(group)
    if not isinstance(value, Mapping) or "_target_" not in value:
        options = ", ".join(groups([conf_dir()]).get(group, []))
        problems.append(
            Problem(what=f"{group} is not chosen", allowed=options, found=value, fix=f"{group}=NAME")
        )
        return None
    try:
        cls = locate(value["_target_"], PLACES[group], group, allowed)
    except ConfigError as error:
        problems.append(Problem.of(error))
        return None
    if group == "data":
        value = own_keys(cls, value, PLACES["data"], problems, node.get(FAMILY))
    return build(cls, value, group, problems)


def _all_keys(parts: Mapping[str, object]) -> list[str]:
    return [
        f"{group}.{name}" for group, part in parts.items() if part is not None for name in hints(type(part))
    ]
