"""The files that a LLaVA is made of. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.families.clip.files import BESIDE_WEIGHTS
from razor_cli.families.llava.kinds import Variant, deepest
from razor_cli.families.llava.names import is_original
from razor_cli.runs.remembered import file_hash
from razor_cli.weights.header import read_header
from razor_cli.weights.json_file import LISTS_BYTES, read_json
from razor_cli.weights.model_files import content_of, refused, sensible

OWNER = "a LLaVA"
FOLDER_FILES: tuple[str, ...] = ()  # weights are called as in any folder of transformers
CONFIG, GENERATION = "config.json", "generation_config.json"
INDEX = "model.safetensors.index.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json")
BESIDE = (*BESIDE_WEIGHTS, *TEMPLATES, GENERATION)
SERVED = "model_type llava (LLaVA 1.5) or llava_next (LLaVA 1.6), in the layout of transformers"
AGAIN = "fetch or save the whole model again"
CONVERT = (
    "convert it with transformers' convert_llava_weights_to_hf.py, or take the converted folder "
    "(llava-hf/llava-1.5-7b-hf and its like): model.weights=DIR"
)


@dataclass(frozen=True, kw_only=True)
class LlavaFiles:
    """A LLaVA on disk, read as far as nothing of its weights is needed."""

    path: Path
    variant: Variant
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    beside: tuple[Path, ...]  # files that decide answers beside the weights

    @property
    def source(self) -> str:
        """Return what the folder is called, without the path."""
        return self.path.name

    @property
    def vision(self) -> Mapping[str, Any]:
        """Return the settings of the image tower."""
        found: Mapping[str, Any] = self.config["vision_config"]
        return found

    @property
    def text(self) -> Mapping[str, Any]:
        """Return the settings of the language model."""
        found: Mapping[str, Any] = self.config["text_config"]
        return found

    @property
    def depth(self) -> int:
        """Return how many layers of the image tower reach the answers."""
        return deepest(self.config.get("vision_feature_layer", -2), self.vision["num_hidden_layers"])

    def names(self) -> dict[str, Path]:
        """Return the names of the stored tensors, each with its file. Raises WeightsError where two shards
        hold the same.
        """
        found: dict[str, Path] = {}
        for file in self.weights:
            for name in read_header(file):
                if name in found:
                    raise refused("two shards hold the same tensor", found=name, fix=AGAIN)
                found[name] = file
        return found

    def digest(self) -> str:
        """Return the hash of all files that decide answers; those of weights are remembered by their
        state.
        """
        digest = hashlib.sha256(f"llava 1 {self.variant}".encode())
        for file in self.weights:
            digest.update(f"{file.name}|{file_hash(file)}\n".encode())
        for file in self.beside:
            content = content_of(file)
            digest.update(f"{file.name}|{hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()


def read_folder(path: Path) -> LlavaFiles:
    """Return what a folder says of its model. Raises WeightsError for one that is none of a served model."""
    if not (path / CONFIG).is_file():
        raise refused(
            f"'{path}' is no folder of a LLaVA",
            allowed=f"a folder with {CONFIG} of {SERVED}",
            found=f"no {CONFIG}",
            fix="give the folder that transformers saved: model.weights=DIR",
        )
    config = read_json(path / CONFIG)
    weights = weights_in(path)
    _check_spelling(path, config, weights)
    with sensible(path.name, OWNER):
        kind = config.get("model_type")
        if kind not in tuple(Variant):
            raise refused(f"the model in '{path}' is not served", allowed=SERVED, found=f"model_type {kind}")
        for part in ("vision_config", "text_config"):
            if not isinstance(config.get(part), dict):
                raise refused(f"{path / CONFIG} has no {part}", allowed=SERVED, fix=AGAIN)
    return LlavaFiles(
        path=path,
        variant=Variant(kind),
        config=config,
        weights=weights,
        beside=tuple(path / name for name in BESIDE if (path / name).is_file()),
    )


def _check_spelling(path: Path, config: Mapping[str, Any], weights: tuple[Path, ...]) -> None:
    """Refuse the original repository's own layout, of which transformers would load nothing and
    say nothing.
    """
    architectures = config.get("architectures") or []
    told = [k for k in ("mm_vision_tower", "mm_hidden_size", "mm_projector_type") if k in config]
    if not told and any(str(a).startswith("LlavaL") and "ForCausalLM" in str(a) for a in architectures):
        told = [f"architectures {architectures}"]
    stored = [name for file in weights for name in read_header(file)]
    if told or is_original(stored):
        raise refused(
            f"'{path}' is in the spelling of the original LLaVA repository: transformers finds none of its "
            "weights, and answers at random",
            allowed=SERVED,
            found=", ".join(told) or next(n for n in stored if is_original([n])),
            fix=CONVERT,
        )


def weights_in(path: Path) -> tuple[Path, ...]:
    """Return the weights of a folder: one file, or the shards of an index. Raises WeightsError where there
    are none.
    """
    whole, index = path / "model.safetensors", path / INDEX
    if whole.is_file():
        return (whole,)
    if not index.is_file():
        others = sorted(p.name for p in path.glob("*.bin"))
        raise refused(
            f"'{path}' has no weights",
            allowed=f"{whole.name}, or {INDEX} and its shards",
            found=", ".join(others[:3]) or "none of them",
            fix="save the model as safetensors: model.save_pretrained(DIR)" if others else AGAIN,
        )
    homes = read_json(index, LISTS_BYTES).get("weight_map")
    if not isinstance(homes, dict) or not homes or not all(isinstance(s, str) for s in homes.values()):
        raise refused(f"{index} is not a shard index", found="no weight_map of names and files", fix=AGAIN)
    names = sorted(set(homes.values()))
    for name in names:
        # A shard is a plain file of the folder: a name with a path in it could point anywhere.
        if name != Path(name).name or "\\" in name or not name.endswith(".safetensors"):
            raise refused(f"{index} names a shard that is no weights file of its folder", found=repr(name))
    if absent := [name for name in names if not (path / name).is_file()]:
        raise refused(
            f"{index} names shards that are missing",
            found=f"{len(absent)} of {len(names)}: {', '.join(absent[:3])}",
            fix=AGAIN,
        )
    return tuple(path / name for name in names)
