"""From a request to a subject: the loaded model, which checkpoint it claims to be, and pictures
to try it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip

from razor_cli.acceptance.checks import Request
from razor_cli.acceptance.clip.known import EMBEDDED, Checkpoint, known, known_checkpoint, plain_name
from razor_cli.config.conf_files import file_of, values
from razor_cli.data.ask import Ask
from razor_cli.data.kinds.cifar10 import Cifar10 as Cifar10Data
from razor_cli.data.kinds.own import Folder
from razor_cli.data.kinds.standin import StandIn
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.cifar10 import Cifar10, at_hand
from razor_cli.errors import ConfigError, nearest
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.load import load
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.families.clip.standins import DEFAULT

# Small on purpose: these pictures tell signs apart, they do not prove forgetting.
SIZES: dict[str, Any] = {
    "n_forget": 8,
    "n_retain": 16,
    "n_validation_forget": 8,
    "n_validation_retain": 16,
    "n_evaluation_forget": 2,
    "n_evaluation_retain": 9,
    "n_suite": 1,
}
MAX_CORRUPT = 0.01  # share of unreadable pictures that stops the acceptance


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A loaded model, what it claims to be, and the pictures there are to try it on."""

    request: Request
    model: Clip
    architecture: str | None
    checkpoint: Checkpoint | None
    claim: str  # how it was decided which checkpoint this is
    sets: ConceptSets | None
    photographs: Cifar10 | None
    folder: Path  # for copies; removed at the end

    @property
    def published(self) -> str | None:
        """Name of the checkpoint that figures are published of, where it is known."""
        return self.checkpoint.name if self.checkpoint else None


def spec_of(request: Request) -> ClipSpec:
    """Return the settings of the model, which is a CLIP's here."""
    assert isinstance(request.model, ClipSpec)
    return request.model


def subject_of(request: Request, made: Path | None, folder: Path) -> Subject:
    """Load the model, or the weights made for it, and gather the pictures.

    Raises WeightsError, DataError or ConfigError.
    """
    chosen = spec_of(request)
    architecture, tag, claim = identify(request)
    photographs = at_hand(request.data.cifar_root)
    if photographs:
        _ = photographs.labels  # unreadable files are an error of the request, found before a model is loaded
    sets = small_sets(request, photographs.root if photographs else None)
    model = load(
        name=chosen.name,
        library=chosen.library,
        architecture=chosen.full_architecture,
        weights=chosen.weights if made is None else str(made),
        device=chosen.device,
    )
    return Subject(
        request=request,
        model=model,
        architecture=architecture,
        checkpoint=known_checkpoint(architecture, tag),
        claim=claim,
        sets=sets,
        photographs=photographs,
        folder=folder,
    )


def identify(request: Request) -> tuple[str | None, str | None, str]:
    """Return architecture and tag of the checkpoint that the weights claim to be, and who says so."""
    model = spec_of(request)
    architecture = _architecture(model)
    if request.checkpoint:
        return _said(request.checkpoint, architecture)
    if model.library is Library.STAND_IN:
        return architecture, EMBEDDED, "the stand-in's own"
    if model.library is Library.HF:
        return None, None, "a Hugging Face folder does not tell; say it with --checkpoint ARCHITECTURE/TAG"
    return _of_open_clip(request, architecture)


def _of_open_clip(request: Request, architecture: str | None) -> tuple[str | None, str | None, str]:
    """Tell an open_clip checkpoint by its tag or released file name, else take the one that the preset stands
    for.
    """
    model, preset = spec_of(request), values(file_of("model", request.preset))
    tag = _released(architecture, model.weights)
    if tag is not None:
        claim = f"model.weights={model.weights}" if tag == model.weights else "the file's released name"
        random = f"what model={request.preset} stands for; the weights are random"
        return architecture, tag, random if request.random_weights else claim
    if preset.get("architecture") == model.full_architecture and preset.get("weights"):
        claim = f"assumed: what model={request.preset} stands for (--checkpoint says otherwise)"
        return architecture, str(preset["weights"]), claim
    return architecture, None, "the file does not tell; say it with --checkpoint TAG"


def _architecture(model: ClipSpec) -> str | None:
    return (model.architecture or DEFAULT) if model.library is Library.STAND_IN else model.full_architecture


def _said(words: str, architecture: str | None) -> tuple[str | None, str, str]:
    """Read --checkpoint. Raises ConfigError for one that nothing is published of."""
    head, slash, tail = words.rpartition("/")
    architecture = head if slash else architecture
    if known_checkpoint(architecture, tail) is None:
        names = [c.name for c in known().checkpoints]
        near = nearest(f"{plain_name(architecture or '')}/{tail}", names)
        fix = f"did you mean {' or '.join(near)}?" if near else None
        raise ConfigError(
            f"--checkpoint {words}: no published figures are known",
            allowed=", ".join(names),
            found=words,
            fix=fix,
        )
    return architecture, tail, "--checkpoint"


def _released(architecture: str | None, weights: str | None) -> str | None:
    """Return the tag of a tag, or of a file that still has the name it was released under."""
    for name in (
        architecture or "",
        plain_name(architecture or "") + "-quickgelu",
        plain_name(architecture or ""),
    ):
        for tag in open_clip.list_pretrained_tags_by_model(name):
            url = open_clip.get_pretrained_cfg(name, tag).get("url")
            if weights and (tag == weights or (url and Path(url).name == Path(weights).name)):
                return str(tag)
    return None


def small_sets(request: Request, cifar: Path | None) -> ConceptSets:
    """Return a few pictures of one concept and of others: the user's own, else CIFAR-10's, else
    drawn emoji.
    """
    data = request.data
    if data.root:
        own = Folder(
            root=data.root,
            retain_root=data.retain_root,
            retain_domain=data.retain_domain,
            cifar_root=cifar,
            aliases=data.aliases,
            min_forget=data.min_forget,
            max_corrupt=MAX_CORRUPT,
            **SIZES,
        )  # names stand in prompts as they are
        return own.sets(_ask(request.target or _first(data.root), "person"))
    if cifar:
        classes = Cifar10Data(cifar_root=cifar, aliases=data.aliases, **SIZES)
        return classes.sets(_ask(request.target or "ship", "object"))
    drawn = StandIn(aliases=data.aliases, **SIZES)
    return drawn.sets(_ask(request.target or "owl", "emoji"))


def _ask(target: str, domain: str) -> Ask:
    """Return a request for pictures of one concept and its kind, without unrelated tasks."""
    return Ask(target=target, domain=domain, pictures="emoji", suites=(), stand_in=False)


def _first(root: Path | None) -> str:
    """Return the concept of a folder that has the most files."""
    folders = [p for p in root.iterdir() if p.is_dir()] if root and root.is_dir() else []
    if not folders:
        raise ConfigError(
            f"data.root: '{root}' has no folders", allowed="DIR/<concept>/*.jpg, 12 or more of one concept"
        )
    return max(sorted(folders), key=lambda p: sum(1 for _ in p.iterdir())).name
