"""Checks of what a model says about pictures: embeddings, zero-shot CIFAR-10 against the published figure,
quantization.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from razor_cli.acceptance.checks import Check, Say, judged, skipped
from razor_cli.acceptance.clip.known import CIFAR_TEST, published_accuracy
from razor_cli.acceptance.clip.subject import Subject
from razor_cli.acceptance.clip.weights import GELU, TRAINED, uses_quick_gelu
from razor_cli.config.quantization import Quantization
from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sampling import balanced, rng_for
from razor_cli.data.sets import Pairs
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.cifar10 import CLASSES
from razor_cli.dual.gallery import embed
from razor_cli.dual.view import Tower
from razor_cli.families.clip.family import Clip
from razor_cli.metrics.stats import Interval, bootstrap_mean, paired_difference, wilson
from razor_cli.weights.quantization import quantized

BATCH = 50  # photographs in memory at once
# Points: libraries that resize or round otherwise differ by less (0.03 between two published tables).
TOLERANCE = 0.5
COMPARED = 200  # photographs on which two states of the same model are compared
ALLOWED_DROP = {"int8": 1.0, "int4": 5.0}  # points of accuracy that rounding may cost
CHANCE = 100 / len(CLASSES)
UNIT_TOLERANCE = 1e-4
# The 18 templates of the published protocol: nine ways to say it, each with `a` and with `the`.
LOOKS = ("", "blurry ", "black and white ", "low contrast ", "high contrast ", "bad ", "good ")
FRAMES = (
    *(f"a {look}photo of {{word}} {{{{}}}}." for look in LOOKS),
    *(f"a photo of {{word}} {s} {{{{}}}}." for s in ("small", "big")),
)
ENSEMBLE = tuple(frame.format(word=word) for word in ("a", "the") for frame in FRAMES)


def embedding_checks(subject: Subject, say: Say) -> list[Check]:
    """Return the rows on the embeddings of a few pictures and their captions."""
    assert subject.sets is not None
    sets, model = subject.sets, subject.model
    parts = (sets.forget, sets.retain, sets.validation.forget, sets.validation.retain)
    pairs = Pairs(
        tuple(p for part in parts for p in part.pictures),
        {d: s for part in parts for d, s in part.sources.items()},
    )
    captions = list(dict.fromkeys(pairs.captions))
    say(f"{len(pairs)} pictures")
    images = torch.cat(
        [embed(model, Tower.VISION, model.preprocess(pairs.load(i, i + 8))) for i in range(0, len(pairs), 8)]
    )
    texts = embed(model, Tower.TEXT, model.tokenize(captions), 16)
    return [
        _unit(images, texts),
        _matched(images @ texts.T, torch.tensor([captions.index(c) for c in pairs.captions])),
    ]


def _unit(images: Tensor, texts: Tensor) -> Check:
    every = torch.cat([images, texts])
    worst = float((every.norm(dim=-1) - 1).abs().max())
    passed = bool(torch.isfinite(every).all()) and worst <= UNIT_TOLERANCE
    return judged(
        "embeddings finite, of length 1",
        passed,
        expected="1, all finite",
        found=f"{len(every)} embeddings",
        deviation=f"{worst:.1e}",
        why="NaN, infinity or another length",
        fix="look for damaged weights, or try model.device=cpu",
    )


def _matched(cosines: Tensor, rows: Tensor) -> Check:
    """Compare each picture [n] with its own caption, and with the captions of all pictures in any other
    order.

    A model whose pictures all look alike gains nothing here, however much it likes one caption.
    """
    gain = cosines.gather(1, rows.to(cosines.device)[:, None])[:, 0] - cosines[
        :, rows.to(cosines.device)
    ].mean(1)
    found = bootstrap_mean(gain.double().cpu().numpy(), seed=0, within=(-2, 2))
    passed = found.low is not None and found.low > 0
    return judged(
        "own caption beats shuffled ones",
        passed,
        expected="cosine gain above 0",
        found=f"{found.value:+.4f} ({found.low or 0:+.4f} to {found.high or 0:+.4f})",
        why=f"{found.n} pictures are no nearer to their captions than to others: pictures and texts do "
        "not agree",
        fix="check that weights, tokenizer and architecture belong together",
    )


def checks(subject: Subject, say: Say) -> list[Check]:
    """Return the rows on zero-shot CIFAR-10; skipped, with the command, where the photographs are
    not here.
    """
    if subject.photographs is None:
        return list(_without_photographs(subject))
    pictures = sample(subject, min(subject.request.pictures, CIFAR_TEST))
    ensemble = subject.checkpoint is None or subject.checkpoint.cifar10.templates == "ensemble"
    full = hits(subject, pictures, ensemble, say)
    few = pictures[:COMPARED]  # as many of each class, since they are drawn in turn
    above = _above_chance(full)
    rows = [_accuracy(subject, full)]
    for name in ("activation", *ALLOWED_DROP):
        say(f"comparing {len(few)} photographs: {name}")
        measure = _other_activation if name == "activation" else _quantized
        rows.append(measure(subject, few, full[: len(few)], ensemble, name) if above else _at_chance(name))
    return rows


def sample(subject: Subject, count: int) -> list[Picture]:
    """Return `count` test photographs, one of each class in turn, always the same ones."""
    assert subject.photographs is not None
    groups = {c: subject.photographs.pictures(c, "evaluation") for c in CLASSES}
    return balanced(groups, count, rng_for(0, "acceptance"))


@torch.no_grad()
def classifier(model: Clip, ensemble: bool) -> Tensor:
    """Return the zero-shot head [10, d]: the normalised mean of normalised prompts of each class."""
    if not ensemble:
        texts = [DOMAINS["object"].zero_shot[0].format(spoken(c, "object")) for c in CLASSES]
        return embed(model, Tower.TEXT, model.tokenize(texts), 16)
    texts = [template.format(c) for c in CLASSES for template in ENSEMBLE]
    rows = embed(model, Tower.TEXT, model.tokenize(texts), 36)
    return F.normalize(rows.reshape(len(CLASSES), len(ENSEMBLE), -1).mean(1), dim=-1)


@torch.no_grad()
def hits(subject: Subject, pictures: Sequence[Picture], ensemble: bool, say: Say = lambda _: None) -> Tensor:
    """Return per photograph [n] whether the zero-shot head names its class, with the weights as
    they are now.
    """
    assert subject.photographs is not None
    model, head = subject.model, classifier(subject.model, ensemble)
    rows = []
    for start in range(0, len(pictures), BATCH):
        say(f"{start} of {len(pictures)} photographs")
        part = pictures[start : start + BATCH]
        logits = embed(model, Tower.VISION, model.preprocess(subject.photographs.load(part))) @ head.T
        rows.append(logits.argmax(1).cpu() == torch.tensor([CLASSES.index(p.concept) for p in part]))
    return torch.cat(rows).double()


def agreement(right: float, n: int, published: float, tolerance: float = TOLERANCE) -> tuple[Interval, bool]:
    """Return the Wilson interval of a sample's accuracy in per cent, and whether the published figure agrees
    with it.

    The published figure is over the same 10,000 photographs, so the chance of the draw shrinks as the sample
    grows, and with all of them nothing but the tolerance (points) is left: the finite population correction.
    """
    shown = wilson(right, n).scaled(100)
    if n >= CIFAR_TEST:
        return shown, abs(shown.value - published) <= tolerance
    effective = n * (CIFAR_TEST - 1) / (CIFAR_TEST - n)
    drawn = wilson(right / n * effective, effective).scaled(100)
    assert drawn.low is not None and drawn.high is not None  # wilson always has bounds
    return shown, drawn.low - tolerance <= published <= drawn.high + tolerance


def _accuracy(subject: Subject, found: Tensor) -> Check:
    name, checkpoint = "zero-shot CIFAR-10", subject.checkpoint
    published = published_accuracy(checkpoint) if checkpoint else None
    n, right = len(found), float(found.sum())
    shown, agrees = agreement(right, n, published or 0.0)
    text = f"{shown.value:.2f} % ({shown.low:.1f} to {shown.high:.1f}, n {n:,})"
    if checkpoint is None or published is None:
        return skipped(name, found=text, why="no published figure known", fix="--checkpoint ARCHITECTURE/TAG")
    other = checkpoint.cifar10.other_activation
    why = f"the published figure is outside the interval by more than {TOLERANCE} points"
    fix = "check weights, activation function and preprocessing; --pictures 10000 takes the whole test part"
    if not _above_chance(found):
        why, fix = f"no better than chance ({CHANCE:.0f} %): these are not trained weights", TRAINED
    elif other is not None and agreement(right, n, other)[1]:
        why = f"{other:.2f} % is published of these weights with the other activation function"
    return judged(
        name,
        agrees,
        expected=f"{published:.2f} %",
        found=text,
        deviation=f"{shown.value - published:+.2f} points",
        source=checkpoint.cifar10.source,
        why=why,
        fix=fix,
    )


def _above_chance(found: Tensor) -> bool:
    interval = wilson(float(found.sum()), len(found))
    return interval.low is not None and 100 * interval.low > CHANCE


def _at_chance(name: str) -> Check:
    title = "activation, by accuracy" if name == "activation" else f"zero-shot at {name}"
    why = f"accuracy is at chance ({CHANCE:.0f} %): a difference says nothing"
    return skipped(title, why=why, fix=TRAINED)


def _other_activation(
    subject: Subject, pictures: Sequence[Picture], own: Tensor, ensemble: bool, _name: str
) -> Check:
    """Compare the model with its twin that has the other activation: weights know which one they were trained
    with.
    """
    name, has = "activation, by accuracy", uses_quick_gelu(subject.model.module)
    with other_activation(subject.model.module) as count:
        if not count:
            why = "blocks of this library cannot be given another activation here"
            return skipped(name, why=why, fix="none needed: the folder's config.json says it")
        other = hits(subject, pictures, ensemble)
    gain = _points(own, other)
    passed = gain[2] >= 0
    return judged(
        name,
        passed,
        expected=f"no worse with {GELU[has]} than with {GELU[not has]}",
        found=f"{100 * float(own.mean()):.1f} % against {100 * float(other.mean()):.1f} %",
        deviation=f"{gain[0]:+.1f} ({gain[1]:+.1f} to {gain[2]:+.1f}) points",
        why=f"these weights work better with {GELU[not has]}: they were trained with it",
        fix=f"{'take -quickgelu off' if has else 'add -quickgelu to'} model.architecture",
    )


def _points(first: Tensor, second: Tensor) -> tuple[float, float, float]:
    """Return how much more often `first` is right on the same photographs, with its interval, in points."""
    found = paired_difference(first.numpy(), second.numpy()).scaled(100)
    assert found.low is not None and found.high is not None  # a paired difference always has bounds
    return found.value, found.low, found.high


@contextmanager
def other_activation(module: nn.Module) -> Iterator[int]:
    """Hold the other of GELU and QuickGELU in the blocks of an open_clip model; yields how many were
    exchanged.
    """
    quick = open_clip.transformer.QuickGELU
    swap: dict[type[nn.Module], type[nn.Module]] = {nn.GELU: quick, quick: nn.GELU}
    found = [(m, n, c) for m in module.modules() for n, c in m.named_children() if type(c) in swap]
    try:
        for parent, name, child in found:
            setattr(parent, name, swap[type(child)]())
        yield len(found)
    finally:
        for parent, name, child in found:
            setattr(parent, name, child)


def _quantized(
    subject: Subject, pictures: Sequence[Picture], own: Tensor, ensemble: bool, scheme: str
) -> Check:
    with quantized(subject.model, scheme, Quantization(), ()) as weights:
        rounded = hits(subject, pictures, ensemble)
    value, low, high = _points(own, rounded)
    accuracies = f"{100 * float(own.mean()):.1f} % to {100 * float(rounded.mean()):.1f} %"
    return judged(
        f"zero-shot at {scheme}",
        low <= ALLOWED_DROP[scheme],
        expected=f"drop of {ALLOWED_DROP[scheme]:.0f} points at most",
        found=f"{accuracies}, n {len(own)}",
        deviation=f"drop {value:.1f} ({low:+.1f} to {high:+.1f})",
        why="rounding costs more than it does to a sound CLIP",
        fix="look for outliers in the weights",
    ).noting(f"{weights.n_tensors} tensors")


def _without_photographs(subject: Subject) -> Iterator[Check]:
    names = ("zero-shot CIFAR-10", "activation, by accuracy", *(f"zero-shot at {s}" for s in ALLOWED_DROP))
    published = published_accuracy(subject.checkpoint) if subject.checkpoint else None
    fix = (
        "razor data prepare cifar10   (or, with a copy of yours: "
        f"{subject.request.command('data.cifar_root=DIR')})"
    )
    for name in names:
        expected = f"{published:.2f} %" if published is not None and name == names[0] else ""
        yield skipped(name, expected=expected, why="CIFAR-10 is not here", fix=fix)
