"""The blocks of a tower, found from its modules: which library built it does not matter.

A block is an item of a sequence whose class calls itself one. In it, attention is a module that counts heads
and has input matrices and one output matrix whose sizes go with that count; other linear layers are its MLP;
convolutions outside of that MLP are its convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from razor_cli.contract.components import Slice
from razor_cli.errors import WeightsError

BLOCK = re.compile(r"Block|Bottleneck|Layer$")
NO_BLOCKS = (
    "MobileOneBlock",
)  # one reparametrized convolution: a part of blocks, of stems and of what lies between
COUNTS = ("num_heads", "num_attention_heads", "n_heads")
# Input matrices of an attention by their names inside it, with how many of q, k and v lie in them one upon
# another.
INPUTS: Mapping[str, int] = {
    "in_proj_weight": 3,
    "in_proj_bias": 3,
    "qkv.weight": 3,
    "qkv.bias": 3,
    "kv.weight": 2,
    "kv.bias": 2,
    **{f"{x}_proj_weight": 1 for x in "qkv"},
    **{f"{x}{stem}.{kind}": 1 for x in "qkv" for stem in ("", "_proj") for kind in ("weight", "bias")},
    **{f"{x}_bias": 1 for x in "qkv"},
    **{f"self.{x}.{kind}": 1 for x in ("query", "key", "value") for kind in ("weight", "bias")},
}
OUTPUTS = ("out_proj.weight", "proj.weight", "c_proj.weight", "o.weight", "output.dense.weight")


@dataclass(frozen=True, kw_only=True)
class Attention:
    """One attention: `inputs` are (parameter, parts) whose rows are `parts` times all heads, the output
    matrix has a column for each row of one part, `shared` belongs to no head.
    """

    heads: int
    width: int  # rows of one part: heads times their width
    inputs: tuple[tuple[str, int], ...]
    output: str
    shared: tuple[str, ...]

    def head(self, number: int) -> tuple[Slice, ...]:
        """Return the slices that one head owns."""
        size = self.width // self.heads
        start, stop = number * size, (number + 1) * size
        rows = [
            Slice(name, 0, part * self.width + start, part * self.width + stop)
            for name, parts in self.inputs
            for part in range(parts)
        ]
        return (*rows, Slice(self.output, 1, start, stop))

    @property
    def params(self) -> tuple[str, ...]:
        """Return the names of all its parameters."""
        return (*(name for name, _ in self.inputs), self.output, *self.shared)


@dataclass(frozen=True, kw_only=True)
class Block:
    """The parts of one block by full parameter names, norms and scales left out."""

    module: str  # "visual.trunk.blocks.0"
    attention: Attention | None
    mlp: tuple[str, ...]
    conv: tuple[str, ...]
    linear: tuple[str, ...]  # matrices of linear layers in it, those of the attention included


def blocks_of(root: nn.Module) -> dict[str, nn.Module]:
    """Return the blocks of a tower by their names inside it, in the order in which they were built."""
    found: dict[str, nn.Module] = {}
    modules = dict(root.named_modules())
    for name, module in modules.items():
        if any(name.startswith(f"{outer}.") for outer in found):
            continue
        kind = type(module).__name__
        in_sequence = isinstance(modules.get(name.rpartition(".")[0]), nn.Sequential | nn.ModuleList)
        if in_sequence and BLOCK.search(kind) and kind not in NO_BLOCKS:
            found[name] = module
    return found


def attentions_of(root: nn.Module) -> dict[str, nn.Module]:
    """Return the attention modules below (or at) a module by their names inside it, outermost only."""
    found: dict[str, nn.Module] = {}
    for name, module in root.named_modules():
        if any(name.startswith(f"{outer}.") if outer else True for outer in found):
            continue
        names = {n for n, _ in module.named_parameters()}
        if heads_of(module) and names & INPUTS.keys() and names & set(OUTPUTS):
            found[name] = module
    return found


def heads_of(module: nn.Module) -> int:
    """Return how many heads a module says it has; 0 where it counts none."""
    for owner in (module, getattr(module, "self", None)):
        for key in COUNTS:
            if isinstance(found := getattr(owner, key, None), int):
                return found
    return 0


def read_block(block: nn.Module, name: str) -> Block:
    """Return the parts of a block whose full name is `name`. Raises WeightsError for more than one attention
    in it, or one whose heads are not slices of its matrices.
    """
    inside = attentions_of(block)
    if len(inside) > 1:
        raise _unreadable(f"{name}: more than one attention", ", ".join(inside))
    place, attention = next(iter(inside.items()), ("", None))
    stem = f"{place}." if place else ""
    read = None if attention is None else read_attention(attention, f"{name}.{stem}")
    mlp: list[str] = []
    conv: list[str] = []
    linear: list[str] = []
    for path, module in block.named_modules():
        kind = _kind(block, path, module)
        if kind is None:
            continue
        names = [f"{name}.{path}.{n}" for n, _ in module.named_parameters(recurse=False)]
        if isinstance(module, nn.Linear):
            linear.append(names[0])
        if read is None or not set(names) & set(read.params):
            (mlp if kind == "mlp" else conv).extend(names)
    if read is not None:
        own = [n for n, _ in read.inputs if n.endswith("_weight")]  # parameters of the attention itself
        linear = [*(n for n in own if n not in linear), *linear]
    return Block(module=name, attention=read, mlp=tuple(mlp), conv=tuple(conv), linear=tuple(linear))


def _kind(block: nn.Module, path: str, module: nn.Module) -> str | None:
    """Return mlp or conv for a layer with weights of its own, None for other modules. A convolution is of an
    MLP where a module around it calls itself one.
    """
    if isinstance(module, nn.Linear):
        return "mlp"
    if not isinstance(module, nn.Conv2d):
        return None
    parts = path.split(".")
    around = [type(block.get_submodule(".".join(parts[:i]))).__name__ for i in range(1, len(parts))]
    return "mlp" if any("mlp" in kind.lower() for kind in around) else "conv"


def read_attention(attention: nn.Module, stem: str) -> Attention:
    """Return the parts of an attention by full names; WeightsError where heads are no slices."""
    params = dict(attention.named_parameters())
    heads = heads_of(attention)
    output = next(n for n in OUTPUTS if n in params)
    width = params[output].shape[1]
    inputs = [(n, INPUTS[n]) for n in params if n in INPUTS]
    inputs.sort(key=lambda x: "bias" in x[0])  # weights first, in the order of the module
    wrong = [n for n, parts in inputs if params[n].shape[0] != parts * width]
    if wrong or width % heads:
        raise _unreadable(f"{stem}{(*wrong, output)[0]}: no slices of {heads} heads", str(width))
    used = {n for n, _ in inputs} | {output}
    layers = [
        f"{path}.{own}"
        for path, module in attention.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not path.startswith("mlp.")
        for own, _ in module.named_parameters(recurse=False)
    ]
    return Attention(
        heads=heads,
        width=width,
        inputs=tuple((stem + n, parts) for n, parts in inputs),
        output=stem + output,
        shared=tuple(stem + n for n in layers if n not in used),
    )


def _unreadable(what: str, found: str) -> WeightsError:
    return WeightsError(
        f"the model's components cannot be told: {what}",
        found=found,
        fix="choose an architecture of docs/architectures.md",
    )


def around(root: nn.Module, blocks: Mapping[str, nn.Module]) -> Iterator[tuple[str, int]]:
    """Yield every parameter of a tower with how many of `blocks` begin before it or around it, in the order
    in which modules were built.
    """
    starts = list(blocks)
    passed = 0
    for name, module in root.named_modules():
        if name in blocks:
            passed = starts.index(name) + 1
        for own, _ in module.named_parameters(recurse=False):
            yield f"{name}.{own}" if name else own, passed
