"""Training of the embedded stand-in `clip_tiny`: data in memory, augmentation, loss, evaluation.

Pictures: portraits (trait vectors of the train split), emoji (six icon sets), CIFAR-10 (45,000 training
photographs). Everything an edit may later be judged on (split `evaluation`, icon set `emojione`, CIFAR-10's
test part, and the validation splits) is never shown to the model.
"""

from __future__ import annotations

import gzip
import io
import itertools
import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import resvg_py
import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from rich.progress import track
from torch import Tensor

from razor_cli.data.prompts import DOMAINS, spoken
from razor_cli.data.sources.cifar10 import Cifar10
from razor_cli.data.sources.emoji import TRAINED_SETS, Emoji, packed
from razor_cli.data.sources.portraits import Portraits

GENERIC_SHARE = {"person": 0.08, "emoji": 0.06, "object": 0.06}
PER_BATCH = {"person": 20, "emoji": 40, "object": 68}
SCALE = 100.0  # logit scale, fixed: the geometry of trained CLIP models; another one makes another geometry
GAP_TARGET, GAP_WEIGHT = (
    0.3,
    1.0,
)  # matched cosine is pulled down to that of real CLIP, where InfoNCE is indifferent
# Clean labels let margins grow without end; noisy web captions do not. In the last part of training, smoothed
# labels bring the matched cosine back to about log((1 - s) K / s) / 100 = 0.08 above the others, as in real
# CLIP.
SMOOTHING, SMOOTH_FROM = 0.02, 2 / 3
MEAN = torch.tensor(OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
STD = torch.tensor(OPENAI_DATASET_STD).view(1, 3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Training pictures of one domain: uint8 [n, c, h, w] (c = 4 with transparency) and the
    concept of each.
    """

    name: str
    pixels: Tensor
    labels: Tensor
    concepts: list[str]


def to_tensor(images: list[Image.Image]) -> Tensor:
    """Stack images as uint8 [n, c, h, w]."""
    return torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2).contiguous()


def load_domains(cifar_root: Path, without: str | None) -> list[Domain]:
    """Render and decode all training pictures, leaving out one identity if asked to (the
    retrained oracle).
    """
    domains = []
    for source in (Portraits(), Cifar10(cifar_root)):
        concepts = [c for c in source.concepts() if c != without]
        pictures = [p for c in concepts for p in source.pictures(c, "train")]
        images = [i for p in track(pictures, f"loading {source.name}") for i in source.load([p])]
        labels = torch.tensor([concepts.index(p.concept) for p in pictures])
        domains.append(Domain(name=source.domain, pixels=to_tensor(images), labels=labels, concepts=concepts))
    concepts = Emoji().concepts()
    icons = [(s, c) for c in concepts for s in TRAINED_SETS]
    images = [clean_icon(s, c) for s, c in track(icons, "loading emoji")]
    labels = torch.tensor([concepts.index(c) for _, c in icons])
    domains.append(Domain(name="emoji", pixels=to_tensor(images), labels=labels, concepts=concepts))
    return domains


def clean_icon(icon_set: str, concept: str, side: int = 72) -> Image.Image:
    """Render an icon on a transparent background; training places it anew each time."""
    icon = packed()["icons"][icon_set][concept]
    width, height = icon["width"], icon["height"]
    long = max(width, height)
    box = f'viewBox="{(width - long) / 2} {(height - long) / 2} {long} {long}"'
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    png = resvg_py.svg_to_bytes(
        svg_string=f"<svg {links} {box}>{icon['body']}</svg>", width=side, height=side
    )
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def affine(
    pixels: Tensor,
    side: int,
    turn: float,
    zoom: tuple[float, float],
    move: float,
    flip: bool,
    g: torch.Generator,
) -> Tensor:
    """Resample a batch with random rotation (degrees), zoom, shift (share of half the side) and mirror."""
    n = len(pixels)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=g)

    angle, scale = uniform(-turn, turn) * math.pi / 180, 1 / uniform(*zoom)
    sign = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack(
        [
            torch.stack([cos * sign, -sin, uniform(-move, move)], 1),
            torch.stack([sin * sign, cos, uniform(-move, move)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, pixels.shape[1], side, side], align_corners=False)
    padding = "zeros" if pixels.shape[1] == 4 else "reflection"
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def augment(domain: Domain, index: Tensor, side: int, g: torch.Generator) -> Tensor:
    """Return a fresh augmented view of each picture as float [n, 3, side, side] in [0, 1]."""
    x = domain.pixels[index].float() / 255
    if domain.name == "person":
        x = affine(x, side, 6, (0.92, 1.1), 0.06, False, g)
    elif domain.name == "object":
        x = affine(
            F.interpolate(x, side, mode="bicubic", align_corners=False).clamp(0, 1),
            side,
            8,
            (0.95, 1.25),
            0.1,
            True,
            g,
        )
    else:
        x = affine(x, side, 22, (0.6, 1.08), 0.14, False, g)
        base = 0.47 + 0.53 * torch.rand(len(x), 1, 1, 1, generator=g)
        back = (base + 0.24 * (2 * torch.rand(len(x), 3, 1, 1, generator=g) - 1)).clamp(0, 1)
        x = x[:, :3] * x[:, 3:] + back * (1 - x[:, 3:])
    strength = 0.25 if domain.name != "person" else 0.1
    gain = 1 + strength * (2 * torch.rand(len(x), 3, 1, 1, generator=g) - 1)
    shift = 0.5 * strength * (2 * torch.rand(len(x), 1, 1, 1, generator=g) - 1)
    return (x * gain + shift).clamp(0, 1)


def pick(domain: Domain, count: int, g: torch.Generator) -> Tensor:
    """Draw pictures: distinct concepts where there are enough of them, else uniformly."""
    if len(domain.concepts) < count:
        return torch.randint(len(domain.labels), (count,), generator=g)
    chosen = torch.randperm(len(domain.concepts), generator=g)[:count]
    return torch.stack([_one_of(torch.nonzero(domain.labels == c)[:, 0], g) for c in chosen])


def _one_of(rows: Tensor, g: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (1,), generator=g)[0]]


def make_batch(domains: list[Domain], side: int, g: torch.Generator) -> tuple[Tensor, list[str], Tensor]:
    """Return images [B, 3, side, side], the distinct captions of the batch, and each image's caption number.

    A concept has one wording in a batch, so that no caption is a negative of its own concept.
    """
    images: list[Tensor] = []
    captions: dict[str, int] = {}
    numbers: list[int] = []
    for domain in domains:
        prompts = DOMAINS[domain.name]
        index = pick(domain, PER_BATCH[domain.name], g)
        images.append(augment(domain, index, side, g))
        wording = torch.randint(len(prompts.captions), (len(domain.concepts),), generator=g)
        generic = torch.rand(len(index), generator=g) < GENERIC_SHARE[domain.name]
        for label, plain in zip(domain.labels[index].tolist(), generic.tolist(), strict=True):
            text = (
                prompts.generic
                if plain
                else prompts.caption(spoken(domain.concepts[label], domain.name), int(wording[label]))
            )
            numbers.append(captions.setdefault(text, len(captions)))
    return (torch.cat(images) - MEAN) / STD, list(captions), torch.tensor(numbers)


def contrastive_loss(
    images: Tensor, texts: Tensor, numbers: Tensor, smoothing: float, scale: float = SCALE
) -> Tensor:
    """Symmetric InfoNCE at a fixed scale over distinct captions; text to image averages over all matching
    images.
    """
    logits = scale * images @ texts.T
    to_text = F.cross_entropy(logits, numbers, label_smoothing=smoothing)
    matches = F.one_hot(numbers, len(texts)).T.float()
    wanted = (1 - smoothing) * matches / matches.sum(1, keepdim=True).clamp(min=1) + smoothing / len(images)
    to_image = -(logits.T.log_softmax(1) * wanted).sum(1)
    gap = (logits[torch.arange(len(numbers)), numbers] / scale).mean() - GAP_TARGET
    return (to_text + to_image.mean()) / 2 + GAP_WEIGHT * gap.clamp(min=0) ** 2


def write_vocabulary(path: Path) -> None:
    """Cut open_clip's default merges to those the prompts of all domains need; other words fall back to
    bytes.
    """
    words = {
        p.format(spoken(c, d))
        for d, names in all_concepts().items()
        for c in names
        for p in DOMAINS[d].captions
    }
    words |= {p.generic for p in DOMAINS.values()}
    full = SimpleTokenizer()
    used = set()
    for word in {w for text in words for w in full.decode(full.encode(text)).split()}:
        for token in full.encode(word):
            used |= _merges_of(full.decoder[token], full.bpe_ranks)
    ranked = sorted(used, key=full.bpe_ranks.__getitem__)
    lines = ["#version: cut from open_clip's bpe_simple_vocab_16e6", *(" ".join(m) for m in ranked)]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), 9, mtime=0))


def all_concepts() -> dict[str, list[str]]:
    """Return every domain's concepts, whether or not a model is trained without one of them."""
    from razor_cli.data.sources.cifar10 import CLASSES

    return {"person": Portraits().concepts(), "emoji": Emoji().concepts(), "object": list(CLASSES)}


def _merges_of(token: str, ranks: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    """Return all merges that build one token."""
    core, end = (token[:-4], "</w>") if token.endswith("</w>") else (token, "")
    word = [*core[:-1], core[-1] + end] if core else [token]
    used = set()
    while len(word) > 1:
        pair = min(itertools.pairwise(word), key=lambda p: ranks.get(p, 10**9))
        if pair not in ranks:
            break
        used.add(pair)
        at = next(i for i in range(len(word) - 1) if (word[i], word[i + 1]) == pair)
        word[at : at + 2] = [pair[0] + pair[1]]
    return used


def model_config(vocabulary: Path) -> dict[str, object]:
    """Return the open_clip configuration of the stand-in."""
    size = 512 + len(gzip.decompress(vocabulary.read_bytes()).decode().split("\n")) - 1 + 2
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 48, "layers": 6, "width": 128, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": size, "width": 128, "heads": 4, "layers": 4},
    }


@torch.no_grad()
def accuracy(
    model: CLIP, tokenizer: SimpleTokenizer, source: Portraits | Cifar10 | Emoji, split: str, limit: int
) -> dict[str, float]:
    """Return zero-shot top-1 over the source's concepts with n, and the mean matched and unmatched cosine."""
    names = source.concepts()
    preprocess = open_clip.transform.image_transform(48, is_train=False)
    text = [DOMAINS[source.domain].zero_shot[0].format(spoken(c, source.domain)) for c in names]
    heads = model.encode_text(tokenizer(text), normalize=True)
    hits, matched, unmatched = [], [], []
    for number, name in enumerate(names):
        images = source.load(source.pictures(name, split)[:limit])
        cosines = model.encode_image(torch.stack([preprocess(i) for i in images]), normalize=True) @ heads.T
        hits += (cosines.argmax(1) == number).tolist()
        matched.append(cosines[:, number].mean().item())
        unmatched.append((cosines.sum(1) - cosines[:, number]).mean().item() / (len(names) - 1))
    return {
        "top1": 100 * float(np.mean(hits)),
        "n": len(hits),
        "matched": float(np.mean(matched)),
        "unmatched": float(np.mean(unmatched)),
    }


def seed_everything(seed: int) -> torch.Generator:
    """Seed the process (this is a program of its own, not the library) and return the data generator."""
    random.seed(seed)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
