"""A pipeline of diffusers that a program has in memory. Imports no torch."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from razor_cli.config.schema import checked_settings
from razor_cli.contract.budget import free_memory
from razor_cli.contract.choices import Device
from razor_cli.contract.family import DUAL
from razor_cli.contract.goals import Goals
from razor_cli.contract.handed import Handed
from razor_cli.contract.handed_over import HandedOver
from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.diffusion.choices import Precision, no_float16, refused_losses
from razor_cli.families.diffusion.companion_files import companion_problems, companions_of, folder_hash
from razor_cli.families.diffusion.files import (
    CLASSES,
    OPTIONAL,
    PIPELINES,
    SERVED,
    T5,
    Part,
    PipelineFiles,
)
from razor_cli.families.diffusion.kinds import Draws, Kind
from razor_cli.families.diffusion.memory import BYTES, GIB
from razor_cli.families.diffusion.refusals import refusals
from razor_cli.families.diffusion.spec import DiffusionSpec, no_float16_with_t5
from razor_cli.families.diffusion.spelling import trunk

if TYPE_CHECKING:
    from torch import Tensor


MODEL = "sd_tiny"
BESIDE = ()
CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


@dataclass(frozen=True, kw_only=True)
class LoadedPipeline(HandedOver):
    """A pipeline in memory, by the hash of its weights and of what it does beside them."""

    family: ClassVar[str] = DiffusionSpec.family
    offers: ClassVar[frozenset[str]] = DiffusionSpec.offers  # of one without a paired CLIP: no DUAL
    libraries: ClassVar[tuple[str, ...]] = DiffusionSpec.libraries
    goals: ClassVar[Goals] = DiffusionSpec.goals
    losses: ClassVar[tuple[str, ...]] = DiffusionSpec.losses
    retain_losses: ClassVar[tuple[str, ...]] = DiffusionSpec.retain_losses
    refused_schemes: ClassVar[Mapping[str, str]] = DiffusionSpec.refused_schemes
    in_memory: ClassVar[bool] = True  # it may be edited without an exam
    argument: ClassVar[str] = "PIPELINE"

    companion: dict[str, str] | None = None  # encoder -> folder of its paired CLIP
    device: Device = Device.AUTO  # auto: where the pipeline is
    dtype: Precision = Precision.AUTO
    draws: int = 8  # >= 1; how often the retain loss noises each picture
    batch: int = 16  # >= 1; noised pictures in the net at once, in a gradient pass
    checkpointing: bool = False  # keep less for gradients, compute more

    def __post_init__(self) -> None:
        for name in ("draws", "batch"):
            if (found := getattr(self, name)) < 1:
                raise ConfigError(f"model.{name} is out of range", allowed=">= 1", found=found)
        if not self.companion:
            object.__setattr__(self, "offers", self.offers - {DUAL})

    @property
    def refused_losses(self) -> Mapping[str, tuple[str, str]]:
        """Return the losses that it cannot have, each with why and what helps."""
        return refused_losses(DUAL in self.offers)

    def beside(self, target: str) -> Mapping[str, str]:
        """Return the hashes of the paired CLIPs, by their encoders."""
        folders = {name: Path(folder) for name, folder in (self.companion or {}).items()}
        return {f"paired_{name}": folder_hash(folder) for name, folder in folders.items()}


def serves(model: object) -> bool:
    """Tell whether a model is a pipeline of diffusers, of whatever class."""
    every = type(model).__mro__
    return any(c.__name__ == "DiffusionPipeline" and c.__module__.startswith("diffusers.") for c in every)


def handed(model: Any, beside: Mapping[str, Any], settings: Mapping[str, Any]) -> Handed:
    """Return a pipeline ready for a run: a copy of its own, named by what the pipeline is stored as."""
    import torch

    from razor_cli.families.diffusion.denoiser import Denoiser
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.families.diffusion.held import HeldTensors
    from razor_cli.families.diffusion.load import DTYPES, choose_device
    from razor_cli.families.diffusion.paired import load_paired

    kind = kind_of(model)
    files = _checked(model, kind)
    found = _spec(model, settings)
    folders = {name: Path(folder) for name, folder in (found.companion or {}).items()}
    if wrong := companion_problems(files, folders):
        raise wrong[0]
    where = str(model.device.type) if found.device is Device.AUTO else choose_device(found.device.value)
    if found.dtype is Precision.FLOAT16 and (where == "cpu" or T5 in files.parts):
        raise no_float16() if where == "cpu" else no_float16_with_t5()
    nets = {
        name: getattr(model, name) for name in CLASSES[kind] if isinstance(_net(model, name), torch.nn.Module)
    }
    _check_memory(sum(p.numel() for net in nets.values() for p in net.parameters()), found, where)
    own = _own(model)
    for name, net in nets.items():
        if {p.dtype for p in net.parameters()} != {DTYPES[found.dtype.chosen]}:
            getattr(own, name).to(DTYPES[found.dtype.chosen])
    denoiser = Denoiser(own, kind, where)
    if found.checkpointing:
        denoiser.core.enable_gradient_checkpointing()
    stored = HeldTensors(nets)
    digest = hashlib.sha256("".join(map(stored.hash_of, stored.every)).encode())
    view = Diffusion(
        label=found.name,
        stand_in=False,
        denoiser=denoiser,
        stored=stored,
        digest="",
        draws=Draws(per_picture=found.draws, batch=found.batch),
    )
    view.paired = {n: load_paired(view, n, folder) for n, folder in folders.items()}
    digest.update(view.preparation().encode())
    view.digest = digest.hexdigest()
    node = {k: getattr(v, "value", v) for k, v in asdict(found).items()} | {"weights": view.digest}
    return Handed(family=view, settings={"_target_": f"{__name__}.{LoadedPipeline.__name__}", **node})


def kind_of(model: Any) -> Kind:
    """Return the kind of a pipeline. Raises WeightsError for a class that is not served."""
    for kind, name in PIPELINES.items():
        if type(model).__name__ == name:
            return kind
    raise WeightsError(
        "a pipeline of this class is not served",
        allowed=SERVED,
        found=type(model).__name__,
        fix="hand over a pipeline of one of these classes",
    )


def _checked(model: Any, kind: Kind) -> PipelineFiles:
    """Return what a pipeline says of itself. Raises WeightsError for parts that are missing, or whose
    settings are of another kind of model.
    """
    parts: dict[str, Part] = {}
    for name, allowed in CLASSES[kind].items():
        net = _net(model, name)
        if net is None and name in OPTIONAL:
            continue
        if type(net).__name__ not in allowed:
            raise WeightsError(
                f"{name} is not what a {PIPELINES[kind]} is made of here",
                allowed=", ".join(allowed),
                found="nothing" if net is None else type(net).__name__,
            )
        if hasattr(net, "parameters"):
            config = net.config.to_dict() if hasattr(net.config, "to_dict") else dict(net.config)
            parts[name] = Part(name=name, kind=type(net).__name__, config=config, files=())
    schedule = dict(model.scheduler.config)
    files = PipelineFiles(
        path=Path("the pipeline"),
        kind=kind,
        parts=parts,
        tokenizers={},
        scheduler=type(model.scheduler).__name__,
        schedule=schedule,
        beside=(),
    )
    if wrong := refusals(files):
        raise wrong[0]
    return files


def _net(model: Any, name: str) -> Any:
    return getattr(model, name, None)


def _spec(model: Any, settings: Mapping[str, Any]) -> LoadedPipeline:
    """Return the settings, checked; a paired CLIP that lies beside the folder that the pipeline was loaded
    from is taken where none is given.
    """
    given = dict(settings)
    companion = given.pop("companion", None)
    if not isinstance(companion, str | Path | Mapping | None):
        raise ConfigError(
            "companion has the wrong type",
            allowed="the folder of a CLIP of transformers, or a dict: text encoder -> folder",
            found=type(companion).__name__,
        )
    place = Path(str(model.config.get("_name_or_path") or ""))
    wanted = {k: str(v) for k, v in companion.items()} if isinstance(companion, Mapping) else companion
    folders = companions_of(place, str(wanted) if isinstance(wanted, Path) else wanted)
    named = {"companion": {n: str(f) for n, f in folders.items()} or None}
    return checked_settings(LoadedPipeline, given | named)


def _check_memory(numbers: int, found: LoadedPipeline, where: str) -> None:
    """Raise ConfigError where the copy that a run works on does not fit beside the pipeline."""
    need, free = numbers * BYTES[found.dtype.chosen], free_memory()
    if where != "cpu" or free is None or need <= free:
        return
    raise ConfigError(
        "the copy of the pipeline that is worked on needs more memory than is free",
        allowed=f"{free / GIB:.1f} GB",
        found=f"{need / GIB:.1f} GB in {found.dtype.chosen}",
        fix="model__dtype='bfloat16'; pipe.text_encoder_3 = None and pipe.tokenizer_3 = None before; or "
        "save it, and razor-run model.weights=DIR in a program of its own",
    )


def _own(model: Any) -> Any:
    """Return the copy that a run works on, without what judges its pictures."""
    left = {name: None for name in CHECKER if name in model.components}
    return _built(model, {n: copy.deepcopy(c) for n, c in model.components.items() if n not in left} | left)


def _built(model: Any, parts: Mapping[str, Any]) -> Any:
    """Return a pipeline of the same class and settings with these parts."""
    more = {
        name: model.config[name]
        for name in inspect.signature(type(model).__init__).parameters
        if name not in parts and name in model.config
    }
    if parts.get("safety_checker") is None and "requires_safety_checker" in more:
        more["requires_safety_checker"] = False
    return type(model)(**parts, **more)


def write(model: Any, values: Mapping[str, Tensor]) -> None:
    """Put new values into a pipeline, each in its own dtype and on its own device."""
    import torch

    nets = {n: getattr(model, n) for n in {name.partition(".")[0] for name in values}}
    states = {n: trunk(net).state_dict() for n, net in nets.items()}
    with torch.no_grad():
        for name, value in values.items():
            part, _, rest = name.partition(".")
            states[part][rest].copy_(value)


def copied(model: Any) -> Any:
    """Return a copy that shares no weight with the pipeline."""
    return _built(model, {name: copy.deepcopy(part) for name, part in model.components.items()})
