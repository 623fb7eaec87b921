"""The bitsandbytes backend: LLM.int8, NF4 and FP4, on weights in place or as real modules. Imported late.

Dettmers et al., NeurIPS 2022 (LLM.int8) and 2023 (QLoRA, NF4). Released evaluations of quantized unlearning
use FP4 with blocks of 64, no double quantization and an outlier threshold of 6.0; so does this file.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from razor_cli.config.quantization import require_bitsandbytes
from razor_cli.errors import RunError
from razor_cli.weights.rounding import Rounded, check_finite

BLOCK = 64  # weights that share one absmax, 4-bit schemes
OUTLIER_THRESHOLD = 6.0  # activation columns beyond it stay in half precision, int8 modules


def round_bnb(weight: Tensor, scheme: str) -> Rounded:
    """Quantize and dequantize `weight` [out, ...] with the library's own functions.

    `scheme` is bnb_int8 (one absmax per row, from half precision as Linear8bitLt does), nf4 or fp4 (blocks of
    64 along the flattened weight). Raises UserError without bitsandbytes, RunError for values that are not
    finite.
    """
    functional = require_bitsandbytes().functional
    check_finite(weight)
    if scheme == "bnb_int8":
        rows = weight.detach().reshape(weight.shape[0], -1).half().contiguous()
        codes, scale, _ = functional.int8_vectorwise_quant(rows)
        values = functional.int8_vectorwise_dequant(codes, scale)
    else:
        # Blocks run along the flattened weight, so zeros after its end change no block's absmax. Without them
        # an odd number of columns takes the library's slow path, which compiles itself on first use.
        flat = weight.detach().float().flatten()
        blocks = F.pad(flat, (0, -flat.numel() % BLOCK)).reshape(-1, BLOCK)
        packed, state = functional.quantize_4bit(
            blocks, blocksize=BLOCK, compress_statistics=False, quant_type=scheme
        )
        values = functional.dequantize_4bit(packed, state).flatten()[: weight.numel()]
        pairs = packed.flatten()
        codes = torch.stack([pairs >> 4, pairs & 15], dim=1).flatten()[: weight.numel()]
    check_finite(values, f"the weight after {scheme}")  # beyond the range of half precision
    return Rounded(codes.reshape(weight.shape).to(torch.int32), values.reshape(weight.shape).to(weight.dtype))


def plain_linears(root: nn.Module, weights: Collection[str]) -> list[str]:
    """Return the names of the modules that own one of `weights` and are nn.Linear, children of
    MultiheadAttention excluded.

    The functional attention reads `out_proj.weight` itself, so that child is excluded by its parent's type: a
    model may give another class of attention a plain Linear of the same name, which can be replaced.
    """
    owners = (name.rpartition(".")[0] for name in weights if name.endswith(".weight"))
    return [
        name
        for name in owners
        if type(root.get_submodule(name)) is nn.Linear and not _inside_attention(root, name)
    ]


def naive_linear_walk_check(root: nn.Module, names: Collection[str]) -> None:
    """Refuse to replace a Linear whose parent is nn.MultiheadAttention. Raises RunError.

    A walk over every nn.Linear meets `out_proj`, a subclass of it; replaced, it fails only at the first
    forward pass, with "mat2 must have the same dtype".
    """
    inside = [name for name in names if _inside_attention(root, name)]
    if inside:
        raise RunError(
            f"{inside[0]} belongs to nn.MultiheadAttention and cannot become a bitsandbytes module",
            allowed="plain nn.Linear layers outside nn.MultiheadAttention",
            found=f"{len(inside)} of {len(names)} layers are children of nn.MultiheadAttention",
            fix="quantize their weights in place (plain_linears leaves them out)",
        )


@contextmanager
def replaced_linears(root: nn.Module, names: Collection[str], scheme: str) -> Iterator[None]:
    """Hold bitsandbytes modules in place of the named nn.Linear, and put the original modules back on
    leaving.
    """
    naive_linear_walk_check(root, names)
    originals = {name: root.get_submodule(name) for name in names}
    layers = {
        name: quantized_linear(linear, scheme)
        for name, linear in originals.items()
        if isinstance(linear, nn.Linear)
    }
    if missing := [name for name in names if name not in layers]:
        raise RunError(f"{missing[0]} is no nn.Linear", found=type(originals[missing[0]]).__name__)
    try:
        for name, layer in layers.items():
            layer._forward_hooks.update(originals[name]._forward_hooks)  # an adapter's, for example
            _put(root, name, layer)
        with without_cast_warnings():
            yield
    finally:
        for name, linear in originals.items():
            _put(root, name, linear)


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)


def _inside_attention(root: nn.Module, name: str) -> bool:
    return isinstance(root.get_submodule(name.rpartition(".")[0]), nn.MultiheadAttention)


def quantized_linear(linear: nn.Linear, scheme: str) -> nn.Module:
    """Return a quantized copy of `linear` in evaluation mode, on the same device."""
    library = require_bitsandbytes().nn
    device = linear.weight.device
    shape, bias = (linear.in_features, linear.out_features), linear.bias is not None
    with torch.random.fork_rng(devices=[]):  # the constructors draw initial weights
        if scheme == "bnb_int8":
            layer = library.Linear8bitLt(
                *shape, bias=bias, has_fp16_weights=False, threshold=OUTLIER_THRESHOLD
            )
        else:
            compute = torch.bfloat16 if device.type == "cuda" else torch.float32
            layer = library.Linear4bit(
                *shape, bias=bias, compute_dtype=compute, compress_statistics=False, quant_type=scheme
            )
    layer.load_state_dict(linear.state_dict())
    # The move to the device quantizes, also to "cpu". Evaluation mode matters: in training mode the int8
    # layer on a CPU multiplies dequantized weights and skips the activations' quantization and the outlier
    # rule.
    return layer.to(device).eval()


@contextmanager
def without_cast_warnings() -> Iterator[None]:
    """Silence the int8 layer's warning at every call that its input is not half precision."""
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
