"""Settings of quantization: which schemes a run is evaluated under, and what they cover. Imports no torch."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
from dataclasses import dataclass, field
from enum import StrEnum
from types import ModuleType

from razor_cli.errors import ConfigError, UserError, nearest

RTN, BNB = "rtn", "bitsandbytes"
BACKENDS = {"none": "none", "int8": RTN, "int4": RTN, "bnb_int8": BNB, "nf4": BNB, "fp4": BNB}
MINIMUM = (0, 49)  # the first bitsandbytes with all three schemes on any x86-64 CPU
INSTALL = 'pip install "razor-cli[bitsandbytes]"'


class Scope(StrEnum):
    """Which weights are quantized; a matrix that the edit changed always is, whatever the scope."""

    LINEAR = "linear"  # every attention and MLP weight of the model
    VISION = "vision"  # those of the image tower
    TEXT = "text"  # those of the text tower, or of all text encoders
    DENOISER = "denoiser"  # those of the net that draws
    EDITED_TOWER = "edited_tower"  # those of each tower that the edit touched


def check_scheme(scheme: str) -> None:
    """Raise ConfigError for a scheme that does not exist."""
    if scheme not in BACKENDS:
        near = nearest(str(scheme), BACKENDS)
        fix = f"did you mean {near[0]}?" if near else None
        raise ConfigError(
            "quantization.schemes has an unknown scheme", allowed=", ".join(BACKENDS), found=scheme, fix=fix
        )


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Which schemes a run is evaluated under, and what they cover. Raises ConfigError for values out of
    range.

    Embeddings, LayerNorms, biases and `logit_scale` are never quantized; the three options below add to the
    scope.
    """

    schemes: list[str] = field(default_factory=lambda: ["none", "int8", "int4"])  # one row of results each
    scope: Scope = Scope.LINEAR
    group: int = 64  # int4: inputs that share a scale; 0 = whole row, else 8 or more
    symmetric: bool = False  # int4: no zero point
    patch_conv: bool = False  # also convolutions: the one that cuts the picture into patches, or a UNet's
    projections: bool = False  # also the final projections into the shared space
    vae: bool = False  # also the VAE that makes pixels of what was drawn
    bnb_modules: bool = False  # bitsandbytes schemes: real modules where a layer is a plain Linear

    def __post_init__(self) -> None:
        object.__setattr__(self, "schemes", list(self.schemes))
        if self.scope not in list(Scope):
            raise ConfigError("quantization.scope is unknown", allowed=", ".join(Scope), found=self.scope)
        object.__setattr__(self, "scope", Scope(self.scope))
        for scheme in self.schemes:
            check_scheme(scheme)
        if not self.schemes or len(set(self.schemes)) < len(self.schemes):
            raise ConfigError(
                "quantization.schemes must name one or more different schemes",
                allowed=", ".join(BACKENDS),
                found=self.schemes,
                fix="quantization=all, or quantization.schemes=[none,int8]",
            )
        if self.group != 0 and self.group < 8:
            raise ConfigError(
                "quantization.group is out of range", allowed="0 (whole row), 8 or more", found=self.group
            )
        if self.bnb_modules and BNB not in map(BACKENDS.get, self.schemes):
            raise ConfigError(
                "quantization.bnb_modules=true has no effect without a bitsandbytes scheme",
                found=self.schemes,
                fix="quantization=bitsandbytes",
            )
        for option in ("patch_conv", "vae"):
            if getattr(self, option) and self.scope is Scope.TEXT:
                what = f"quantization.{option}=true has no effect with quantization.scope=text"
                raise ConfigError(what, fix="scope=linear")

    def check_available(self) -> None:
        """Refuse a scheme whose package is absent, before any weight is read. Raises UserError."""
        if BNB in map(BACKENDS.get, self.schemes):
            require_bitsandbytes()


def without_advice() -> None:
    """Keep bitsandbytes, which diffusers and transformers import too, from asking for a package that fetches
    faster kernels from the hub: nothing here needs it.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def require_bitsandbytes() -> ModuleType:
    """Return the module bitsandbytes. Raises UserError when it is absent or too old."""
    without_advice()
    try:
        bnb = importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise UserError(
            "quantization.schemes asks for bitsandbytes, which cannot be imported",
            allowed="bnb_int8, nf4 and fp4 with bitsandbytes installed; none, int8 and int4 without it",
            found=str(error),
            fix=f"{INSTALL}, or choose quantization=all",
        ) from error
    version = importlib.metadata.version("bitsandbytes")
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM:
        least = ".".join(map(str, MINIMUM))
        raise UserError(
            "bitsandbytes is too old", allowed=f"{least} or newer", found=version, fix=f"{INSTALL} --upgrade"
        )
    return bnb
