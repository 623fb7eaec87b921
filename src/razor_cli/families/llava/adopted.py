"""A patch of the CLIP that an image tower comes from, as one of the LLaVA that contains the tower."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from razor_cli.errors import PatchError
from razor_cli.families.clip.files import WITHOUT_TOWER
from razor_cli.families.llava.files import CONFIG
from razor_cli.families.llava.folder import paired_state
from razor_cli.families.llava.kinds import deepest
from razor_cli.families.llava.names import BLOCKS, INSIDE, TOWER
from razor_cli.families.llava.tower import same_values
from razor_cli.weights.checkpoint import (
    combined_hash,
    dtype_name,
    read_state,
    tensor_hash,
    tensor_hashes,
)
from razor_cli.weights.contained import Fitted
from razor_cli.weights.files import is_finite
from razor_cli.weights.json_file import read_json
from razor_cli.weights.misfits import misfits
from razor_cli.weights.parted import BESIDE, beside, bound
from razor_cli.weights.patch_format import PatchHeader, TensorEntry

# What the image tower's tensors are called by open_clip, and by transformers.
OPEN_CLIP = {
    r"class_embedding": "embeddings.class_embedding",
    r"positional_embedding": "embeddings.position_embedding.weight",
    r"conv1\.weight": "embeddings.patch_embedding.weight",
    r"ln_pre\.(\w+)": r"pre_layrnorm.\1",
    r"ln_post\.(\w+)": r"post_layernorm.\1",
    r"transformer\.resblocks\.(\d+)\.ln_([12])\.(\w+)": r"encoder.layers.\1.layer_norm\2.\3",
    r"transformer\.resblocks\.(\d+)\.attn\.out_proj\.(\w+)": r"encoder.layers.\1.self_attn.out_proj.\2",
    r"transformer\.resblocks\.(\d+)\.mlp\.c_fc\.(\w+)": r"encoder.layers.\1.mlp.fc1.\2",
    r"transformer\.resblocks\.(\d+)\.mlp\.c_proj\.(\w+)": r"encoder.layers.\1.mlp.fc2.\2",
}
JOINT = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(\w+)")  # queries, keys and values in one
VISUAL = "visual."
ONLY = "method.towers=vision method.include_projections=false, and method.exclude=[logit_scale] of a training"


def adopted(
    base: Path,
    state: Mapping[str, Tensor],
    header: PatchHeader,
    values: Mapping[str, Tensor],
    companion: Path | None,
) -> Fitted:
    """Return a CLIP's patch as one of the LLaVA in the folder `base`, whose tensors are `state`. Raises
    PatchError where its image tower is another one than the CLIP's, or the patch changes more than that.
    """
    clip = _companion(base, companion)
    if problems := misfits(header, clip):
        raise PatchError(
            "the patch belongs neither to these weights nor to the CLIP beside them",
            allowed=f"a patch of {base.name}, or of the CLIP that its image tower comes from",
            found="; ".join(problems[:2]),
            fix="--companion WEIGHTS of the CLIP that the patch was made for",
        )
    _refuse_other_tower(state, {n: v for k, t in clip.items() for n, v in renamed(k, t)})
    old, new = _changed(header, clip, values)
    cast = {name: value.to(state[name].dtype).contiguous() for name, value in new.items()}
    if bad := next((n for n, v in cast.items() if not is_finite(v)), None):
        raise PatchError(
            f"the patch's value of {bad} is too large for the dtype of the LLaVA's files",
            found=dtype_name(state[bad]),
        )
    moved = {n: v for n, v in cast.items() if tensor_hash(v) != tensor_hash(state[n])}
    dead = _dead(base, moved)
    if len(dead) == len(moved):
        raise PatchError(
            "the patch would change no answer of the LLaVA",
            allowed="a change of a layer that its projector reads",
            found=f"it changes {', '.join(dead[:3]) or 'nothing but rounding'}",
            fix="compute the edit on the LLaVA itself: model.weights=FOLDER",
        )
    return Fitted(header=_header(header, state, moved), values=moved, notes=_notes(old, moved, dead, state))


def renamed(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield what a CLIP's tensor is in a LLaVA, by its name there; nothing for one of no image tower."""
    if name.startswith(INSIDE):
        yield TOWER + name.removeprefix(INSIDE), value
    elif name.startswith(VISUAL):
        inner = name.removeprefix(VISUAL)
        if joint := JOINT.fullmatch(inner):
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                yield f"{BLOCKS}{joint[1]}.self_attn.{letter}_proj.{joint[2]}", part
        for form, theirs in OPEN_CLIP.items():
            if found := re.fullmatch(form, inner):
                yield TOWER + found.expand(theirs), value


def _companion(base: Path, companion: Path | None) -> Mapping[str, Tensor]:
    """Return the weights of the CLIP: those given, or those that lie beside the LLaVA's folder."""
    from razor_cli.families.llava.spec import BESIDE as PAIRED

    place = base.with_name(base.name + PAIRED) if companion is None else companion
    if (place / WITHOUT_TOWER).is_file():
        return paired_state(place, base)
    if companion is None and not place.is_dir():
        raise PatchError(
            "the patch was made for other weights, and the CLIP that the image tower comes from is not at "
            "hand to tell whether it fits",
            allowed=f"a patch of {base.name}; or one of its CLIP, with that CLIP",
            found=f"no folder {place.name} beside it",
            fix="--companion WEIGHTS: the CLIP that the patch was made for, a file or a folder",
        )
    return read_state(place)


def _refuse_other_tower(state: Mapping[str, Tensor], tower: Mapping[str, Tensor]) -> None:
    """Raise PatchError for the first tensor of the image tower that the CLIP does not have just so: to the
    bit, where one of the files is coarser as far as that one tells.
    """
    for name in state:
        if not name.startswith(TOWER):
            continue
        if not (why := _difference(state[name], tower.get(name))):
            continue
        raise PatchError(
            "the image tower is not that of the CLIP that the patch was made for",
            allowed="the same tensors, to the bit",
            found=f"{name}: {why}",
            fix="compute the edit on the LLaVA itself: razor-run model=llava model.weights=FOLDER",
        )


def _difference(mine: Tensor, theirs: Tensor | None) -> str:
    """Return how a tensor differs from the CLIP's, nothing where it does not."""
    if theirs is None or theirs.shape != mine.shape:
        return "none" if theirs is None else f"another shape: {list(theirs.shape)}"
    if mine.dtype == theirs.dtype:
        same = tensor_hash(mine) == tensor_hash(theirs)
    else:
        same = same_values(mine.float(), theirs.float())
    far = float((mine.double() - theirs.double()).abs().max())
    return "" if same else f"other values, by up to {far:.3g}"


def _changed(
    header: PatchHeader, clip: Mapping[str, Tensor], values: Mapping[str, Tensor]
) -> tuple[list[str], dict[str, Tensor]]:
    """Return the names of what a patch changes, and the new values by the LLaVA's names, without those parts
    of a tensor that stay.
    """
    new: dict[str, Tensor] = {}
    for name in header.tensors:
        before = dict(renamed(name, clip[name]))
        if not before:
            raise PatchError(
                "the patch changes a tensor that is none of the image tower, which is all a LLaVA has of it",
                allowed=f"tensors of the image tower: {INSIDE}…, {VISUAL}…",
                found=name,
                fix=f"compute the edit of the CLIP with {ONLY}",
            )
        for theirs, value in renamed(name, values[name]):
            if tensor_hash(value) != tensor_hash(before[theirs]):
                new[theirs] = value
    return list(header.tensors), new


def _dead(base: Path, names: Mapping[str, Tensor]) -> list[str]:
    """Return which of these tensors reach no answer: they lie behind the state that the projector reads."""
    config = read_json(base / CONFIG)
    layers = config["vision_config"].get("num_hidden_layers", 24)
    reach = deepest(config.get("vision_feature_layer", -2), layers)
    return [
        n
        for n in names
        if "post_layernorm" in n
        or (n.startswith(BLOCKS) and int(n.removeprefix(BLOCKS).split(".", 1)[0]) >= reach)
    ]


def _header(header: PatchHeader, state: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> PatchHeader:
    """Return the header of the same patch for other weights."""
    before = tensor_hashes(bound(state, values))
    entries = {
        name: TensorEntry(
            dtype=dtype_name(value),
            shape=tuple(value.shape),
            base_sha256=before[name],
            new_sha256=tensor_hash(value),
        )
        for name, value in sorted(values.items())
    }
    after = {name: entry.new_sha256 for name, entry in entries.items()}
    untouched = beside(state, values)
    own = {k: v for k, v in header.settings.items() if k != BESIDE}
    return header.model_copy(
        update={
            "settings": own | ({BESIDE: untouched} if untouched else {}),
            "base_hash": combined_hash(before),
            "new_hash": combined_hash(before | after),
            "tensors": entries,
        }
    )


def _notes(
    old: list[str], moved: Mapping[str, Tensor], dead: list[str], state: Mapping[str, Tensor]
) -> tuple[str, ...]:
    dtypes = ", ".join(sorted({dtype_name(state[n]) for n in moved}))
    notes = [
        f"the patch is the CLIP's; the image towers are the same: {len(moved)} tensors of the LLaVA change "
        f"({len(old)} of the CLIP), in {dtypes}"
    ]
    if dead:
        notes.append(f"{len(dead)} of them reach no answer: {', '.join(dead[:3])}")
    return tuple(notes)
