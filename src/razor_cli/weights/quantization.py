"""Post-training quantization as a robustness test: does an edit survive 8- and 4-bit weights, or does the
concept come back?

Order: load, edit at full precision, apply the edit to a fresh model, quantize, evaluate. Nothing is ever
edited after quantization. `none`, `int8` and `int4` are this project's own round-to-nearest code, the others
are bitsandbytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from razor_cli.config.quantization import BACKENDS, BNB, Quantization, check_scheme
from razor_cli.contract.components import parameters, replaced
from razor_cli.contract.family import Family
from razor_cli.weights.rounding import Rounded, check_finite, rtn_asymmetric, rtn_symmetric
from razor_cli.weights.scope import quantized_names

DEFAULT = Quantization()


def round_weight(weight: Tensor, scheme: str, settings: Quantization = DEFAULT) -> Rounded:
    """Return codes and dequantized values of `weight` [out, ...] under a scheme other than `none`."""
    check_scheme(scheme)
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
    `Quantizable` names them.
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
    family: Family, scheme: str, settings: Quantization, edited: Collection[str]
) -> Iterator[QuantizedWeights]:
    """Hold the quantized weights in the model, and restore the exact former bits (and modules) on leaving.

    `edited` names the parameters that the edit changed, for the base and control rows too, so that all rows
    cover the same tensors. Raises RunError when the tensors are not as many as the architecture has, or hold
    values that are not finite, ConfigError for an unknown scheme, UserError for a bitsandbytes scheme without
    the package.
    """
    check_scheme(scheme)
    with ExitStack() as stack:
        names: list[str] = []
        in_modules: list[str] = []
        live = parameters(family)
        transposed = family.quantizable().transposed if scheme != "none" else frozenset()
        if scheme != "none":
            names = quantized_names(
                family,
                edited,
                settings.scope,
                patch_conv=settings.patch_conv,
                projections=settings.projections,
                vae=settings.vae,
            )
            if settings.bnb_modules and BACKENDS[scheme] == BNB:
                from razor_cli.weights.bitsandbytes import plain_linears, replaced_linears

                in_modules = plain_linears(family.module, names)
            for name in names:
                check_finite(live[name], name)
            modules = {f"{name}.weight" for name in in_modules}
            in_place = [name for name in names if name not in modules]

            def rounded(name: str, weight: Tensor) -> Tensor:
                return _round(name, weight, scheme, settings, transposed).values

            stack.enter_context(replaced(family, in_place, rounded))
            if in_modules:
                stack.enter_context(replaced_linears(family.module, in_modules, scheme))
        yield QuantizedWeights(
            scheme=scheme,
            backend=BACKENDS[scheme],
            n_tensors=len(names),
            n_weights=sum(live[name].numel() for name in names),
            n_modules=len(in_modules),
            bytes_before=sum(live[name].nbytes for name in names),
            bytes_after=sum(
                _stored_bytes(live[name].T if name in transposed else live[name], scheme, settings)
                for name in names
            ),
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
