"""The losses of a model that draws by name: what a lab hands to methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from razor_cli.contract.family import RETAIN, Loss
from razor_cli.data.shots import DrawnSets
from razor_cli.dual.choices import FORGET_LOSSES as PAIRED_FORGET
from razor_cli.errors import ConfigError, nearest
from razor_cli.families.diffusion.choices import NEED_PAIR, RETAIN_NCE
from razor_cli.families.diffusion.losses_denoise import FORMS, MISMATCH, DenoiseLoss, MismatchLoss
from razor_cli.families.diffusion.losses_paired import paired_loss
from razor_cli.families.diffusion.losses_text import (
    ANCHOR,
    CONCEPT_HEAD,
    DRIFT,
    anchor_loss,
    drift_loss,
    head_loss,
)

if TYPE_CHECKING:
    from razor_cli.families.diffusion.opened import OpenedPipeline

FORGET = (*PAIRED_FORGET, CONCEPT_HEAD, ANCHOR)
KEEP = (RETAIN, RETAIN_NCE, DRIFT)
NAMES = (*FORGET, *KEEP, *(MISMATCH + form for form in FORMS))


def loss_of(family: OpenedPipeline, sets: DrawnSets, name: str) -> Loss:
    """Return a loss by name. ConfigError lists the names there are, or says what one needs that is not
    there.
    """
    d = family.denoiser
    if name not in NAMES:
        near = nearest(name, NAMES)
        raise ConfigError(
            f"a model that draws has no loss '{name}'",
            allowed=f"method.forget_loss: {', '.join(FORGET)}; method.retain_loss: {', '.join(KEEP)}",
            found=name,
            fix=f"did you mean {near[0]}?" if near else None,
        )
    if name in NEED_PAIR:
        _check_paired(family, name)
        return paired_loss(family.module, family.paired, sets, name)
    if name == ANCHOR:
        return anchor_loss(d, family.unedited, sets.target_prompts, sets.anchors)
    if name == DRIFT:
        return drift_loss(d, family.unedited, sets.retain_prompts)
    if name == CONCEPT_HEAD:
        return head_loss(d, family.unedited_pooled, sets.target_prompts, sets.retain_prompts)
    if name == RETAIN:
        return DenoiseLoss(denoiser=d, latents=family.latents_of, draws=family.draws)
    return MismatchLoss(denoiser=d, family=family, form=name.removeprefix(MISMATCH), draws=family.draws)


def _check_paired(family: OpenedPipeline, name: str) -> None:
    if not family.paired:
        raise ConfigError(
            f"the loss '{name}' compares pictures with texts, and {family.label} has no CLIP beside it",
            allowed=", ".join(n for n in NAMES if n not in NEED_PAIR),
            found=name,
            fix="give the CLIP that the text encoder comes from: model.companion=DIR",
        )
