"""What objectives of trained methods ask for: batches of both sets, their labels, and zero-shot heads over
prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.data.sets import ConceptSets, Pairs, Taxonomy
from razor_cli.dual.gallery import own_prompt
from razor_cli.dual.view import DualEncoder, Tower
from razor_cli.engine.choices import Precision
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import SCALE, Training
from razor_cli.errors import ConfigError, DataError

KEPT_BYTES = 1 << 30  # pixels of a set are kept in memory up to this size, else loaded for every batch
CHUNK = 128  # pictures of a pass without gradients
# Label space of retain cross-entropy; beyond it, other prompts than class prompts come from the batch.
JOINT_LIMIT = 512


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One batch: row numbers in its set [n], pixels [n, 3, H, W], distinct caption tokens [k, L], caption row
    of each picture [n], class number of each picture among `sets.class_names` [n], -1 for pictures of another
    domain.
    """

    index: Tensor
    pixels: Tensor
    tokens: Tensor
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.index)


class Samples:
    """One set of pictures with captions and class numbers, from which batches are drawn."""

    def __init__(self, desk: Desk, pairs: Pairs) -> None:
        self.desk, self.pairs = desk, pairs
        numbers: dict[str, int] = {}
        self.rows = torch.tensor(
            [numbers.setdefault(c, len(numbers)) for c in pairs.captions], dtype=torch.long
        )
        self.captions = list(numbers)
        names, domain = {n: i for i, n in enumerate(desk.sets.class_names)}, desk.sets.domain
        labels = [names.get(p.concept, -1) if p.domain == domain else -1 for p in pairs.pictures]
        self.labels = torch.tensor(labels, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def _tokens(self) -> Tensor:
        return self.desk.model.tokenize(self.captions)

    @cached_property
    def _kept(self) -> Tensor | None:
        """Pixels of the whole set, if they are not too many."""
        first = self.desk.model.preprocess(self.pairs.load(0, 1))
        if first.numel() * first.element_size() * len(self) > KEPT_BYTES:
            return None
        parts = [
            self.desk.model.preprocess(self.pairs.load(i, i + CHUNK)) for i in range(0, len(self), CHUNK)
        ]
        return torch.cat(parts).to(self.desk.model.device)

    def pixels(self, index: Tensor) -> Tensor:
        """Return pixels [n, 3, H, W] of the rows `index` [n]."""
        if self._kept is not None:
            return self._kept[index.to(self._kept.device)]
        chosen = Pairs(tuple(self.pairs.pictures[i] for i in index.tolist()), self.pairs.sources)
        return self.desk.model.preprocess(chosen.load()).to(self.desk.model.device)

    def take(self, index: Tensor) -> Drawn:
        """Return the batch of the rows `index` [n]."""
        used, rows = self.rows[index].unique(return_inverse=True)
        device = self.desk.model.device
        return Drawn(
            index=index,
            pixels=self.pixels(index),
            tokens=self._tokens[used].to(device),
            rows=rows.to(device),
            labels=self.labels[index].to(device),
        )

    def shuffled(self, size: int, generator: torch.Generator, count: int | None = None) -> list[Tensor]:
        """Return row numbers of batches that walk once through the set in a drawn order, or through `count`
        drawn pictures.

        A rest of one picture joins the batch before it: one pair has no negatives.
        """
        return self.cut(torch.randperm(len(self), generator=generator)[:count], size)

    def ordered(self, size: int) -> list[Tensor]:
        """Return row numbers of batches in the order of the set."""
        return self.cut(torch.arange(len(self)), size)

    @staticmethod
    def cut(order: Tensor, size: int) -> list[Tensor]:
        """Return picture numbers [n] in batches of `size`; a rest of one joins the batch before it."""
        if not len(order):
            return []
        parts = list(order.split(size))
        if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts

    @torch.no_grad()
    def embedded(self) -> Tensor:
        """Return image embeddings [n, d] at the weights as they are now, without gradients."""
        self.desk.lab.cost.forwards += len(self)
        rows = (
            [self.desk.encode_image(self.pixels(i)) for i in torch.arange(len(self)).split(CHUNK)]
            if len(self)
            else []
        )
        return torch.cat(rows) if rows else torch.zeros(0, 1)


class Desk:
    """Model and sets as one training sees them. It encodes in the precision of the settings and
    returns fp32.
    """

    def __init__(self, lab: Lab, settings: Training) -> None:
        self.lab, self.settings = lab, settings
        self.model: DualEncoder = lab.dual()
        self.sets: ConceptSets = lab.sets
        self.forget, self.retain = Samples(self, self.sets.forget), Samples(self, self.sets.retain)

    def _autocast(self) -> AbstractContextManager[None]:
        device = torch.device(self.model.device).type
        wanted = self.settings.precision is Precision.BF16 or (
            self.settings.precision is Precision.AUTO and device == "cuda"
        )
        return torch.autocast(device, dtype=torch.bfloat16, enabled=wanted)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return L2-normalised image embeddings [n, d] in fp32; differentiable."""
        with self._autocast():
            found = self.model.image_features(pixels.to(self.model.device))
        return F.normalize(found.float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d] in fp32; differentiable."""
        with self._autocast():
            found = self.model.text_features(tokens.to(self.model.device))
        return F.normalize(found.float(), dim=-1)

    @property
    def scale(self) -> Tensor:
        """Return exp(logit_scale), differentiable where it trains."""
        return dict(self.model.module.named_parameters())[SCALE].exp()

    def pairs(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Return image embeddings and those of each picture's own caption, both [n, d]."""
        return self.encode_image(drawn.pixels), self.encode_text(drawn.tokens)[drawn.rows]

    @cached_property
    def classes(self) -> Head:
        """The zero-shot head over `sets.class_names`. ConfigError when none of them stays: its loss would be
        constant.
        """
        if len(self.sets.class_names) <= len(self.sets.forget_names):
            raise ConfigError(
                "method: a loss over the zero-shot head needs a class that stays in the label space",
                found=f"{len(self.sets.class_names)} classes, all of them to be forgotten",
                fix="name more classes: data.class_names=[...]",
            )
        return Head(self, [(self.sets.prompts[n],) for n in self.sets.class_names])

    @cached_property
    def fine(self) -> Head:
        """The head over `sets.class_names` with all templates of the taxonomy. DataError without one."""
        found = self._taxonomy.fine_prompts
        return Head(self, [found[n] for n in self.sets.class_names])

    @cached_property
    def coarse(self) -> Head:
        """The head over the taxonomy's coarse names. DataError without one."""
        found = self._taxonomy.coarse_prompts
        return Head(self, [found[n] for n in self._taxonomy.coarse_names])

    @property
    def _taxonomy(self) -> Taxonomy:
        if self.sets.taxonomy is None:
            raise DataError(
                "these sets have no taxonomy: there are no coarse concepts", fix="scenario=fine_grained"
            )
        return self.sets.taxonomy

    def parents(self, samples: Samples) -> Tensor:
        """Return the coarse number of each picture of a set [n], -1 for pictures of another domain."""
        numbers = {n: i for i, n in enumerate(self._taxonomy.coarse_names)}
        of_class = [numbers[self._taxonomy.parents[n]] for n in self.sets.class_names]
        return torch.tensor(
            [of_class[c] if c >= 0 else -1 for c in samples.labels.tolist()], dtype=torch.long
        )

    @cached_property
    def joint(self) -> JointSpace:
        """The label space in which retain pictures of several domains have a class each."""
        return JointSpace(self)


class Head:
    """A zero-shot classifier: each class is one or several templates, embedded with the weights as they are
    at the call.

    With a text tower that does not train, its embeddings are computed once and kept.
    """

    def __init__(self, desk: Desk, prompts: Sequence[tuple[str, ...]]) -> None:
        self.desk, self.counts = desk, [len(p) for p in prompts]
        self.tokens = desk.model.tokenize([t for p in prompts for t in p])
        self.fixed = not desk.settings.train.include(Tower.TEXT)
        self._frozen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.counts)

    def templates(self, steps: int, generator: torch.Generator) -> list[int]:
        """Return the number of a drawn template for each of `steps` steps; nothing is drawn where every class
        has one only.
        """
        most = max(self.counts)
        return torch.randint(most, (steps,), generator=generator).tolist() if most > 1 else [0] * steps

    def features(self, template: int | None = None, rows: Tensor | None = None) -> Tensor:
        """Return class embeddings [k, d]: normalised mean over templates, or one template (taken modulo a
        class's number).

        `rows` takes only some classes, of a head with one template each.
        """
        if template is not None:
            rows = torch.tensor([sum(self.counts[:i]) + template % c for i, c in enumerate(self.counts)])
        if rows is not None:
            return self._encode()[rows] if self.fixed else self.desk.encode_text(self.tokens[rows])
        every = self._encode()
        if max(self.counts) == 1:
            return every
        return F.normalize(torch.stack([part.mean(dim=0) for part in every.split(self.counts)]), dim=-1)

    def _encode(self) -> Tensor:
        if not self.fixed:
            return self.desk.encode_text(self.tokens)
        if self._frozen is None:
            with torch.no_grad():
                self._frozen = self.desk.encode_text(self.tokens)
        return self._frozen

    def logits(self, images: Tensor, template: int | None = None, rows: Tensor | None = None) -> Tensor:
        """Return scale * <v, T_c> [n, k] for image embeddings [n, d]; differentiable through both towers and
        the scale.
        """
        return self.desk.scale * images @ self.features(template, rows).T


class JointSpace:
    """Class prompts first, then the own prompts of all other retain concepts, each once.

    A retain picture of another domain than the target's has no class number; here its class is its own
    concept's prompt (its caption, where the caption is all that is known of it), told apart from all other
    concepts of the sets. On class data the space is that of `sets.class_names`. Where captions make it larger
    than JOINT_LIMIT, a batch is told apart from the class prompts and the other prompts of the batch.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        sets = desk.sets
        self.classes = len(sets.class_names)
        numbers = {sets.prompts[n]: i for i, n in enumerate(sets.class_names)}
        texts = [sets.prompts[n] for n in sets.class_names]
        labels = []
        for picture, label in zip(sets.retain.pictures, desk.retain.labels.tolist(), strict=True):
            by_caption = bool(picture.caption) and picture.concept == picture.caption
            text = picture.concept if by_caption else own_prompt(picture.concept, picture.domain, sets)
            if label < 0 and text not in numbers:
                numbers[text] = len(texts)
                texts.append(text)
            labels.append(label if label >= 0 else numbers[text])
        self.labels = torch.tensor(labels, dtype=torch.long)  # of every retain picture
        self.head = Head(desk, [(t,) for t in texts])

    def __len__(self) -> int:
        return len(self.head)

    def columns(self, index: Tensor) -> Tensor:
        """Return which classes the retain pictures with rows `index` are told apart from: all, or those of
        class and batch.
        """
        if len(self) <= JOINT_LIMIT:
            return torch.arange(len(self))
        labels = self.labels[index]
        return torch.cat([torch.arange(self.classes), labels[labels >= self.classes].unique()])

    def logits(self, images: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [n, k] of retain pictures with rows `index`, and their labels among the
        columns [n].
        """
        used = self.columns(index)
        places = torch.full((len(self),), -1, dtype=torch.long)
        places[used] = torch.arange(len(used))
        return self.head.logits(images, rows=used), places[self.labels[index]].to(images.device)

    @torch.no_grad()
    def taught(self) -> tuple[Tensor, Tensor]:
        """Return retain image embeddings [n, d] and the scaled class embeddings [k, d] at the weights as they
        are now.
        """
        parts = [self.desk.encode_text(part) for part in self.head.tokens.split(CHUNK)]
        return self.desk.retain.embedded(), self.desk.scale * torch.cat(parts)
