"""Checks of a checkpoint by itself: architecture, activation function, counts, scale and norms. No picture is
needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from razor_cli.acceptance.checks import Check, Say, judged, skipped
from razor_cli.acceptance.clip.known import Norm, known_architecture
from razor_cli.acceptance.clip.subject import Subject
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.dual.components import OPEN_CLIP, TowerLayout
from razor_cli.dual.view import Tower
from razor_cli.errors import RunError
from razor_cli.families.clip.family import Clip

INITIAL_SCALE = 1 / 0.07  # exp(logit_scale) before training, in every CLIP
SCALE_TOLERANCE = 0.005  # relative: checkpoints are stored in fp16
NORM_TOLERANCE = 0.001  # relative, for published norms
INITIAL_NORM_TOLERANCE = 0.01  # relative: a norm this near its expected initial value was not trained
TRAINED = "give the trained checkpoint: model.weights=FILE_OR_TAG"
GELU = {True: "QuickGELU", False: "GELU"}


def checks(subject: Subject, say: Say) -> list[Check]:
    """Return the rows on the weights as such."""
    say("counting")
    found = [*_sizes(subject), _activation(subject), _finite(subject.model)]
    return [
        *found,
        _layer_norms(subject.model),
        *_initial_norms(subject.model),
        _scale(subject),
        *_norms(subject),
    ]


def _equal(
    name: str, expected: object, found: object, *, source: str, deviation: str = "", why: str, fix: str
) -> Check:
    """Return a row that passes when both values print the same."""
    same = str(expected) == str(found)
    off = "" if same else deviation
    return judged(
        name, same, expected=str(expected), found=str(found), deviation=off, source=source, why=why, fix=fix
    )


def _sizes(subject: Subject) -> Iterator[Check]:
    model, architecture = subject.model, known_architecture(subject.architecture)
    components = len(model.components(Granularity.HEAD_MLP, Towers.BOTH))
    tensors = sum(len(names) for names in model.quantizable().linear.values())
    count = sum(p.numel() for p in model.module.parameters())
    names = {
        "towers": _towers(model),
        "parameters": f"{count:,}",
        "components (heads and MLPs)": str(components),
    }
    if architecture is None:
        why = f"no sizes on file for {subject.architecture or 'this architecture'}"
        for name, found in names.items():
            yield skipped(name, found=found, why=why, fix="none needed: the model is built from them")
    else:
        fix = "set model.architecture to the one that the weights were made for"
        expected = (
            _as_text(architecture.vision, architecture.text),
            architecture.parameters,
            architecture.components,
        )
        for (name, found), value in zip(names.items(), expected, strict=True):
            text = f"{value:,}" if isinstance(value, int) else value
            off = f"{int(found.replace(',', '')) - value:+,}" if isinstance(value, int) else ""
            yield _equal(
                name,
                text,
                found,
                source=architecture.source,
                deviation=off,
                why="another architecture",
                fix=fix,
            )
    plain = [x for x in model.layouts if isinstance(x, TowerLayout)]
    expected_tensors = sum(x.layers * (4 if x.names.fused_qkv else 6) for x in plain)
    if len(plain) < len(model.layouts):  # towers of another build: as many as their modules hold
        expected_tensors = sum(model.quantizable().counted.values())
    yield _equal(
        "quantized tensors",
        expected_tensors,
        tensors,
        source="4 per block in open_clip's layout, 6 in transformers'",
        deviation=f"{tensors - expected_tensors:+d}",
        why="attention or MLP weights are missed",
        fix="report it with doctor.json",
    )


def _towers(model: Clip) -> str:
    vision, text = model.layouts
    if isinstance(vision, TowerLayout) and isinstance(text, TowerLayout):
        return _as_text((vision.layers, vision.width, vision.heads), (text.layers, text.width, text.heads))
    return ", ".join(f"{layout.tower} {layout.layers} blocks" for layout in model.layouts)


def _as_text(vision: tuple[int, int, int], text: tuple[int, int, int]) -> str:
    return ", ".join(f"{n} {s[0]} × {s[1]}, {s[2]} heads" for n, s in (("vision", vision), ("text", text)))


def uses_quick_gelu(module: nn.Module) -> bool:
    """Tell whether a module's blocks use QuickGELU, whichever library built them."""
    return any("quickgelu" in type(m).__name__.lower() for m in module.modules())


def _activation(subject: Subject) -> Check:
    found, name = uses_quick_gelu(subject.model.module), "activation function"
    if subject.checkpoint is None:
        why = f"which checkpoint this is, is not known: {subject.claim}"
        return skipped(name, found=GELU[found], why=why, fix="--checkpoint ARCHITECTURE/TAG")
    wanted = subject.checkpoint.quick_gelu
    side = "add -quickgelu to model.architecture" if wanted else "take -quickgelu off model.architecture"
    why = "the wrong one still runs and silently loses accuracy"
    source = f"open_clip's entry of {subject.checkpoint.name}"
    return _equal(name, GELU[wanted], GELU[found], source=source, why=why, fix=side)


def _finite(model: Clip) -> Check:
    bad = [n for n, p in parameters(model).items() if not bool(torch.isfinite(p).all())]
    return _equal(
        "tensors with NaN or infinity",
        0,
        len(bad),
        source="",
        why=f"{', '.join(bad[:3])}",
        fix="fetch the weights again",
    )


def _layer_norms(model: Clip) -> Check:
    norms = [m for m in model.module.modules() if isinstance(m, nn.LayerNorm)]
    untouched = sum(bool((m.weight == 1).all() and (m.bias == 0).all()) for m in norms)
    return _equal(
        "LayerNorms at their initial 1 and 0",
        f"0 of {len(norms)}",
        f"{untouched} of {len(norms)}",
        deviation=f"{untouched:+d}",
        source="training moves every gain and bias",
        why="these weights were not trained, or not filled in",
        fix=TRAINED,
    )


def _initial_norms(model: Clip) -> Iterator[Check]:
    """Compare the text tower's fused projections with open_clip's initial ones: |W| = sqrt(3 d) of a 3d x d
    matrix.
    """
    layout = model.layouts[1]
    if not isinstance(layout, TowerLayout) or layout.names != OPEN_CLIP:
        return
    live, initial = parameters(model), math.sqrt(3 * layout.width)
    found = [float(live[f"{layout.block(i)}attn.in_proj_weight"].norm()) for i in range(layout.layers)]
    near = sum(abs(n / initial - 1) < INITIAL_NORM_TOLERANCE for n in found)
    mean = sum(found) / len(found)
    yield judged(
        "text attention norms",
        near < len(found),
        expected=f"not all at the initial √(3·{layout.width}) = {initial:.2f}",
        found=f"mean {mean:.2f}, {near} of {len(found)} at it",
        deviation=f"{100 * (mean / initial - 1):+.1f} % from it",
        source="open_clip draws them with deviation width^-0.5",
        fix=TRAINED,
        why="every one has the norm it is drawn with: not trained",
    )


def _scale(subject: Subject) -> Check:
    found, name = subject.model.scale, "logit scale"
    if subject.checkpoint is None:
        why = f"which checkpoint this is, is not known: {subject.claim}"
        return skipped(name, found=f"{found:.2f}", why=why, fix="--checkpoint ARCHITECTURE/TAG")
    low, high = subject.checkpoint.logit_scale.low, subject.checkpoint.logit_scale.high
    exact = low == high
    inside = low * (1 - SCALE_TOLERANCE) <= found <= high * (1 + SCALE_TOLERANCE)
    initial = abs(found / INITIAL_SCALE - 1) < SCALE_TOLERANCE
    expected = f"{high:.0f}" if exact else f"above {low:.2f}, to {high:.0f}"
    return judged(
        name,
        inside and not initial,
        expected=expected,
        found=f"{found:.2f}",
        deviation=f"{found - high:+.2f}" if exact else "",
        source=subject.checkpoint.logit_scale.source,
        fix=TRAINED,
        why="the value before training" if initial else "trained otherwise, or not CLIP's weights",
    )


def matrix(model: Clip, norm: Norm) -> Tensor:
    """Return the matrix that a published norm is of: a third of the fused projection in
    open_clip's layout.
    """
    layout = model.layouts[0 if norm.tower == Tower.VISION.value else 1]
    if not isinstance(layout, TowerLayout):
        raise RunError(f"no norm is published of a {norm.tower} tower of another build than CLIP's")
    live, block = parameters(model), layout.block(norm.layer)
    if norm.part == "out":
        return live[f"{block}{layout.names.out}.weight"]
    place = "qkv".index(norm.part)
    if layout.names.fused_qkv:
        return live[f"{block}{layout.names.qkv[0]}weight"].narrow(0, place * layout.width, layout.width)
    return live[f"{block}{layout.names.qkv[place]}weight"]


def _norms(subject: Subject) -> Iterator[Check]:
    published = subject.checkpoint.norms if subject.checkpoint else ()
    if not published and not isinstance(subject.model.layouts[0], TowerLayout):
        why, fix = "none is published of image towers of another build than CLIP's", "none needed"
        yield skipped("published weight norms", why, fix)
    elif not published:
        last = Norm(tower="vision", layer=subject.model.layouts[0].layers - 1, part="v", norm=0.0, source="")
        found = f"|v| of vision block {last.layer} is {float(matrix(subject.model, last).norm()):.3f}"
        why = (
            "no published norm known of "
            f"{subject.checkpoint.name if subject.checkpoint else 'this checkpoint'}"
        )
        yield skipped(
            "published weight norms", why, "none needed; one is known of ViT-L-14-336/openai", found=found
        )
    for norm in published:
        value = float(matrix(subject.model, norm).norm())
        off = value / norm.norm - 1
        yield judged(
            f"|{norm.part}| of {norm.tower} block {norm.layer}",
            abs(off) <= NORM_TOLERANCE,
            expected=f"{norm.norm:.3f}",
            found=f"{value:.3f}",
            deviation=f"{100 * off:+.2f} %",
            source=norm.source,
            fix=TRAINED,
            why="other weights than those the norm was published of",
        )
