"""One way to a loaded LLaVA: a model built from its settings, filled from files, every name counted. The
language model is filled when the first question is asked: gradients of the image tower alone never read it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from razor_cli.config.quantization import without_advice
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.stored import Place, StoredTensors
from razor_cli.families.llava.answerer import Answerer, Looker
from razor_cli.families.llava.files import CONFIG, GENERATION, LlavaFiles
from razor_cli.families.llava.kinds import Language, Variant
from razor_cli.families.llava.names import HEAD, LANGUAGE, canonical, differences
from razor_cli.families.llava.refusals import filled
from razor_cli.weights.bitsandbytes import quantized_linear
from razor_cli.weights.files import COMPUTED, is_finite
from razor_cli.weights.model_files import refused, worded

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOGETHER = "config.json and weights must be of one model: fetch or save the model again"
CLASSES = {
    Variant.LLAVA: ("LlavaConfig", "LlavaForConditionalGeneration", "LlavaProcessor"),
    Variant.LLAVA_NEXT: ("LlavaNextConfig", "LlavaNextForConditionalGeneration", "LlavaNextProcessor"),
}


@dataclass(kw_only=True)
class OnDisk:
    """A model whose image tower and projector are filled, and where the rest of it lies."""

    files: LlavaFiles
    module: Any
    stored: StoredTensors  # by the names of the module
    dtype: torch.dtype
    device: str
    language: Language
    _answerer: Answerer | None = None

    @cached_property
    def processor(self) -> Any:
        """What prepares pictures and words."""
        return processor_of(self.files)

    @cached_property
    def looker(self) -> Looker:
        """The part of the model that looks at pictures."""
        return Looker(self.module, self.processor, self.files.variant)

    @property
    def answerer(self) -> Answerer:
        """Return the model with its language model, which is read on first use. Raises WeightsError where a
        value of it cannot be computed with.
        """
        if self._answerer is None:
            put(self, [name for name in self.stored if is_language(name)])
            self._answerer = Answerer(self.module, self.processor, self.files.variant)
        return self._answerer


def open_files(files: LlavaFiles, dtype: torch.dtype, device: str, language: Language) -> OnDisk:
    """Return a model with its image tower and projector. Raises WeightsError unless names and shapes of all
    its tensors agree exactly with its settings.
    """
    without_advice()
    module = build_empty(files)
    held = files.names()
    names = matched(module, held, files.source)
    stored = StoredTensors({name: Place(held[key], key) for name, key in names.items()})
    found = OnDisk(files=files, module=module, stored=stored, dtype=dtype, device=device, language=language)
    put(found, [name for name in stored if not is_language(name)])
    module.requires_grad_(False)
    return found


def is_language(name: str) -> bool:
    """Tell whether a tensor is the language model's."""
    return name.startswith((LANGUAGE, HEAD))


def build_empty(files: LlavaFiles) -> Any:
    """Return a model as its settings describe it, without values: only buffers that no file holds are
    there.
    """
    import transformers

    config, model, _ = CLASSES[files.variant]
    with worded(f"{CONFIG} of '{files.source}' describes a model that cannot be built"):
        settings = getattr(transformers, config).from_dict(dict(files.config))
        with init_empty_weights(include_buffers=False):
            module: Any = getattr(transformers, model)(settings)
        module.tie_weights()
        if (files.path / GENERATION).is_file():
            module.generation_config = transformers.GenerationConfig.from_pretrained(
                files.path, local_files_only=True
            )
    return module


def matched(module: nn.Module, stored: Collection[str], source: str) -> dict[str, str]:
    """Return what is stored of each parameter: name -> stored name. Raises WeightsError for any that is
    missing or unknown.
    """
    wanted = {canonical(name): name for name, _ in module.named_parameters()}
    aliases = {canonical(name) for name in module.state_dict()} - wanted.keys()
    found, missing, unexpected = differences(stored, {n for n in wanted if n}, {n for n in aliases if n})
    if missing or unexpected:
        counts = (("missing", missing), ("unknown", unexpected))
        raise refused(
            f"'{source}': the tensors do not fit",
            allowed=f"the {len(wanted)} tensors that {CONFIG} describes, in any version's spelling",
            found="; ".join(f"{len(n)} {kind}: {', '.join(n[:3])}" for kind, n in counts if n),
            fix=TOGETHER,
        )
    return {wanted[name]: key for name, key in found.items()}


def put(disk: OnDisk, names: Collection[str]) -> None:
    """Fill parameters from their files, in the dtype that is computed with."""
    shapes = {name: value.shape for name, value in disk.module.named_parameters()}
    for name in sorted(names, key=lambda n: (n.rpartition(".")[0], n.endswith(".weight"))):
        path, _, last = name.rpartition(".")
        home = disk.module.get_submodule(path)
        value = _checked(disk, name, shapes[name]).to(disk.device)
        home._parameters[last] = nn.Parameter(value, requires_grad=False)
        if disk.language is Language.INT8 and name.startswith(LANGUAGE) and type(home) is nn.Linear:
            above, _, child = path.rpartition(".")
            setattr(disk.module.get_submodule(above), child, quantized_linear(home, "bnb_int8"))
    language = any(map(is_language, names))
    if language:
        disk.module.tie_weights()
    for part in (disk.module if language else disk.module.model.vision_tower).modules():
        for key, buffer in part._buffers.items():
            part._buffers[key] = None if buffer is None else buffer.to(disk.device)
    disk.module.eval()


def processor_of(files: LlavaFiles) -> Any:
    """Return the processor of a folder, told by the model's settings how many tokens a picture has."""
    import transformers

    with worded(f"'{files.path}' holds a processor that transformers cannot read"):
        cls = getattr(transformers, CLASSES[files.variant][2])
        processor = cls.from_pretrained(files.path, local_files_only=True)
    for key, value in filled(files).items():
        setattr(processor, key, value)
    return processor


def _checked(disk: OnDisk, name: str, shape: torch.Size) -> Tensor:
    """Return a stored value in the dtype that is computed with."""
    value, what = disk.stored[name], f"'{disk.files.source}': {disk.stored.places[name].key}"
    if value.shape != shape:
        raise refused(
            f"{what} has another shape", allowed=tuple(shape), found=tuple(value.shape), fix=TOGETHER
        )
    if value.dtype not in COMPUTED or not is_finite(value):
        bad = str(value.dtype) if value.dtype not in COMPUTED else "values that are not finite"
        raise refused(
            f"{what} cannot be computed with", found=bad, fix="save the weights again, as float16 or float32"
        )
    found = value.to(disk.dtype)
    if not is_finite(found):
        raise ConfigError(
            f"model.dtype: {what} is too large for {str(disk.dtype).removeprefix('torch.')}",
            allowed="float32, bfloat16",
            fix="model.dtype=bfloat16",
        )
    return found
