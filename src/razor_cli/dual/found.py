"""A tower whose parts were found from its modules, as components. What no component owns is named with the
reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from razor_cli.contract.choices import Granularity
from razor_cli.contract.components import Component, Slice
from razor_cli.dual.components import DECODER, NOT_CANDIDATES, SHORT, tower_of
from razor_cli.dual.structure import Block, around, attentions_of, blocks_of, read_block
from razor_cli.dual.view import Tower
from razor_cli.errors import WeightsError

STEM = ("stem", "patch_embed")  # of a tower: what stands before its blocks, perhaps with blocks of its own
PROJECTIONS = ("proj", "text_projection")  # parameters of a tower itself, beside linear layers at its end
TABLES = (
    "embed",
    "token",
    "latent",
    "probe",
    "query",
)  # and such that are looked up or added, not multiplied


@dataclass(frozen=True, kw_only=True)
class FoundTower:
    """One tower: its blocks in order, those of its stem, the attention that pools, its projections."""

    tower: Tower
    root: str  # "visual.", "text."
    replays: bool  # whether a forward pass can be entered at a block
    body: tuple[Block, ...]
    stem: tuple[Block, ...]
    pool: tuple[Block, ...]
    projections: tuple[str, ...]
    tables: frozenset[str] = field(repr=False)  # embeddings and positions
    places: Mapping[str, int] = field(repr=False)  # parameter -> layer, as components count them

    @property
    def layers(self) -> int:
        """Return the number of blocks."""
        return len(self.body)

    @property
    def block_modules(self) -> tuple[str, ...]:
        """Return the names of the block modules, first to last."""
        return tuple(block.module for block in self.body)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of all modules that components are cut from: blocks of body and stem, pooling."""
        return tuple(block.module for block in (*self.stem, *self.body, *self.pool))

    def owns(self, name: str) -> bool:
        """Tell whether a parameter is of this tower."""
        return tower_of(name) is self.tower and not name.startswith(DECODER)

    def layer_of(self, name: str) -> int:
        """Return the block to begin from where a parameter changes; -1 before the first."""
        return self.places.get(name, -1) if self.replays else -1

    def matrices(self) -> list[str]:
        """Return the attention and MLP matrices of all blocks and of the pooling."""
        return [name for block in (*self.stem, *self.body, *self.pool) for name in block.linear]

    def listed(
        self, params: Mapping[str, Tensor], granularity: Granularity, include_projections: bool
    ) -> Iterator[Component]:
        """Yield disjoint components in the order of the tower."""
        if granularity is Granularity.TENSOR:
            yield from self._tensors(params, include_projections)
            return
        short = SHORT.get(self.tower, self.tower)
        for kind, blocks in (("stem", self.stem), ("", self.body), ("pool", self.pool)):
            for number, block in enumerate(blocks):
                single = kind == "pool" and len(blocks) == 1
                stem = f"{short}.{kind}" if single else f"{short}.{kind}{number}"
                layer = {"stem": -1, "": number, "pool": self.layers}[kind] if self.replays else -1
                yield from _cut(block, stem, self.tower, layer, granularity)
        if include_projections:
            for name in self.projections:
                yield Component(name, "tensor", self.tower, self.layer_of(name), (Slice(name),))

    def _tensors(self, params: Mapping[str, Tensor], include_projections: bool) -> Iterator[Component]:
        for name, value in params.items():
            skipped = value.ndim == 0 or name in self.tables or any(word in name for word in NOT_CANDIDATES)
            if skipped or not self.owns(name) or (name in self.projections and not include_projections):
                continue
            yield Component(name, "tensor", self.tower, self.layer_of(name), (Slice(name),))

    def groups(self) -> Iterator[tuple[str, ...]]:
        """Yield the matrices of a block that move together: of q, k and v, of the MLP, convolutions."""
        for block in (*self.stem, *self.body, *self.pool):
            if block.attention is not None:
                yield tuple(n for n, _ in block.attention.inputs if "bias" not in n)
            yield tuple(n for n in block.mlp if not n.endswith("bias"))
            yield tuple(n for n in block.conv if not n.endswith("bias"))


def _cut(block: Block, stem: str, tower: Tower, layer: int, granularity: Granularity) -> Iterator[Component]:
    attention, mlp, conv = block.attention, block.mlp, block.conv
    if granularity is Granularity.BLOCK:
        names = (*(attention.params if attention else ()), *mlp, *conv)
        yield Component(f"{stem}.block", "block", tower, layer, tuple(map(Slice, names)))
        return
    if attention and granularity is Granularity.HEAD_MLP:
        for head in range(attention.heads):
            yield Component(f"{stem}.head{head}", "head", tower, layer, attention.head(head))
    elif attention:
        yield Component(f"{stem}.attn", "attn", tower, layer, tuple(map(Slice, attention.params)))
    for kind, names in (("mlp", mlp), ("conv", conv)):
        if names:
            yield Component(f"{stem}.{kind}", kind, tower, layer, tuple(map(Slice, names)))


def find_tower(module: nn.Module, tower: Tower, root: str, *, replays: bool = True) -> FoundTower:
    """Return the parts of the tower below `root` ("visual."). Raises WeightsError for one without blocks, and
    for attention whose heads are not slices of its matrices.
    """
    top = module.get_submodule(root.rstrip("."))
    found = blocks_of(top)
    if not found:
        raise WeightsError(f"the {tower} tower has no blocks that components could be cut from")
    before = {name for name in found if any(f".{part}." in f".{name}" for part in STEM)}
    body = {name: block for name, block in found.items() if name not in before}
    inside = tuple(f"{name}." for name in found)
    pools = {n: m for n, m in attentions_of(top).items() if not f"{n}.".startswith(inside)}
    places, projections = {}, []
    for name, passed in around(top, body):
        full = root + name
        layer = passed - 1 if name.startswith(tuple(f"{b}." for b in body)) else passed or -1
        is_projection = _is_projection(top, name, passed == len(body), (*inside, *(f"{p}." for p in pools)))
        places[full] = len(body) if is_projection else layer
        if is_projection:
            projections.append(full)
    return FoundTower(
        tower=tower,
        root=root,
        replays=replays,
        body=tuple(read_block(block, root + name) for name, block in body.items()),
        stem=tuple(read_block(found[name], root + name) for name in found if name in before),
        pool=tuple(read_block(pool, root + name) for name, pool in pools.items()),
        projections=tuple(projections),
        tables=frozenset(root + name for name, _ in around(top, body) if _is_table(top, name)),
        places=places,
    )


def _is_projection(top: nn.Module, name: str, is_behind: bool, inside: tuple[str, ...]) -> bool:
    """Tell whether a parameter is the tower's last matrix: a linear layer behind all blocks, or a parameter
    of the tower itself that is called so.
    """
    if name in PROJECTIONS:
        return True
    owner, _, own = name.rpartition(".")
    linear = isinstance(top.get_submodule(owner), nn.Linear)
    return linear and own == "weight" and is_behind and not name.startswith(inside)


def _is_table(top: nn.Module, name: str) -> bool:
    """Tell whether a parameter is an embedding table, or added: positions, class tokens, queries."""
    owner, _, own = name.rpartition(".")
    return isinstance(top.get_submodule(owner), nn.Embedding) or any(word in own for word in TABLES)
