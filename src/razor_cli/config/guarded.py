"""Hydra's loader of configurations, which gives none out before it was looked through.

Whatever way a setting came in, by a file, a defaults list or a word, Hydra's own node must be what our files
and the allowed words of the command line make it: compared here, before anything in it is built or called.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from razor_cli.config import interpolations
from razor_cli.config.conf_files import conf_dir
from razor_cli.config.hydra_words import ALLOWED, is_hydra
from razor_cli.config.schema import together
from razor_cli.errors import ConfigError

BOOKKEEPING = ("overrides", "runtime", "searchpath", "mode")  # written by Hydra itself, and never acted on
EXPECTED: dict[
    tuple[str, str | None, tuple[str, ...]], dict[Any, Any]
] = {}  # composed once for all of a sweep
OF_JOBS = ("override_dirname", "id", "num", "config_name")
READ: dict[tuple[object, ...], ConfigResult | None] = {}  # files that ship, read once for all of a process


class ReadOnce(ConfigRepository):
    """Finds configurations as Hydra does, and parses a file that ships only once, until it changes: of all
    that composing costs, that is the larger part. A user's own files are read and looked through each time.
    """

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return the content of a configuration, which is the caller's to change; None if there is none."""
        source = self._find_object_source(config_path=config_path, object_type=ObjectType.CONFIG)
        if source is None or source.scheme() not in {"file", "pkg"}:
            return super().load_config(config_path)
        key: tuple[object, ...] = (source.provider, source.path, config_path)
        if source.scheme() == "file":
            found = Path(source.path, source._normalize_file_name(config_path)).stat()
            key += (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if key not in READ:
            READ[key] = super().load_config(config_path)
        return copy.deepcopy(READ[key])


class Guarded(ConfigLoaderImpl):
    """Composes as Hydra does, and refuses what no file may say."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = ReadOnce(config_search_path)

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Return the composed configuration. Raises ConfigError for a changed node of Hydra's, and for
        interpolations that call functions.
        """
        cfg = super().load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )
        own = [o for o in overrides if is_hydra(o) and not o.startswith(("hydra.searchpath", "hydra.mode"))]
        changed = _difference(self._expected(config_name, tuple(own)), _acted_on(cfg), "hydra")
        if changed:
            raise ConfigError(
                f"{changed}: Hydra's own settings are not open to configuration",
                allowed=ALLOWED,
                fix="take it out of the files in --config-dir",
            )
        content: Any = OmegaConf.to_container(cfg, resolve=False)
        content.pop("hydra", None)
        if found := interpolations.problems(content):
            raise together(found)
        return cfg

    def _expected(self, config_name: str | None, words: tuple[str, ...]) -> dict[Any, Any]:
        """Return Hydra's node as our files and these words make it."""
        key = (str(conf_dir()), config_name, words)
        if key not in EXPECTED:
            EXPECTED[key] = _acted_on(super().load_configuration(config_name, list(words), RunMode.RUN))
        return EXPECTED[key]


def _acted_on(cfg: DictConfig) -> dict[Any, Any]:
    """Return Hydra's node as plain values, without what it only writes down."""
    node: Any = OmegaConf.to_container(cfg.hydra, resolve=False)
    found = {k: v for k, v in node.items() if k not in BOOKKEEPING}
    return found | {"job": {k: v for k, v in found["job"].items() if k not in OF_JOBS}}


def _difference(one: Any, other: Any, key: str) -> str:
    """Return the key of the first value in which two configurations differ, or nothing."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return "" if one == other else key
    names = dict.fromkeys([*one, *other])
    inner = (_difference(one.get(n), other.get(n), f"{key}.{n}") for n in names)
    return next((found for found in inner if found), "")
