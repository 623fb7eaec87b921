"""A LLaVA of transformers that a program has in memory, with its processor. Imports no torch."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from razor_cli.config.schema import checked_settings
from razor_cli.contract.budget import free_memory
from razor_cli.contract.choices import Device
from razor_cli.contract.goals import Goals
from razor_cli.contract.handed import Handed
from razor_cli.contract.handed_over import HandedOver
from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.diffusion.choices import Precision, no_float16
from razor_cli.families.diffusion.companion_files import folder_hash
from razor_cli.families.diffusion.memory import BYTES, GIB
from razor_cli.families.llava.files import LlavaFiles
from razor_cli.families.llava.kinds import Candidates, Pool, Tiles, Variant
from razor_cli.families.llava.refusals import companion_problems, filled, settings_refusals
from razor_cli.families.llava.spec import BESIDE as PAIRED
from razor_cli.families.llava.spec import LlavaSpec

if TYPE_CHECKING:
    from torch import Tensor


MODEL = "llava_tiny"
SERVED = "a LlavaForConditionalGeneration or LlavaNextForConditionalGeneration of transformers"
BESIDE = ("processor",)
CLASSES = {
    "LlavaForConditionalGeneration": Variant.LLAVA,
    "LlavaNextForConditionalGeneration": Variant.LLAVA_NEXT,
}


@dataclass(frozen=True, kw_only=True)
class LoadedLlava(HandedOver):
    """A LLaVA in memory, by the hash of its weights and of what it does beside them."""

    family: ClassVar[str] = LlavaSpec.family
    offers: ClassVar[frozenset[str]] = LlavaSpec.offers
    libraries: ClassVar[tuple[str, ...]] = LlavaSpec.libraries
    goals: ClassVar[Goals] = LlavaSpec.goals
    losses: ClassVar[tuple[str, ...]] = LlavaSpec.losses
    retain_losses: ClassVar[tuple[str, ...]] = LlavaSpec.retain_losses
    in_batches: ClassVar[tuple[str, ...]] = LlavaSpec.in_batches
    mismatches: ClassVar[tuple[str, ...]] = LlavaSpec.mismatches
    in_memory: ClassVar[bool] = True  # it may be edited without an exam

    companion: str | None = None  # folder of the CLIP that the image tower comes from
    candidates: Candidates = Candidates.VISION_EFFECTIVE
    vision_pool: Pool = Pool.CLS
    loss_tiles: Tiles = Tiles.BASE
    min_alignment: float = 0.5  # in [0, 1]; share of the CLIP's accuracy that tower and CLIP must reach
    device: Device = Device.AUTO  # auto: where the model is
    dtype: Precision = Precision.AUTO

    def __post_init__(self) -> None:
        if not 0 <= self.min_alignment <= 1:
            raise ConfigError(
                "model.min_alignment is out of range", allowed="0 to 1", found=self.min_alignment
            )

    def beside(self, target: str) -> Mapping[str, str]:
        """Return the hash of the paired CLIP."""
        return {} if self.companion is None else {"paired": folder_hash(Path(self.companion))}


def serves(model: object) -> bool:
    """Tell whether a model is a LLaVA of transformers."""
    return _variant(model) is not None


def _variant(model: object) -> Variant | None:
    every = [c.__name__ for c in type(model).__mro__ if c.__module__.startswith("transformers.")]
    return next((CLASSES[name] for name in every if name in CLASSES), None)


def handed(model: Any, beside: Mapping[str, Any], settings: Mapping[str, Any]) -> Handed:
    """Return a LLaVA ready for a run: a copy of its own, named by what the model is stored as."""
    from razor_cli.families.clip.load import choose_device
    from razor_cli.families.llava.held import HeldTensors, InMemory, settings_of
    from razor_cli.families.llava.load import DTYPES
    from razor_cli.families.llava.paired import Wanted, paired_with

    variant = _variant(model)
    assert variant is not None  # `serves` was asked before
    processor = _processor(beside)
    place = Path("the model")
    files = LlavaFiles(path=place, variant=variant, config=settings_of(model), weights=(), beside=())
    if wrong := settings_refusals(files):
        raise wrong[0]
    found = _spec(model, settings)
    folder = None if found.companion is None else Path(found.companion)
    if wrong := companion_problems(files, folder):
        raise wrong[0]
    assert folder is not None
    where = str(model.device.type) if found.device is Device.AUTO else choose_device(found.device.value)
    if found.dtype is Precision.FLOAT16 and where == "cpu":
        raise no_float16()
    _check_memory(sum(p.numel() for p in model.parameters()), found, where)
    dtype = DTYPES[found.dtype.chosen]
    own = copied(model).to(where, dtype).eval().requires_grad_(False)
    for key, value in filled(files).items():
        setattr(processor, key, value)
    _check_image_token(processor, own)
    stored = HeldTensors(model)
    disk = InMemory(files=files, module=own, stored=stored, processor=processor, dtype=dtype, device=where)
    wanted = Wanted(
        device=where,
        dtype=found.dtype.chosen,
        candidates=found.candidates,
        pool=found.vision_pool,
        tiles=found.loss_tiles,
        min_alignment=found.min_alignment,
    )
    view = paired_with(found.name, False, disk, wanted, folder)
    digest = hashlib.sha256("".join(map(stored.hash_of, stored.parts)).encode())
    digest.update(view.preparation().encode())
    view.digest = digest.hexdigest()
    node = {k: getattr(v, "value", v) for k, v in asdict(found).items()} | {"weights": view.digest}
    return Handed(family=view, settings={"_target_": f"{__name__}.{LoadedLlava.__name__}", **node})


def _processor(beside: Mapping[str, Any]) -> Any:
    """Return a copy of the processor that was given. Raises ConfigError where none was, or one of another
    kind.
    """
    given = beside.get("processor")
    if all(hasattr(given, part) for part in ("image_processor", "tokenizer", "apply_chat_template")):
        return copy.deepcopy(given)
    raise ConfigError(
        "processor is needed with this model",
        allowed="AutoProcessor.from_pretrained(FOLDER), with picture processor, tokenizer and chat template",
        found="nothing" if given is None else type(given).__name__,
        fix="processor=…",
    )


def _check_image_token(processor: Any, model: Any) -> None:
    """Raise WeightsError where processor and model have another token in the place of a picture."""
    mine, token = model.config.image_token_id, processor.image_token
    if (found := processor.tokenizer.convert_tokens_to_ids(token)) != mine:
        raise WeightsError(
            "the processor has another picture token than the model",
            allowed=f"'{token}' with the id {mine}",
            found=f"id {found}",
            fix="processor=AutoProcessor.from_pretrained(FOLDER) of the same model",
        )


def _spec(model: Any, settings: Mapping[str, Any]) -> LoadedLlava:
    """Return the settings, checked; a CLIP that lies beside the folder that the model was loaded from is
    taken where none is given.
    """
    given = dict(settings)
    companion = given.pop("companion", None)
    if not isinstance(companion, str | Path | None):
        raise ConfigError(
            "companion has the wrong type",
            allowed="the folder of the CLIP that the image tower comes from",
            found=type(companion).__name__,
        )
    place = Path(str(getattr(model.config, "_name_or_path", "") or ""))
    beside = place.with_name(place.name + PAIRED) if place.name else None
    folder = companion if companion is not None else beside if beside and beside.is_dir() else None
    return checked_settings(LoadedLlava, given | {"companion": None if folder is None else str(folder)})


def _check_memory(numbers: int, found: LoadedLlava, where: str) -> None:
    """Raise ConfigError where the copy that a run works on does not fit beside the model."""
    need, free = numbers * BYTES[found.dtype.chosen], free_memory()
    if where != "cpu" or free is None or need <= free:
        return
    raise ConfigError(
        "the copy of the model that is worked on needs more memory than is free",
        allowed=f"{free / GIB:.1f} GB",
        found=f"{need / GIB:.1f} GB in {found.dtype.chosen}",
        fix="model__dtype='bfloat16'; or save it, and razor-run model.weights=DIR in a program of its own",
    )


def write(model: Any, values: Mapping[str, Tensor]) -> None:
    """Put new values into a model, each in its own dtype and on its own device."""
    import torch

    live = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in values.items():
            live[name].copy_(value)


def copied(model: Any) -> Any:
    """Return a copy that shares no weight with the model."""
    return copy.deepcopy(model)
