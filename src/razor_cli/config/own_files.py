"""The folder of a user's own yaml files, as Hydra reads it: old names in them are understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from razor_cli.config import renamed
from razor_cli.config.conf_files import GROUPS, groups


class OwnFiles(FileConfigSource):
    """Yaml files in a folder given by --config-dir."""

    @staticmethod
    def scheme() -> str:
        """Return what stands before `://` in Hydra's search path."""
        return "own"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a file's content with the present names of options and settings."""
        result = super().load_config(config_path)
        if not isinstance(result.config, DictConfig):
            return result
        content: Any = OmegaConf.to_container(result.config, resolve=False)
        folder = config_path.strip("/").partition("/")[0]
        place = folder if folder in GROUPS and result.header.get("package") != "_global_" else ""
        found = renamed.content(content, place, groups([Path(self.path)]))
        result.config = OmegaConf.create(found)
        return result


def search_path(folder: Path) -> str:
    """Return the entry of Hydra's search path for a user's folder."""
    SourcesRegistry.instance().register(OwnFiles)
    return f"{OwnFiles.scheme()}://{folder}"
