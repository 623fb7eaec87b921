"""Cut the towers of a CLIP model into components, from the parameter names of open_clip and of transformers.
Towers of another build are cut by what their modules are (dual/found.py).

Head h of width d, heads H, dh = d/H owns the q, k and v rows h*dh:(h+1)*dh (weights and biases) and the same
columns of the output projection; the output bias is shared by all heads and belongs to none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice
from razor_cli.dual.view import Tower

# SLUG's candidate rule: whole tensors, but none whose name contains one of these (SLUG code,
# unlearn_slug.py).
NOT_CANDIDATES = ("bias", "logit_scale", "position", "embedding")
DECODER = "text_decoder."  # of CoCa: it writes captions, and no embedding goes through it
SHORT: Mapping[str, str] = {Tower.VISION: "visual"}  # towers whose components are called otherwise


@dataclass(frozen=True, kw_only=True)
class BlockNames:
    """How one library names the tensors of a transformer block."""

    fused_qkv: bool  # one in_proj tensor with 3d rows, or three projections
    qkv: tuple[str, ...]
    out: str
    mlp: tuple[str, ...]


OPEN_CLIP = BlockNames(
    fused_qkv=True, qkv=("attn.in_proj_",), out="attn.out_proj", mlp=("mlp.c_fc", "mlp.c_proj")
)
HUGGING_FACE = BlockNames(
    fused_qkv=False,
    qkv=("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
    out="self_attn.out_proj",
    mlp=("mlp.fc1", "mlp.fc2"),
)


class Layout(Protocol):
    """Where one tower's parameters are, and how it is cut."""

    @property
    def tower(self) -> str:
        """Return what the tower is called: vision, text."""
        ...

    @property
    def layers(self) -> int:
        """Return the number of blocks that a forward pass can be entered at."""
        ...

    @property
    def block_modules(self) -> Sequence[str]:
        """Return the names of those blocks, first to last."""
        ...

    @property
    def parts(self) -> Sequence[str]:
        """Return the names of all modules that components are cut from."""
        ...

    @property
    def projections(self) -> Sequence[str]:
        """Return the tower's last matrices, which are components only where that is asked for."""
        ...

    def owns(self, name: str) -> bool:
        """Tell whether a parameter is of this tower."""
        ...

    def layer_of(self, name: str) -> int:
        """Return the block a parameter is in; -1 before the first, the number of blocks after the last."""
        ...

    def matrices(self) -> list[str]:
        """Return the attention and MLP weights: what quantization covers."""
        ...

    def groups(self) -> Iterator[Sequence[str]]:
        """Yield the weights that move together: q, k and v, both matrices of an MLP."""
        ...

    def listed(
        self, params: Mapping[str, Tensor], granularity: Granularity, include_projections: bool
    ) -> Iterator[Component]:
        """Yield disjoint components in architecture order."""
        ...


@dataclass(frozen=True, kw_only=True)
class TowerLayout:
    """Where one tower's parameters are: prefix of its blocks, their number, width and heads, and its
    projection.
    """

    tower: str  # vision, text; of several text towers each has a name of its own
    prefix: str  # "visual.transformer.resblocks."
    layers: int
    width: int
    heads: int
    projection: str | None
    names: BlockNames
    root: str = ""  # what begins all names of the tower; empty: `tower_of` tells it
    skipped: tuple[str, ...] = NOT_CANDIDATES

    def owns(self, name: str) -> bool:
        """Tell whether a parameter is of this tower."""
        return (
            name.startswith(self.root)
            if self.root
            else tower_of(name) == self.tower and not name.startswith(DECODER)
        )

    def block(self, layer: int) -> str:
        """Return the name prefix of one block."""
        return f"{self.prefix}{layer}."

    def weights(self, layer: int) -> list[str]:
        """Return the attention and MLP weight matrices of one block."""
        names = self.names
        return [
            self.block(layer) + n
            for n in (
                *(q + "weight" for q in names.qkv),
                names.out + ".weight",
                *(m + ".weight" for m in names.mlp),
            )
        ]

    @property
    def projections(self) -> list[str]:
        """Return the projection, where there is one."""
        return [self.projection] if self.projection else []

    @property
    def block_modules(self) -> list[str]:
        """Return the names of the blocks, first to last."""
        return [f"{self.prefix}{layer}" for layer in range(self.layers)]

    @property
    def parts(self) -> list[str]:
        """Return the names of all modules that components are cut from: the blocks."""
        return self.block_modules

    def layer_of(self, name: str) -> int:
        """Return the block a parameter is in; -1 before the first, the number of blocks after the last."""
        return layer_of(name, self)

    def matrices(self) -> list[str]:
        """Return the attention and MLP weights of all blocks."""
        return [w for layer in range(self.layers) for w in self.weights(layer)]

    def groups(self) -> Iterator[list[str]]:
        """Yield the weights of a block that move together: q, k and v, both matrices of its MLP."""
        for layer in range(self.layers):
            yield [f"{self.block(layer)}{q}weight" for q in self.names.qkv]
            yield [f"{self.block(layer)}{m}.weight" for m in self.names.mlp]

    def listed(
        self, params: Mapping[str, Tensor], granularity: Granularity, include_projections: bool
    ) -> Iterator[Component]:
        """Yield disjoint components in architecture order."""
        if granularity is Granularity.TENSOR:
            yield from _tensors(self, params, include_projections)
            return
        for layer in range(self.layers):
            yield from _block_components(self, layer, granularity)
        if include_projections:
            for last in self.projections:
                yield Component(last, "tensor", self.tower, self.layers, (Slice(last),))


def head_slices(layout: TowerLayout, layer: int, head: int) -> tuple[Slice, ...]:
    """Return the slices that one attention head owns."""
    d, dh, block = layout.width, layout.width // layout.heads, layout.block(layer)
    start, stop = head * dh, (head + 1) * dh
    slices = []
    for kind in ("weight", "bias"):
        for name in layout.names.qkv:
            for part in range(3) if layout.names.fused_qkv else (0,):
                slices.append(Slice(block + name + kind, 0, part * d + start, part * d + stop))
    return (*slices, Slice(f"{block}{layout.names.out}.weight", 1, start, stop))


def attention_slices(layout: TowerLayout, layer: int) -> tuple[Slice, ...]:
    """Return whole attention tensors of one block, output bias included."""
    block, names = layout.block(layer), layout.names
    params = [block + q + kind for q in names.qkv for kind in ("weight", "bias")]
    return tuple(Slice(p) for p in (*params, f"{block}{names.out}.weight", f"{block}{names.out}.bias"))


def mlp_slices(layout: TowerLayout, layer: int) -> tuple[Slice, ...]:
    """Return whole MLP tensors of one block."""
    return tuple(
        Slice(f"{layout.block(layer)}{m}.{kind}") for m in layout.names.mlp for kind in ("weight", "bias")
    )


def list_components(
    layouts: Sequence[Layout],
    params: Mapping[str, Tensor],
    granularity: Granularity,
    towers: Towers,
    include_projections: bool,
) -> list[Component]:
    """Return disjoint components in architecture order, vision first."""
    found: list[Component] = []
    for layout in (x for x in layouts if towers.include(x.tower)):
        found += layout.listed(params, granularity, include_projections)
    return found


def _block_components(layout: TowerLayout, layer: int, granularity: Granularity) -> Iterator[Component]:
    stem, tower = f"{SHORT.get(layout.tower, layout.tower)}.{layer}", layout.tower
    mlp = mlp_slices(layout, layer)
    if granularity is Granularity.BLOCK:
        yield Component(f"{stem}.block", "block", tower, layer, attention_slices(layout, layer) + mlp)
        return
    if granularity is Granularity.HEAD_MLP:
        for head in range(layout.heads):
            yield Component(f"{stem}.head{head}", "head", tower, layer, head_slices(layout, layer, head))
    else:
        yield Component(f"{stem}.attn", "attn", tower, layer, attention_slices(layout, layer))
    yield Component(f"{stem}.mlp", "mlp", tower, layer, mlp)


def _tensors(
    layout: TowerLayout, params: Mapping[str, Tensor], include_projections: bool
) -> Iterator[Component]:
    for name, value in params.items():
        if value.ndim == 0 or any(word in name for word in layout.skipped) or not layout.owns(name):
            continue
        if name == layout.projection and not include_projections:
            continue
        yield Component(name, "tensor", layout.tower, layer_of(name, layout), (Slice(name),))


def every_tensor(layouts: Sequence[Layout], params: Mapping[str, Tensor]) -> list[Component]:
    """Return one component for each parameter, named like it: what methods that train whole towers change.

    The logit scale and its bias belong to neither tower; they are listed behind the text tower.
    """
    by_tower = {layout.tower: layout for layout in layouts}
    return [
        Component(
            n,
            "tensor",
            tower_of(n),
            by_tower[tower_of(n)].layer_of(n) if n not in ("logit_scale", "logit_bias") else -1,
            (Slice(n),),
        )
        for n in params
    ]


def tower_of(name: str) -> Tower:
    """Return the tower of a parameter: vision if its name contains `visual` or `vision`, else text."""
    return Tower.VISION if "visual" in name or "vision" in name else Tower.TEXT


def layer_of(name: str, layout: TowerLayout) -> int:
    """Return the block a parameter is in; -1 before the first block, the number of blocks after the last."""
    if name.startswith(layout.prefix):
        return int(name[len(layout.prefix) :].split(".", maxsplit=1)[0])
    after = ("ln_post", "ln_final", "post_layernorm", "final_layer_norm", "proj")
    before = ("conv1", "ln_pre", "pre_layrnorm", "patch_embedding")
    is_after = any(word in name for word in after) and not any(word in name for word in before)
    return layout.layers if is_after else -1


def siblings_of(component: Component, every: list[Component], layouts: Sequence[Layout]) -> list[Component]:
    """Return the weights of a block that move together with one: q, k and v, or both matrices of an MLP, in
    the order of `every`; the component alone where it is neither.
    """
    for layout in layouts:
        if layout.tower == component.tower:
            for group in map(set, layout.groups()):
                if component.name in group:
                    return [c for c in every if c.name in group]
    return [component]
