"""The folder of a user's own yaml files, as Hydra reads it: old names in them are understood, and what would
call code, read the environment or speak to Hydra itself is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from razor_cli import plain_yaml
from razor_cli.config import hydra_words, interpolations, renamed
from razor_cli.config.conf_files import GROUPS, groups
from razor_cli.config.schema import together
from razor_cli.errors import ConfigError


class OwnFiles(FileConfigSource):
    """Yaml files in a folder given by --config-dir."""

    @staticmethod
    def scheme() -> str:
        """Return what stands before `://` in Hydra's search path."""
        return "own"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a file's content with the present names of options and settings. Raises ConfigError."""
        file = Path(self.path) / self._normalize_file_name(config_path)
        if ".." in file.parts:
            what = f"{config_path}: a file outside of --config-dir"
            raise ConfigError(what, allowed=f"files in {self.path}")
        plain_yaml.read(file)
        try:
            result = super().load_config(config_path)
        except (yaml.YAMLError, OSError, ValueError) as error:
            reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
            raise ConfigError(f"{file} is no configuration", found=reason, fix="write KEY: VALUE") from error
        if not isinstance(result.config, DictConfig):
            raise ConfigError(f"{file} is no configuration", allowed="KEY: VALUE, one a line", found="a list")
        content: Any = OmegaConf.to_container(result.config, resolve=False)
        package = result.header.get("package") or config_path.strip("/").rpartition("/")[0].replace("/", ".")
        whole = content if package in ("", "_global_") else {package: content}  # by the keys that one types
        wrong = hydra_words.in_file(str(file), package, content) + interpolations.problems(whole, str(file))
        if wrong:
            raise together(wrong)
        folder = config_path.strip("/").partition("/")[0]
        place = folder if folder in GROUPS and package != "_global_" else ""
        found = renamed.content(content, place, groups([Path(self.path)]))
        result.config = OmegaConf.create(found)
        return result


def search_path(folder: Path) -> str:
    """Return the entry of Hydra's search path for a user's folder."""
    SourcesRegistry.instance().register(OwnFiles)
    return f"{OwnFiles.scheme()}://{folder}"
