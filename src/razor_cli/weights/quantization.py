"""Post-training quantization as a robustness test: does an edit survive 8- and 4-bit weights, or does the
concept come back?

Order: load, edit at full precision, apply the edit to a fresh model, quantize, evaluate. Nothing is ever
edited after quantization. `none`, `int8` and `int4` are this project's own round-to-nearest code, the others
are bitsandbytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from razor_cli.contract.components import DualEncoder, parameters, swapped
from razor_cli.errors import ConfigError, nearest
from razor_cli.weights.rounding import Rounded, check_finite, rtn_asymmetric, rtn_symmetric
from razor_cli.weights.scope import Scope, quantized_names, transposed_weights

RTN, BNB = "rtn", "bitsandbytes"
BACKENDS = {"none": "none", "int8": RTN, "int4": RTN, "bnb_int8": BNB, "nf4": BNB, "fp4": BNB}


def _check_scheme(scheme: str) -> None:
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

    Embeddings, LayerNorms, biases and `logit_scale` are never quantized; the two options below add to the
    scope.
    """

    schemes: list[str] = field(default_factory=lambda: ["none", "int8", "int4"])  # one row of results each
    scope: Scope = Scope.LINEAR
    group: int = 64  # int4: inputs that share a scale; 0 = whole row, else 8 or more
    symmetric: bool = False  # int4: no zero point
    patch_conv: bool = False  # also the convolution that cuts the picture into patches
    projections: bool = False  # also the final projections into the shared space
    bnb_modules: bool = False  # bitsandbytes schemes: real modules where a layer is a plain Linear

    def __post_init__(self) -> None:
        object.__setattr__(self, "schemes", list(self.schemes))
        if self.scope not in list(Scope):
            raise ConfigError("quantization.scope is unknown", allowed=", ".join(Scope), found=self.scope)
        object.__setattr__(self, "scope", Scope(self.scope))
        for scheme in self.schemes:
            _check_scheme(scheme)
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
        if self.patch_conv and self.scope is Scope.TEXT:
            raise ConfigError(
                "quantization.patch_conv=true has no effect with quantization.scope=text", fix="scope=linear"
            )

    def check_available(self) -> None:
        """Refuse a scheme whose package is absent, before any weight is read. Raises UserError."""
        if BNB in map(BACKENDS.get, self.schemes):
            from razor_cli.weights.bitsandbytes import require_bitsandbytes

            require_bitsandbytes()


DEFAULT = Quantization()


def round_weight(weight: Tensor, scheme: str, settings: Quantization = DEFAULT) -> Rounded:
    """Return codes and dequantized values of `weight` [out, ...] under a scheme other than `none`."""
    _check_scheme(scheme)
    if BACKENDS[scheme] == BNB:
        from razor_cli.weights.bitsandbytes import round_bnb

        return round_bnb(weight, scheme)
    if scheme == "int8":
        return rtn_symmetric(weight, 8)
    if scheme == "int4":
        return (rtn_symmetric if settings.symmetric else rtn_asymmetric)(weight, 4, settings.group)
    raise ValueError("the scheme none has no codes")


@dataclass(frozen=True, kw_only=True)
class WeightChange:
    """How much of one tensor's edit is left after quantization: a proxy by tensor, no substitute for an
    evaluation.
    """

    name: str
    scheme: str
    rel_update: float  # |D| / |W|, D the edit
    codes_changed: float  # share of integer codes that differ, in [0, 1]
    cos_survive: float  # cosine between Q(W + D) - Q(W) and D; 0 when no value differs
    norm_ratio: float  # |Q(W + D) - Q(W)| / |D|


def weight_report(
    base: Mapping[str, Tensor],
    edited: Mapping[str, Tensor],
    scheme: str,
    settings: Quantization = DEFAULT,
    transposed: Collection[str] = (),
) -> list[WeightChange]:
    """Return one row per edited matrix whose values differ from the base; none for the scheme `none`.

    `edited` holds the new values of the changed tensors, `base` at least the same names; `transposed` as
    `transposed_weights` returns it.
    """
    if scheme == "none":
        return []
    rows = []
    for name, new in edited.items():
        old = base[name]
        delta = (new.float() - old.float()).flatten()
        if new.ndim < 2 or not delta.any():
            continue
        before, after = (_round(name, w, scheme, settings, transposed) for w in (old, new))
        moved = (after.values.float() - before.values.float()).flatten()
        rows.append(
            WeightChange(
                name=name,
                scheme=scheme,
                rel_update=float(delta.norm() / old.float().norm()),
                codes_changed=float((before.codes != after.codes).float().mean()),
                cos_survive=float(F.cosine_similarity(moved.double(), delta.double(), dim=0, eps=1e-30)),
                norm_ratio=float(moved.norm() / delta.norm()),
            )
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class QuantizedWeights:
    """What was quantized. The bytes are of these tensors only: as held now, and as codes with
    their scales.
    """

    scheme: str
    backend: str  # none | rtn | bitsandbytes
    n_tensors: int
    n_weights: int
    n_modules: int  # how many of the tensors sit in real bitsandbytes modules
    bytes_before: int
    bytes_after: int


@contextmanager
def quantized(
    model: DualEncoder, scheme: str, settings: Quantization, edited: Collection[str]
) -> Iterator[QuantizedWeights]:
    """Hold the quantized weights in `model`, and restore the exact former bits (and modules) on leaving.

    `edited` names the parameters that the edit changed, for the base and control rows too, so that all rows
    cover the same tensors. Raises RunError when the tensors are not as many as the architecture has, or hold
    values that are not finite, ConfigError for an unknown scheme, UserError for a bitsandbytes scheme without
    the package.
    """
    _check_scheme(scheme)
    with ExitStack() as stack:
        names: list[str] = []
        replaced: list[str] = []
        live = parameters(model)
        if scheme != "none":
            names = quantized_names(
                model,
                edited,
                settings.scope,
                patch_conv=settings.patch_conv,
                projections=settings.projections,
            )
            if settings.bnb_modules and BACKENDS[scheme] == BNB:
                from razor_cli.weights.bitsandbytes import plain_linears, replaced_linears

                replaced = plain_linears(model.module, names)
            for name in names:
                check_finite(live[name], name)
            transposed = transposed_weights(model)
            modules = {f"{name}.weight" for name in replaced}
            in_place = [name for name in names if name not in modules]
            values = {
                name: _round(name, live[name], scheme, settings, transposed).values for name in in_place
            }
            stack.enter_context(swapped(model, values))
            if replaced:
                stack.enter_context(replaced_linears(model.module, replaced, scheme))
        yield QuantizedWeights(
            scheme=scheme,
            backend=BACKENDS[scheme],
            n_tensors=len(names),
            n_weights=sum(live[name].numel() for name in names),
            n_modules=len(replaced),
            bytes_before=sum(live[name].nbytes for name in names),
            bytes_after=sum(_stored_bytes(live[name], scheme, settings) for name in names),
        )


def _round(
    name: str, weight: Tensor, scheme: str, settings: Quantization, transposed: Collection[str]
) -> Rounded:
    if name not in transposed:
        return round_weight(weight, scheme, settings)
    codes, values = round_weight(weight.T, scheme, settings)
    return Rounded(codes.T, values.T)


def _stored_bytes(weight: Tensor, scheme: str, settings: Quantization) -> int:
    """Return the bytes of the codes with one fp32 scale per row, group or block, and int4's zero points of 4
    bits.
    """
    rows, count = weight.shape[0], weight.numel()
    if scheme in ("int8", "bnb_int8"):
        return count + 4 * rows
    if scheme == "int4":
        width = count // rows
        groups = rows * -(-width // (settings.group or width))
        return -(-count // 2) + 4 * groups + (0 if settings.symmetric else -(-groups // 2))
    return -(-count // 2) + 4 * -(-count // 64)
