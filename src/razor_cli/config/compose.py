"""From a command line, read, to a checked experiment: Hydra composes, and what it refuses is said as ours."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from razor_cli.config.check import check
from razor_cli.config.command_line import Request, values_of
from razor_cli.config.conf_files import conf_dir
from razor_cli.config.hydra_words import is_hydra
from razor_cli.config.overrides import as_typed
from razor_cli.config.schema import together
from razor_cli.config.settings import UNRECORDED, Experiment
from razor_cli.config.worded import problem_of, reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra._internal.hydra import Hydra
    from omegaconf import DictConfig


@contextmanager
def hydra_here() -> Iterator[Hydra]:
    """Give Hydra with our configuration."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from razor_cli.config.guarded import Guarded

    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir()), job_name="razor-run"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        hydra.config_loader = Guarded(hydra.config_loader.get_search_path())
        yield hydra


def compose(request: Request) -> DictConfig:
    """Return the composed configuration of one run. Raises ConfigError for what Hydra itself refuses."""
    from hydra import compose as hydra_compose

    with hydra_here(), hydra_errors(request):
        return hydra_compose("config", overrides=request.overrides)


def with_keys(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Return a copy of a composed configuration with single keys set, as `++key=value` sets them."""
    from omegaconf import OmegaConf

    own = copy.deepcopy(cfg)
    for key, value in values.items():
        OmegaConf.update(own, key, value, merge=False, force_add=True)
    return own


@contextmanager
def hydra_errors(request: Request) -> Iterator[None]:
    """Turn what composing refuses into our error, together with the problems known before."""
    try:
        yield
    except Exception as error:
        words = [as_typed(o) for o in request.overrides]
        if (problem := problem_of(error, words, request.roots)) is None:
            raise
        raise together([*request.problems, problem]) from error


def checked(request: Request) -> Experiment:
    """Return the experiment of a command line without a sweep. Raises ConfigError with every problem."""
    return _checked(compose(request), request)


def checked_for(request: Request, model: Mapping[str, Any]) -> Experiment:
    """Return the experiment of a command line in which `model`, settings with their class, stands in place of
    the one that is named: it says for which family all else is composed.
    """
    return _checked(with_keys(compose(request), {"model": dict(model)}), request)


def _checked(cfg: DictConfig, request: Request) -> Experiment:
    with reading([as_typed(o) for o in request.overrides]):
        said = given(request.overrides)
        experiment = check(cfg, request.problems, request.skip, request.allowed, said)
    return replace(experiment, overrides=said)


def given(overrides: Sequence[str]) -> dict[str, Any]:
    """Return what overrides of one run set, by key; without Hydra's own, and what changes no number."""
    pairs = [values_of(o)[:2] for o in overrides if not is_hydra(o) and not o.startswith("~")]
    return {key: value for key, (value, *_) in pairs if key.partition(".")[0] not in UNRECORDED}
