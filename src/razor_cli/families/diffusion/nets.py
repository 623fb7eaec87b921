"""The nets of a pipeline: built from their settings, filled from files, every name counted."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.diffusion.files import PIPELINES, T5, T5_TOKENIZER, Part, PipelineFiles
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.spelling import canonical, spelled
from razor_cli.families.diffusion.stored import Place, StoredTensors, names_in
from razor_cli.weights.files import COMPUTED, is_finite
from razor_cli.weights.model_files import refused, worded

LEFT_OUT = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
TOGETHER = "config.json and weights must be of one model: fetch or save the component again"

LAYERS = ("num_hidden_layers", "num_layers", "layers_per_block")


def load_pipeline(files: PipelineFiles, dtype: torch.dtype) -> tuple[Any, dict[str, Place]]:
    """Return the pipeline on the CPU, and where each tensor of its nets lies on disk."""
    nets: dict[str, nn.Module] = {}
    places: dict[str, Place] = {}
    for name, part in files.parts.items():
        nets[name], mine = load_part(part, dtype, f"{files.source}: {name}")
        places |= {f"{name}.{canonical(key, part.kind) or key}": place for key, place in mine.items()}
    given: dict[str, Any] = {**nets, **{n: _tokenizer(n, f) for n, f in files.tokenizers.items()}}
    given |= LEFT_OUT if files.kind is Kind.SD15 else {n: None for n in (T5, T5_TOKENIZER) if n not in given}
    return _class(PIPELINES[files.kind])(**given, scheduler=_scheduler(files)), places


def build_empty(part: Part) -> nn.Module:
    """Return a net as its settings describe it, without values: only buffers that no file holds are there."""
    with (
        worded(f"the settings of {part.name} describe a net that cannot be built"),
        init_empty_weights(include_buffers=False),
    ):
        module = _built(part)
    if hasattr(module, "tie_weights"):
        cast(Any, module).tie_weights()
    return module


def load_part(part: Part, dtype: torch.dtype, what: str) -> tuple[nn.Module, dict[str, Place]]:
    """Return a net with the values of its files, and where each of them lies. Raises WeightsError unless
    names and shapes agree exactly and all values are finite numbers.
    """
    stored = StoredTensors(_places(part))
    _check_layers(part, len(stored), what)
    module = build_empty(part)
    parameters = dict(module.named_parameters())
    every = module.state_dict()
    wanted = {n: every[n] for n in every if n in parameters or n in _persistent(module)}
    names, missing, unexpected = spelled(stored, wanted.keys(), every.keys() - wanted.keys())
    if missing or unexpected:
        counts = (("missing", missing), ("unknown", unexpected))
        raise refused(
            f"{what}: the tensors do not fit",
            allowed=f"the {len(wanted)} tensors of {part.kind}, in any version's spelling",
            found="; ".join(f"{len(n)} {k}: {', '.join(n[:3])}" for k, n in counts if n),
            fix=TOGETHER,
        )
    for name, key in names.items():
        _put(module, name, _checked(stored[key], wanted[name].shape, f"{what}: {key}", dtype))
    if hasattr(module, "tie_weights"):
        cast(Any, module).tie_weights()
    return module.eval(), {name: stored.places[key] for name, key in names.items()}


def _check_layers(part: Part, tensors: int, what: str) -> None:
    """Refuse settings that describe more layers than the files could fill, before they are built."""
    for key in LAYERS:
        if isinstance(said := part.config.get(key), int) and said > tensors:
            raise refused(
                f"{what}: config.json describes another net than the weights beside it",
                found=f"{key}: {said}, and {tensors} tensors",
                fix=TOGETHER,
            )


def _places(part: Part) -> dict[str, Place]:
    """Return where the tensors of a net lie, by what a folder of diffusers calls them."""
    if part.renamed is not None:
        return {name: Place(part.files[0], key) for name, key in part.renamed.items()}
    found: dict[str, Place] = {}
    for file in part.files:
        for key in names_in(file):
            if key in found:
                raise refused(f"two shards of {part.name} hold the same tensor", found=key, fix=TOGETHER)
            found[key] = Place(file, key)
    return found


def _persistent(module: nn.Module) -> set[str]:
    """Return the names of the buffers that a file holds."""
    return {n for n, _ in module.named_buffers()} & module.state_dict().keys()


def _checked(value: Tensor, shape: torch.Size, what: str, dtype: torch.dtype) -> Tensor:
    """Return a stored value in its shape in memory, in the dtype that is computed with."""
    matrix = value.ndim > len(shape) and value.shape[: len(shape)] == shape and value.numel() == shape.numel()
    if matrix:
        value = value.reshape(shape)  # a matrix that was stored as a convolution of one pixel
    if value.shape != shape:
        raise refused(
            f"{what} has another shape", allowed=tuple(shape), found=tuple(value.shape), fix=TOGETHER
        )
    if value.is_floating_point() and (value.dtype not in COMPUTED or not is_finite(value)):
        bad = str(value.dtype) if value.dtype not in COMPUTED else "values that are not finite"
        raise refused(
            f"{what} cannot be computed with", found=bad, fix="save the weights again, as float16 or float32"
        )
    if not value.is_floating_point():
        raise refused(f"{what} is no weight", found=str(value.dtype), fix=TOGETHER)
    found = value.to(dtype, copy=True)
    if not is_finite(found):
        raise ConfigError(
            f"model.dtype: {what} is too large for {str(dtype).removeprefix('torch.')}",
            allowed="float32, bfloat16",
            fix="model.dtype=bfloat16",
        )
    return found


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    path, _, last = name.rpartition(".")
    home = module.get_submodule(path)
    if last in home._parameters:
        home._parameters[last] = nn.Parameter(value)
    else:
        home._buffers[last] = value


def _built(part: Part) -> nn.Module:
    cls = _class(part.kind)
    if part.name.startswith("text_encoder"):
        module: nn.Module = cls(cls.config_class.from_dict(dict(part.config)))
        return module
    made: nn.Module = cls.from_config(dict(part.config))
    return made


def _class(name: str) -> Any:
    for library in ("diffusers", "transformers"):
        if (found := getattr(importlib.import_module(library), name, None)) is not None:
            return found
    raise WeightsError(
        f"{name} is in neither diffusers nor transformers", fix="install the versions that razor-cli asks for"
    )


def _scheduler(files: PipelineFiles) -> Any:
    with worded(f"the scheduler of '{files.source}' cannot be built"):
        return _class(files.scheduler).from_config(dict(files.schedule))


def _tokenizer(name: str, folder: Path) -> Any:
    kind = "T5TokenizerFast" if name == T5_TOKENIZER else "CLIPTokenizer"
    with worded(f"the folder '{folder}' holds a tokenizer that transformers cannot read"):
        return _class(kind).from_pretrained(folder, local_files_only=True)
